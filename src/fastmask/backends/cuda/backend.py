"""The backend of arrays on a GPU, of all libraries."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from contextlib import AbstractContextManager
from importlib import import_module
from math import prod
from typing import Any

import numpy as np

from ..._typing import FLOAT32, FLOAT64, INT64, Array, ArrayLike, Bools, DeviceArray, Ints
from ..base import KernelInput, PlannedMask, VersionedWeights
from ..cell import Cell, KernelName, kernel_in
from ..plan import Plan
from . import arrays as _arrays
from . import masks as _masks
from .arrays import view_of

_THREADS = 1  # the last argument of the kernels, which matters only on the host


class Cuda:
    """See `Backend` and `ArrayBackend`; arrays may be views everywhere."""

    sees_arrays = steps_in_place = False

    def views(self, *arrays: Array) -> Sequence[DeviceArray]:
        return [view_of(array, "array") for array in arrays]

    def own(self, *views: DeviceArray) -> Sequence[Array]:
        return [view.owner for view in views]

    def outputs(
        self, cell: Cell, like: DeviceArray, shape: tuple[int, int, int]
    ) -> tuple[DeviceArray, list[DeviceArray], Sequence[DeviceArray]]:
        batch, _, units = shape
        shapes = [shape, *[(batch, units)] * cell.states]
        out, *last = (_arrays.empty(one, like.dtype, like) for one in shapes)
        return out, last, [_arrays.part(like, (0, width * units)) for width in cell.saved]

    def plan(self, mask: PlannedMask | None, batch: int, time: int, like: DeviceArray) -> Plan:
        """See `Backend`.

        Raises:
            ValueError: the mask is on another device.
        """
        if mask is None:
            return _masks.full_plan(batch, time, like.device)
        return _masks.plan_on(mask, like.device)

    def packed_room(
        self, cell: Cell, kernel: DeviceArray, recurrent_kernel: DeviceArray, kept: bool
    ) -> DeviceArray:
        size_of = kernel_in(import_module("fastmask_kernels.cuda"), cell.packed_size)
        with _arrays.device_module().on_device(kernel.device):  # the size depends on the device
            size = size_of(len(kernel), len(recurrent_kernel), kernel.dtype)
        shape, dtype = (size,), kernel.dtype
        if kept:
            return _arrays.kept_empty(shape, dtype, kernel.device)
        return _arrays.empty(shape, dtype, kernel)

    def full_bias(
        self, bias: DeviceArray | None, shape: tuple[int, ...], like: DeviceArray
    ) -> DeviceArray:
        if bias is None:
            return _arrays.zeros(shape, like.dtype, like.device)
        full = _arrays.empty(shape, like.dtype, like)
        rows = _arrays.part(bias, (1, bias.size))  # there is no row 1, for the state: zeros
        _arrays.gather(full, rows, _arrays.numbers(shape[0], like.device))
        return full

    def call(
        self,
        kernel: KernelName,
        outputs: Sequence[DeviceArray],
        inputs: Sequence[KernelInput],
        like: DeviceArray | None = None,
    ) -> None:
        with _arrays.launching(outputs[0] if like is None else like) as kernels:
            kernel_in(kernels, kernel)(*outputs, *inputs)

    def run(
        self, kernel: KernelName, outputs: Sequence[DeviceArray], inputs: Sequence[KernelInput]
    ) -> None:
        with _arrays.launching(outputs[0]) as kernels:
            kernel_in(kernels, kernel).unchecked(*outputs, *inputs, _THREADS)

    def as_array(self, value: Any, name: str) -> Array:
        """See `ArrayBackend`.

        Raises:
            TypeError: NumPy's functions do not compute with it.
        """
        if _arrays.is_numpy_like(value):
            array: Array = value
            return array
        kind = f"{type(value).__module__}.{type(value).__name__}"
        raise TypeError(f"{name} must be an array on the host, not {kind} on a GPU")

    def real_array(self, value: ArrayLike, name: str, dtype: np.dtype[Any] | None = None) -> Any:
        view = _arrays.real_view(value, name)
        own = view.dtype
        if dtype is None:
            dtype = FLOAT64 if own.kind == "f" and own.itemsize >= 8 else FLOAT32
        return _arrays.fitting(value, view, dtype, name)

    def number_array(self, value: ArrayLike, name: str) -> Any:
        view = _arrays.real_view(value, name)
        return _arrays.fitting(value, view, view.dtype, name)

    def integer_array(self, value: ArrayLike, name: str) -> Any:
        view = view_of(value, name)
        if view.dtype.kind not in "iub":
            raise TypeError(f"{name} must hold integers, not dtype {view.dtype}")
        return _arrays.fitting(value, view, INT64, name)

    def check_places(self, named: list[tuple[str, Any]]) -> None:
        """Check that arrays are on one device.

        Raises:
            TypeError: one is not on a device.
            ValueError: two are on different ones.
        """
        _arrays.device_module().device_arrays(named)

    def zeros(
        self, shapes: Sequence[tuple[int, ...]], dtype: np.dtype[Any], like: Array
    ) -> list[DeviceArray]:
        device = view_of(like, "array").device
        return [_arrays.zeros(shape, dtype, device) for shape in shapes]

    def part(self, view: DeviceArray, shape: tuple[int, ...]) -> DeviceArray:
        return _arrays.part(view, shape)

    def cast(self, array: Array, dtype: np.dtype[Any]) -> Array:
        return _own(self.real_array(array, "array", dtype))

    def copied(self, array: Array) -> Array:
        return _own(_arrays.copied(view_of(array, "array")))

    def reshaped(self, array: Array, shape: tuple[int, ...]) -> Array:
        """See `ArrayBackend`; a copy, as not all kinds of arrays can be reshaped."""
        return _own(_arrays.copied(_arrays.part(view_of(array, "array"), shape)))

    def reversed_in_time(self, array: Array) -> Array:
        return _own(_arrays.backwards(view_of(array, "array")))

    def joined(self, arrays: Sequence[Array]) -> Array:
        """See `ArrayBackend`.

        Raises:
            ValueError: rows differ in shape.
        """
        views = [view_of(self.number_array(one, "outputs"), "outputs") for one in arrays]
        row = views[0].shape[1:]
        if any(view.shape[1:] != row for view in views):
            shapes = [view.shape for view in views]
            raise ValueError(f"the outputs of all batches must fit together, not {shapes}")
        whole = _arrays.empty((sum(map(len, views)), *row), views[0].dtype, views[0])
        first = 0
        for view in views:
            _arrays.copy_into(_arrays.part(whole, view.shape, first * prod(row)), view)
            first += len(view)
        return _own(whole)

    def to_host(self, array: Array) -> Array:
        return _arrays.to_host(view_of(array, "array"))

    def erf(self, x: Array) -> Array:
        found: Array = import_module("cupyx.scipy.special").erf(x)
        return found

    def mask_numbers(self, value: ArrayLike) -> Any:
        """See `ArrayBackend`; a view."""
        return view_of(self.number_array(value, "mask"), "mask")

    def lengths(self, mask: PlannedMask) -> Ints:
        return _masks.lengths_of(mask)

    def not_zero(self, array: Any) -> Bools:
        return _masks.not_equal(array, 0)

    def not_equal(self, array: Array, value: float) -> Bools:
        return _masks.not_equal(view_of(array, "inputs"), value)

    def any_not_equal(self, array: Array, value: float) -> Bools:
        return _masks.any_not_equal(view_of(array, "inputs"), value)

    def last_output(
        self, last: DeviceArray, mask: PlannedMask | None, plan: Plan, step: int | None
    ) -> DeviceArray:
        assert isinstance(plan, _masks.DevicePlan)
        out = _arrays.empty(last.shape, last.dtype, last)
        _arrays.gather(out, last, _masks.zeroed_rows(mask, plan, last.device, step))
        return out

    def gather_rows(self, weights: VersionedWeights, table: Array, ids: Ints) -> Array:
        """See `ArrayBackend`; the table is copied to the device once."""
        view = view_of(ids, "inputs")
        rows = _arrays.empty((*view.shape, table.shape[1]), table.dtype, view)
        flat = _arrays.part(rows, (view.size, table.shape[1]))
        sent = weight_on_device(weights, table, view)
        self.call("gather_rows", [flat], (sent, _arrays.part(view, (view.size,))))
        return _own(rows)

    def gather_rounded(
        self, weights: VersionedWeights, table: Array, ids: Ints, form: str
    ) -> Array:
        """See `ArrayBackend`; nothing is rounded with bfloat16."""
        _check_form(form)
        return self.gather_rows(weights, table, ids)

    def dense(
        self, weights: VersionedWeights, kernel: Array, bias: Array | None, form: str, x: Array
    ) -> Array:
        """See `ArrayBackend`; nothing is rounded with bfloat16."""
        _check_form(form)
        y = x @ kernel
        return y if bias is None else y + bias

    def in_form(self, cell: Cell, form: str) -> tuple[Cell, AbstractContextManager[None]]:
        """See `ArrayBackend`."""
        _check_form(form)
        return cell, _arrays.using_weights(form)

    def packing(self, x: Array) -> Hashable:
        """The device, and the form of recurrent weights, see `fastmask_kernels.cuda`."""
        return view_of(x, "inputs").device, _arrays.chosen_weights()

    def kept_weights(self, x: DeviceArray, weights: Sequence[Array]) -> Sequence[DeviceArray]:
        return [_arrays.put(weight, x.device) for weight in weights]

    def finish(self, like: DeviceArray) -> None:
        with _arrays.launching(like):
            _arrays.device_module().wait()


class _Copy:
    """A weight on a device.

    Args:
        weight: held, so that no other array gets its id.
        values: the values copied, if the layer's code may write to the weight; else None.
        array: the copy.
    """

    def __init__(self, weight: Array, values: Array | None, array: DeviceArray) -> None:
        self.weight, self.values, self.array = weight, values, array

    def holds(self, weight: Array) -> bool:
        """Whether the copy holds the values of a weight."""
        if self.weight is not weight:
            return False
        if self.values is None:
            return not weight.flags.writeable
        return np.array_equal(self.values, weight)


def _check_form(form: str) -> None:
    if form != "bfloat16":
        raise ValueError(
            f"a layer that was quantized to {form} takes arrays on the host, not on a GPU, where "
            'layers can be quantized to "bfloat16"'
        )


def weight_on_device(weights: VersionedWeights, weight: Array, like: DeviceArray) -> DeviceArray:
    """A view of a layer's weight, copied once to the device and library of `like`, a view.

    Weights of fastmask's own layers are read-only. A weight that may be written to is compared
    with the copied values in each call.
    """
    made = weights.made
    key = (id(weight), like.device, type(like.owner))
    known: _Copy | None = made.get(key)
    if known is None or not known.holds(weight):
        values = weight.copy() if weight.flags.writeable else None
        array = _arrays.empty(weight.shape, weight.dtype, like)
        source = weight if values is None else values
        _arrays.copy_into(array, _arrays.put(source, like.device))
        known = made[key] = _Copy(weight, values, array)
    return known.array


def _own(array: Any) -> Array:
    """The array behind a view; other arrays are themselves."""
    is_view = type(array).__module__.startswith("fastmask_kernels")
    found: Array = array.owner if is_view else array
    return found
