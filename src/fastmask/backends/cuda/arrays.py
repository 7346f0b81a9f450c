"""Convert arrays on a GPU to what kernels take, and back to the caller's library."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from importlib import import_module
from typing import Any

import numpy as np

from ..._typing import INT64, Array, ArrayLike, DeviceArray
from ..keeping import keeping
from .libraries import library_of

MOST_KEPT = 1 << 26  # bytes on devices for each kind of array that calls share


def device_module() -> Any:
    """The kernels' view of arrays and devices, imported for the first array on a GPU.

    Raises:
        ImportError: numba-cuda is not installed.
    """
    return import_module("fastmask_kernels.cuda.runtime.device")


@contextmanager
def launching(like: DeviceArray) -> Iterator[Any]:
    """The CUDA kernels, launched on the current stream of the library that `like` belongs to.

    Args:
        like: view of an array.
    """
    table = import_module("fastmask_kernels.cuda")
    library = library_of(like.owner)
    # Plans are cut to the valid steps, which saves copies.
    with (
        table.use_stream(library.stream(like.device)),
        table.use_products(library.multiply, exact=True),
    ):
        yield table


def using_weights(form: str) -> AbstractContextManager[None]:
    """Choose the form of recurrent weights, see `fastmask_kernels.cuda.use_weights`."""
    chosen: AbstractContextManager[None] = import_module("fastmask_kernels.cuda").use_weights(form)
    return chosen


def chosen_weights() -> str:
    """The form of recurrent weights, see `fastmask_kernels.cuda.use_weights`."""
    form: str = import_module("fastmask_kernels.cuda").chosen_weights()
    return form


def view_of(value: object, name: str) -> DeviceArray:
    """`value`, which messages call `name`, as the kernels see it.

    Raises:
        ImportError: numba-cuda is not installed.
        RuntimeError: there is no CUDA driver or no device.
        TypeError: it is not an array on a device, or requires gradients.
    """
    device = device_module()
    device.require_device()
    try:
        view: DeviceArray = device.view_of(value, name)
    except RuntimeError as error:
        if getattr(value, "requires_grad", False):
            raise TypeError(
                f"{name} requires gradients, which fastmask.torch computes: pass {name}.detach(), "
                "or use fastmask.torch"
            ) from error
        raise
    return view


def empty(shape: tuple[int, ...], dtype: np.dtype[Any], like: DeviceArray) -> DeviceArray:
    """A view of a new array of the kind and on the device of `like`, a view."""
    return view_of(library_of(like.owner).empty(shape, dtype, like.owner), "array")


def kept_empty(shape: tuple[int, ...], dtype: np.dtype[Any], device: int) -> DeviceArray:
    """A view of memory of fastmask's own, for results that outlive a call and serve any stream."""
    return put(np.empty(shape, dtype), device)  # scratch belongs to the stream that it is made on


def put(array: Array, device: int) -> DeviceArray:
    """A view of a copy of a NumPy array on a device; waits until it is there."""
    view: DeviceArray = device_module().to_device(array, device)
    return view


def to_host(view: DeviceArray) -> Array:
    """A copy as a NumPy array; waits for the device."""
    with launching(view):
        host: Array = device_module().to_host(view)
    return host


def part(view: DeviceArray, shape: tuple[int, ...], first: int = 0) -> DeviceArray:
    """A view of a contiguous array from item number `first` on, in another shape."""
    address = view.address + first * view.dtype.itemsize
    make: Any = type(view)
    same: DeviceArray = make(address, tuple(shape), view.dtype, view.device, view.flags, view.owner)
    return same


def zeros(shape: tuple[int, ...], dtype: np.dtype[Any], device: int) -> DeviceArray:
    """A view of zeros, which are cached and must not be written to."""
    return part(_zeros(int(np.prod(shape)), dtype, device), shape)


@keeping(lambda size, dtype, _: size * dtype.itemsize, MOST_KEPT)
def _zeros(size: int, dtype: np.dtype[Any], device: int) -> DeviceArray:
    return put(np.zeros(size, dtype), device)


def counting(count: int, step: int, device: int) -> DeviceArray:
    """The first `count` of the int64 numbers 0, step, 2 step, ..."""
    return put(np.arange(count, dtype=np.int64) * step, device)


@keeping(lambda count, _: count * INT64.itemsize, MOST_KEPT)
def numbers(count: int, device: int) -> DeviceArray:
    """0, 1, ..., count - 1 as int64, which are cached and must not be written to."""
    return counting(count, 1, device)


