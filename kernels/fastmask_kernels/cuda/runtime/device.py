"""Arrays on a GPU, from any library, and memory for a call.

A `DeviceArray` is a view of any object with `__cuda_array_interface__` (numba, CuPy, torch): an
address with a shape and a dtype. Nothing is copied, and no lower layer knows who owns the memory.
In the simulator addresses are those of NumPy arrays.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import AbstractContextManager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numba import cuda
from numpy.typing import NDArray

from ...settings import setting
from .driver import SIMULATED as SIMULATED
from .driver import (
    Scratch,
    current_stream,
    device_of,
    host_array,
    on_device,
    refusing,
    require_device,
)
from .driver import stream_of_launch as stream_of_launch
from .driver import wait as wait

Allocate = Callable[[int, int], Any]

_BYTE = np.dtype(np.uint8)


class Flags(NamedTuple):
    """The same as NumPy's `flags` of arrays."""

    c_contiguous: bool
    aligned: bool
    writeable: bool

    @property
    def num(self) -> int:
        """All flags in one number."""
        return self.c_contiguous + 2 * self.aligned + 4 * self.writeable


OPEN = Flags(True, True, True)  # memory that kernels may write to


@dataclass(eq=False, repr=False, slots=True)
class DeviceArray:
    """Memory of a device: an address, with NumPy's shape, dtype and flags."""

    address: int  # of the first byte, as the device sees it
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    device: int
    flags: Flags
    owner: Any  # keeps the memory alive

    @property
    def ndim(self) -> int:
        """Number of dimensions."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of items."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes that a contiguous array takes."""
        return self.size * self.dtype.itemsize

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        """For numba, CuPy and torch; of contiguous arrays only."""
        return {
            "version": 3,
            "shape": self.shape,
            "typestr": self.dtype.str,
            "data": (self.address, not self.flags.writeable),
            "strides": None,
            "stream": None,
        }


def device_arrays(named: list[tuple[str, Any]]) -> list[DeviceArray]:
    """Views of a call's arrays, given by name and value.

    Raises:
        RuntimeError: there is no CUDA driver or no device.
        TypeError: a value is not an array on a device.
        ValueError: two arrays are on different devices.
    """
    require_device()
    views = [view_of(value, name) for name, value in named]
    filled = [(name, view) for (name, _), view in zip(named, views, strict=True) if view.size]
    for name, view in filled[1:]:
        first, other = filled[0]
        if view.device != other.device:
            raise ValueError(
                f"{name} is on device {view.device}, but {first} is on device {other.device}: "
                "all arrays of a call must be on one device"
            )
    return views


def view_of(value: Any, name: str) -> DeviceArray:
    """A view of the array `value`, which errors call `name`.

    Raises:
        TypeError: it is not an array on a device.
    """
    if isinstance(value, DeviceArray):
        return value
    interface = _interface_of(value)
    if not isinstance(interface, dict):
        kind = type(value).__name__
        host = " (memory of the host)" if isinstance(value, np.ndarray) else ""
        raise TypeError(
            f"{name} must be an array on a CUDA device, like all arrays of this call, not "
            f"{kind}{host}: it needs __cuda_array_interface__"
        )
    if interface.get("mask") is not None:
        raise TypeError(f"{name} is a masked array: pass its data alone")
    address, read_only = interface["data"]
    shape = tuple(interface["shape"])
    dtype = _dtype_of(interface)
    contiguous = _is_contiguous(shape, interface.get("strides"), dtype.itemsize)
    flags = Flags(contiguous, not address % max(dtype.alignment, 1), not read_only)
    device = device_of(address) if math.prod(shape) else 0
    return DeviceArray(address or 0, shape, dtype, device, flags, value)


def _interface_of(value: Any) -> Any:
    try:
        return value.__cuda_array_interface__
    except AttributeError:
        if SIMULATED and hasattr(type(value), "__cuda_ndarray__"):
            return {**value.__array_interface__, "version": 3}  # the simulator's, over NumPy's
        return None


def _dtype_of(interface: dict[str, Any]) -> np.dtype[Any]:
    name: str = interface["typestr"]
    fields: list[Any] = interface.get("descr") or []
    structured = name[1] == "V" and fields not in ([], [("", name)])
    return np.dtype(fields if structured else name)


