"""The backend of NumPy arrays.

Kernels need native-endian, C-contiguous, aligned arrays of the dtypes in their specification.
Other arrays are converted here, or refused by an error that names the argument.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import lru_cache
from math import prod
from typing import Any

import numpy as np

from .._checks import shown
from .._typing import FLOAT32, FLOAT64, INT64, Array, ArrayLike, Bools, Ints
from .base import KernelInput, PlannedMask, VersionedWeights
from .cell import Cell, Form, KernelName, cell_in_form, forms_in, kernel_in, known_as
from .plan import Plan, full_plan
from .table import kernels
from .threads import get_num_threads

PLAIN: AbstractContextManager[None] = nullcontext()
"""The context for calling kernels if there is nothing to choose."""
LISTS_OF_ROWS = "predict takes such lists; fastmask.ragged and fastmask.pad make batches of them"


class Host:
    """See `Backend` and `ArrayBackend`."""

    sees_arrays = steps_in_place = True

    def views(self, *arrays: Array) -> Sequence[Array]:
        """The arrays themselves."""
        return arrays

    own = views

    def outputs(
        self, cell: Cell, like: Array, shape: tuple[int, int, int]
    ) -> tuple[Array, list[Array], Sequence[Array]]:
        batch, _, units = shape
        dtype, state = like.dtype, (batch, units)
        last = [np.empty(state, dtype) for _ in range(cell.states)]
        return np.empty(shape, dtype), last, _nothing_saved(cell, units, dtype)

    def plan(
        self,
        mask: PlannedMask | None,
        batch: int,
        time: int,
        like: Array | None = None,
    ) -> Plan:
        return full_plan(batch, time) if mask is None else mask.plan

    def packed_room(self, cell: Cell, kernel: Array, recurrent_kernel: Array, kept: bool) -> Array:
        """See `Backend`."""
        table, dtype = kernels(), kernel.dtype
        size = kernel_in(table, cell.packed_size)(len(kernel), len(recurrent_kernel), dtype)
        packed: Array = table.aligned_empty(size, dtype)
        return packed

    def full_bias(self, bias: Array | None, shape: tuple[int, ...], like: Array) -> Array:
        full = np.zeros(shape, like.dtype)
        if bias is not None:
            full[: 1 if bias.ndim < len(shape) else None] = bias
        return full

    def call(
        self,
        kernel: KernelName,
        outputs: Sequence[Array],
        inputs: Sequence[KernelInput],
        like: Array | None = None,
    ) -> None:
        kernel_in(kernels(), kernel).unchecked(*outputs, *inputs)

    def run(
        self, kernel: KernelName, outputs: Sequence[Array], inputs: Sequence[KernelInput]
    ) -> None:
        _unchecked(kernels(), kernel)(*outputs, *inputs, get_num_threads())

    def as_array(self, value: Any, name: str) -> Array:
        if type(value) is np.ndarray:
            return value
        if isinstance(value, np.ndarray) and type(value).__module__.startswith("numpy.ma"):
            raise TypeError(f"{name} is a numpy.ma array: pass its data, and its mask as mask=")
        try:
            return np.asarray(value)
        except ValueError as error:
            if not isinstance(value, (list, tuple)):
                raise
            raise ValueError(
                f"{name} must be an array, but its rows differ in shape ({LISTS_OF_ROWS})"
            ) from error
        except (TypeError, RuntimeError) as error:  # of torch, about dtypes, gradients and layouts
            kind = f"{type(value).__module__}.{type(value).__name__}"
            if kind.startswith("fastmask."):  # their own message is clear enough
                raise
            what = f"{kind} ({value.dtype})" if hasattr(value, "dtype") else kind
            has = getattr(value, "requires_grad", False)
            hint = " (the modules of fastmask.torch have gradients)" if has is True else ""
            raise TypeError(
                f"{name} must be what NumPy can hold, not {what}: {error}{hint}"
            ) from error

    def real_array(self, value: ArrayLike, name: str, dtype: np.dtype[Any] | None = None) -> Array:
        array = self.as_array(value, name)
        own = array.dtype
        if dtype is None:
            dtype = FLOAT64 if own.kind == "f" and own.itemsize >= 8 else FLOAT32
        if own is not dtype and own != dtype:
            if own.kind not in "fiub":
                raise no_numbers(array, name)
            return np.require(array, dtype, ["C", "A"])
        return _as_kernels_take_it(array)

    def number_array(self, value: ArrayLike, name: str) -> Array:
        array = self.as_array(value, name)
        if array.dtype.kind not in "fiub":
            raise no_numbers(array, name)
        if not array.dtype.isnative:
            array = array.astype(array.dtype.newbyteorder("="))
        return _as_kernels_take_it(array)

    def integer_array(self, value: ArrayLike, name: str) -> Ints:
        array = self.as_array(value, name)
        if array.dtype == INT64:
            return _as_kernels_take_it(array)
        kind = array.dtype.kind
        if kind not in "iufb":
            raise no_numbers(array, name, "integers")
        if kind == "f":
            array = array.astype(np.float64, copy=False)
            whole = (np.abs(array) < 2.0**63) & (np.trunc(array) == array)
            if not whole.all():
                raise ValueError(f"{name} must hold integers, but one is {array[~whole][0]}")
        elif kind == "u" and array.dtype.itemsize == 8 and array.size and array.max() >= 2**63:
            raise ValueError(f"{name} holds {array.max()}, more than int64 can hold")
        return np.require(array, np.int64, ["C", "A"])

    def check_places(self, named: list[tuple[str, Array]]) -> None:
        """Do nothing: there is only one place."""

    def zeros(
        self,
        shapes: Sequence[tuple[int, ...]],
        dtype: np.dtype[Any],
        like: Array,
    ) -> list[Array]:
        return [np.zeros(shape, dtype) for shape in shapes]

    def part(self, view: Array, shape: tuple[int, ...]) -> Array:
        return view.reshape(shape)

    def cast(self, array: Array, dtype: np.dtype[Any]) -> Array:
        return array.astype(dtype)

    def copied(self, array: Array) -> Array:
        return array.copy()

    def reshaped(self, array: Array, shape: tuple[int, ...]) -> Array:
        return array.reshape(shape)

    def reversed_in_time(self, array: Array) -> Array:
        """See `ArrayBackend`; a view."""
        return array[:, ::-1]

    def joined(self, arrays: Sequence[Array]) -> Array:
        return np.concatenate(arrays)

    def to_host(self, array: Array) -> Array:
        """The array itself."""
        return array

    def erf(self, x: Array) -> Array:
        """See `ArrayBackend`.

        NumPy has none; `math.erf`, called for each element, takes about 0.1 us.
        """
        return np.fromiter(map(math.erf, x.ravel().tolist()), x.dtype, x.size).reshape(x.shape)

    def mask_numbers(self, value: ArrayLike) -> Array:
        return self.as_array(value, "mask")

    def lengths(self, mask: PlannedMask) -> Ints:
        lengths: Ints = mask.valid.sum(axis=-1, dtype=np.int64)
        return lengths

    def not_zero(self, array: Array) -> Bools:
        return np.array(array, dtype=np.bool_, order="C")

    def not_equal(self, array: Array, value: float) -> Bools:
        valid = np.empty(array.shape, np.bool_)
        flat = valid
        if array.ndim > 2:
            shape = prod(array.shape[:-1]), array.shape[-1]
            flat, array = valid.reshape(shape), array.reshape(shape)
        kernels().mask_not_equal.unchecked(flat, array, value)
        return valid

    def any_not_equal(self, array: Array, value: float) -> Bools:
        valid = np.empty(array.shape[:-1], np.bool_)
        flat = valid
        if array.ndim > 3:
            *rows, time, features = array.shape
            shape = prod(rows), time
            flat, array = valid.reshape(shape), array.reshape(*shape, features)
        kernels().mask_any_not_equal(flat, array, value)
        return valid

    def last_output(
        self, last: Array, mask: PlannedMask | None, plan: Plan, step: int | None
    ) -> Array:
        output = last.copy()
        if step is not None and mask is not None:
            output[~np.asarray(mask)[:, step]] = 0
            return output
        offsets, _, order = plan
        if len(order):
            shortest = order[-1]
            if offsets[shortest] == offsets[shortest + 1]:
                output[offsets[1:] == offsets[:-1]] = 0
        return output

    def gather_rows(self, weights: VersionedWeights, table: Array, ids: Ints) -> Array:
        """See `ArrayBackend`."""
        rows = np.empty((ids.size, table.shape[1]), table.dtype)
        kernels().gather_rows.unchecked(rows, table, ids.reshape(-1))
        return rows.reshape(*ids.shape, table.shape[1])

    def gather_rounded(
        self, weights: VersionedWeights, table: Array, ids: Ints, form: str
    ) -> Array:
        """See `ArrayBackend`."""
        made, key = weights.made, ("embedding", form)
        if key not in made:
            made[key] = forms_in(kernels()).rounded_rows(table, form)
        words, scales = made[key]
        rows: Array = self.gather_rows(weights, words, ids)
        if scales is None:
            bits: Array = np.left_shift(rows, 16, dtype=np.uint32)
            return bits.view(np.float32)
        scaled: Array = rows * scales[ids][..., np.newaxis]
        return scaled

    def dense(
        self, weights: VersionedWeights, kernel: Array, bias: Array | None, form: str, x: Array
    ) -> Array:
        """See `ArrayBackend`."""
        table, made, key = forms_in(kernels()), weights.made, ("dense", form)
        packed_size, pack, run = table.dense_kernels(form)
        if key not in made:
            packed = table.aligned_empty(packed_size(*kernel.shape), np.float32)
            full = self.full_bias(bias, kernel.shape[1:], kernel)
            pack(packed, kernel, full)
            made[key] = packed
        out = np.empty((len(x), kernel.shape[1]), np.float32)
        run(out, x, made[key], get_num_threads())
        return out

    def has_forms(self) -> bool:
        """Whether the kernels have other forms of cells; the reference kernels do not."""
        return hasattr(kernels(), "kernels_in_form")

    def sums_of_rows(
        self, cell: Cell, rows: Array, kernel: Array, bias: Array, flags: Sequence[Any]
    ) -> Array:
        """The table of sums that a cell's `Form` with `gathered` looks up."""
        table: Array = forms_in(kernels()).sums_of_rows(known_as(cell), rows, kernel, bias, *flags)
        return table

    def in_form(self, cell: Cell, form: str) -> tuple[Cell, AbstractContextManager[None]]:
        """See `ArrayBackend`."""
        return cell_in_form(cell, Form(form)), PLAIN

    def packing(self, x: Array) -> Hashable:
        """See `ArrayBackend`."""
        table: Hashable = kernels()
        return table

    def kept_weights(self, x: Array, weights: Sequence[Array]) -> Sequence[Array]:
        """See `ArrayBackend`."""
        return weights

    def finish(self, like: Array) -> None:
        """There is nothing to wait for."""