@keeping(lambda batch, time, _: batch * time * INT64.itemsize, MOST_KEPT)
def _backwards(batch: int, time: int, device: int) -> DeviceArray:
    """For each position of a batch reversed in time, the position that it comes from."""
    places = np.arange(batch * time, dtype=np.int64).reshape(batch, time)
    return put(np.ascontiguousarray(places[:, ::-1]).reshape(-1), device)


def gather(out: DeviceArray, table: DeviceArray, rows: DeviceArray) -> None:
    """out[i] = table[rows[i]] for contiguous arrays of any shape; zeros if there is no such row.

    Args:
        out: (N, ...).
        table: (V, ...).
        rows: (N,), int64.
    """
    copy_rows = import_module("fastmask_kernels.cuda.gather").copy_rows
    width = int(np.prod(out.shape[1:]))
    with launching(out):
        copy_rows(part(out, (len(out), width)), table, rows, len(table))


def copy_into(out: DeviceArray, view: DeviceArray) -> None:
    """Copy a contiguous array into another one with as many items."""
    shape = view.shape or (1,)
    gather(part(out, shape), part(view, shape), numbers(shape[0], out.device))


def copied(view: DeviceArray) -> DeviceArray:
    """A view of a copy of a contiguous array."""
    copy = empty(view.shape, view.dtype, view)
    copy_into(copy, view)
    return copy


def backwards(view: DeviceArray) -> DeviceArray:
    """A view of a copy of a contiguous (B, T, ...), reversed in time."""
    batch, time, *rest = view.shape
    turned = empty(view.shape, view.dtype, view)
    flat = (batch * time, *rest)
    gather(part(turned, flat), part(view, flat), _backwards(batch, time, view.device))
    return turned


def as_numpy_like(value: Array) -> Any:
    """`value` as an array that NumPy's functions compute with, without a copy; None if none can."""
    if is_numpy_like(value):
        return value
    if not hasattr(type(value), "__cuda_array_interface__"):  # of Numba's simulator
        return import_module("fastmask.backends.cuda.simulated").SimulatedArray(value)
    try:
        cupy = import_module("cupy")
    except ImportError:
        if library_of(value).name == "torch":
            return import_module("fastmask.backends.cuda.torch_numpy").TorchArray(value)
        return None
    return cupy.asarray(value)


def as_kind(value: Any, like: Any) -> Any:
    """`value`, an array on a GPU, as an array of the library of `like`, without a copy."""
    if type(value) is type(like):
        return value
    value = getattr(value, "tensor", value)  # of a `TorchArray`
    library = library_of(like)
    if library is library_of(value):
        return value
    if library.name == "torch":
        return import_module("torch").as_tensor(value, device=like.device)
    return device_module().as_numba(value)


def is_numpy_like(value: object) -> bool:
    """Whether NumPy's functions compute with it, as with arrays of CuPy."""
    return hasattr(type(value), "__array_function__")


def real_view(value: ArrayLike, name: str) -> DeviceArray:
    """`view_of`, of an array that must hold real numbers."""
    view = view_of(value, name)
    if view.dtype.kind not in "fiub":
        raise TypeError(f"{name} must hold real numbers, not dtype {view.dtype}")
    return view


def fitting(value: ArrayLike, view: DeviceArray, dtype: np.dtype[Any], name: str) -> Any:
    """The array as `dtype`, C-contiguous and aligned; itself if it is so already.

    The result is an array that NumPy's functions compute with if `value` is one, otherwise a view
    for kernels. `view_of` makes views of both.
    """
    flags = view.flags
    if not (view.dtype == dtype and flags.c_contiguous and flags.aligned):
        value = _converted(view.owner, dtype, name)
        view = view_of(value, name)
    return value if is_numpy_like(value) else view


def _converted(value: Any, dtype: np.dtype[Any], name: str) -> Any:
    """A converted copy, made by the array's own library."""
    library = library_of(value)
    if library.name == "torch" and not is_numpy_like(value):
        return value.to(getattr(import_module("torch"), dtype.name)).contiguous()
    numpy_like = as_numpy_like(value)
    if numpy_like is None:
        raise TypeError(
            f"{name} must be C-contiguous and of dtype {dtype}, not {value.dtype}: arrays of "
            f"{library.name} cannot be converted on the GPU where CuPy is not installed"
        )
    return as_kind(numpy_like.astype(dtype, order="C"), value)