def _is_contiguous(shape: tuple[int, ...], strides: Any, itemsize: int) -> bool:
    if strides is None or 0 in shape:
        return True
    expected = itemsize
    for size, stride in zip(reversed(shape), reversed(strides), strict=True):
        if size != 1 and stride != expected:
            return False
        expected *= size
    return True


_memory: ContextVar[Allocate | None] = ContextVar("fastmask_cuda_memory", default=None)


def use_memory(allocate: Allocate | None) -> AbstractContextManager[None]:
    """Let the array library allocate the scratch memory of calls, in this thread or task.

    Args:
        allocate: `allocate(size, device)` returns `size` bytes of a device as any object with
            `__cuda_array_interface__`, at an address that is a multiple of 256. It is released when
            the call returns, while kernels still run: the library may reuse it for later work on
            the stream of `use_stream`, as the allocators of torch and CuPy do. None for a memory
            pool of the driver.

    Example:
        def allocate(size, device):
            return torch.empty(size, dtype=torch.uint8, device=device)

        with use_stream(torch.cuda.current_stream().cuda_stream), use_memory(allocate):
            lstm_fwd(...)
    """
    return setting(_memory, allocate)


def empty(shape: int | tuple[int, ...], dtype: Any, device: int = 0) -> DeviceArray:
    """Uninitialized memory for kernels on the current stream, by `use_memory` or from a pool.

    It is freed when the last reference is gone, while kernels of the stream still run: no other
    stream may use it, and it must not outlive its stream.
    """
    shape = (shape,) if isinstance(shape, int) else tuple(shape)
    dtype = np.dtype(dtype)
    size = max(math.prod(shape) * dtype.itemsize, 1)
    allocate = _memory.get()
    memory: Any
    with on_device(device):
        if allocate is not None:
            memory = allocate(size, device)
            address = memory.__cuda_array_interface__["data"][0]
        elif SIMULATED:
            memory = np.empty(size, np.uint8)
            address = memory.ctypes.data
        else:
            memory = Scratch(size, device)
            address = memory.address
    return DeviceArray(address, shape, dtype, device, OPEN, memory)


def to_device(array: NDArray[Any], device: int = 0) -> DeviceArray:
    """A copy of a NumPy array on a device, in memory that lives as long as a reference to it."""
    size = max(array.nbytes, 1)
    # As bytes, since Numba does not copy every dtype.
    source = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
    if SIMULATED:
        memory = np.empty(size, np.uint8)
        memory[: source.size] = source
        address = memory.ctypes.data
    else:
        with on_device(device), refusing(f"a copy of {size} bytes"):
            memory = cuda.device_array(size, np.uint8, stream=current_stream())
            if source.size:
                memory.copy_to_device(source, stream=current_stream())
                wait()  # the source may be gone before the copy has begun
        address = memory.__cuda_array_interface__["data"][0]
    return DeviceArray(address, array.shape, array.dtype, device, OPEN, memory)


def to_host(array: Any) -> NDArray[Any]:
    """A copy of a contiguous device array as a NumPy array; waits for the current stream."""
    view = view_of(array, "array")
    if SIMULATED or not view.size:
        return host_view(view, view.dtype).reshape(view.shape).copy()
    flat = DeviceArray(view.address, (view.nbytes,), _BYTE, view.device, view.flags, view)
    with on_device(view.device), refusing(f"a copy of {view.nbytes} bytes"):
        copied = as_numba(flat).copy_to_host(stream=current_stream())
        wait()
    return np.asarray(copied).view(view.dtype).reshape(view.shape)


def as_numba(view: Any) -> Any:
    """A Numba array over the memory of an array on a device."""
    if SIMULATED:
        from ..simulator import as_numba

        return as_numba(view)
    return cuda.as_cuda_array(view, sync=False)


def host_view(view: DeviceArray, dtype: Any) -> NDArray[Any]:
    """Flat NumPy array of `dtype` over memory that the host can see, as in the simulator."""
    dtype = np.dtype(dtype)
    if not view.nbytes:
        return np.empty(0, dtype)
    return host_array(view.address, view.nbytes, _BYTE, view).view(dtype)