HOST = Host()


@lru_cache(maxsize=256)
def _unchecked(table: Any, kernel: KernelName) -> Callable[..., None]:
    function: Callable[..., None] = kernel_in(table, kernel).unchecked
    return function


@lru_cache(maxsize=64)
def _nothing_saved(cell: Cell, units: int, dtype: np.dtype[Any]) -> tuple[Array, ...]:
    return tuple([np.empty((0, width * units), dtype) for width in cell.saved])


def _as_kernels_take_it(array: Array) -> Array:
    """`array` C-contiguous and aligned."""
    flags = array.flags
    if flags.c_contiguous and flags.aligned:
        return array
    return np.require(array, None, ["C", "A"])  # a microsecond, even for an array that fits


def rows_hint(inputs: Sequence[object]) -> str:
    """For the end of a message about a list of inputs: where to pass it if it holds rows."""
    arrays = all(isinstance(one, np.ndarray) for one in inputs)
    return f"; if these are rows, {LISTS_OF_ROWS}" if arrays else ""


def no_numbers(array: Array, name: str, wanted: str = "real numbers") -> TypeError:
    """The error for an array, called `name`, that does not hold what is wanted."""
    such = ""
    if array.dtype.kind in "OSU" and array.size:
        such = f" such as {shown(array.ravel()[:1].tolist()[0])}"
    return TypeError(f"{name} must hold {wanted}, not dtype {array.dtype}{such}")
