"""Arrays on a GPU, whoever made them, and the device and stream that kernels run on.

Any object with `__cuda_array_interface__` (numba, CuPy, torch) is looked at through a
`DeviceArray`: an address with a shape and a dtype. Nothing is copied, and nothing below this
file knows who owns the memory.

In Numba's simulator (NUMBA_ENABLE_CUDASIM=1) the memory of the one device is the host's, and
addresses are those of NumPy arrays.
"""

from __future__ import annotations

import contextvars
import math
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib.util import find_spec
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

if find_spec("numba_cuda") is None:
    raise ImportError('CUDA kernels need numba-cuda: pip install "fastmask-rnn[cuda]"')

from numba import cuda
from numba.cuda.core import config

SIMULATED = bool(config.ENABLE_CUDASIM)

_BYTE = np.dtype(np.uint8)
_stream: contextvars.ContextVar[int] = contextvars.ContextVar("fastmask_cuda_stream", default=0)


class Flags(NamedTuple):
    """What NumPy says of its arrays in `flags`."""

    c_contiguous: bool
    aligned: bool
    writeable: bool

    @property
    def num(self) -> int:
        """All flags in one number."""
        return self.c_contiguous + 2 * self.aligned + 4 * self.writeable


class DeviceArray:
    """Memory of a device: an address, with what NumPy calls shape, dtype and flags.

    Args:
        address: of the first byte, as the device sees it.
        shape: sizes of the array.
        dtype: of its items.
        device: number of the device.
        flags: as NumPy's.
        owner: whoever keeps the memory alive.
    """

    __slots__ = ("address", "device", "dtype", "flags", "owner", "shape")

    def __init__(
        self,
        address: int,
        shape: tuple[int, ...],
        dtype: np.dtype[Any],
        device: int,
        flags: Flags,
        owner: Any,
    ) -> None:
        self.address = address
        self.shape = shape
        self.dtype = dtype
        self.device = device
        self.flags = flags
        self.owner = owner

    @property
    def ndim(self) -> int:
        """How many sizes the shape has."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """How many items there are."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """How many bytes a contiguous array takes."""
        return self.size * self.dtype.itemsize

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        """For numba, CuPy and torch; of contiguous arrays alone."""
        return {
            "version": 3,
            "shape": self.shape,
            "typestr": self.dtype.str,
            "data": (self.address, not self.flags.writeable),
            "strides": None,
            "stream": None,
        }


def device_arrays(named: list[tuple[str, Any]]) -> list[DeviceArray]:
    """Views of a call's arrays.

    Args:
        named: name and value of each.

    Returns:
        A view of each, in the same order.

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
    try:
        interface = value.__cuda_array_interface__
    except AttributeError:
        interface = None
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


@cache
def require_device() -> None:
    """Do nothing where there is a device.

    Raises:
        RuntimeError: there is no CUDA driver or no device.
    """
    if SIMULATED:
        return
    if not cuda.is_available():
        raise RuntimeError(
            "no CUDA device can be used: there is no driver, no GPU, or the driver is too old "
            "for the installed CUDA libraries (fastmask info shows what is seen)"
        )


def device_of(address: int) -> int:
    """Number of the device that memory at `address` belongs to."""
    if SIMULATED:
        return 0
    from cuda.bindings import driver

    attribute = driver.CUpointer_attribute.CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL
    cuda.current_context()  # the driver answers nothing before there is a context
    status, device = driver.cuPointerGetAttribute(attribute, address)
    if status != driver.CUresult.CUDA_SUCCESS:
        raise ValueError(f"address {address:#x} is not memory that a CUDA device knows")
    return int(device)


@contextmanager
def on_device(device: int) -> Iterator[None]:
    """Let a device be the current one, which kernels are launched on."""
    if SIMULATED or cuda.get_current_device().id == device:
        yield
    else:
        with cuda.gpus[device]:
            yield


@contextmanager
def use_stream(handle: int) -> Iterator[None]:
    """Launch kernels on the caller's stream, in this thread or task.

    Args:
        handle: the CUDA stream as a number, such as `torch.cuda.current_stream().cuda_stream`
            or `cupy.cuda.get_current_stream().ptr`; 0 is the default stream.

    Example:
        with use_stream(torch.cuda.current_stream().cuda_stream):
            plan_steps(offsets, steps, order, valid)
    """
    token = _stream.set(int(handle))
    try:
        yield
    finally:
        _stream.reset(token)


def current_stream() -> Any:
    """The stream that kernels are launched on, as Numba takes it."""
    handle = _stream.get()
    return 0 if SIMULATED or not handle else cuda.external_stream(handle)


class _Stream(NamedTuple):
    """A stream as cuda.core takes it from anybody."""

    handle: int

    def __cuda_stream__(self) -> tuple[int, int]:
        return 0, self.handle


def stream_of_launch() -> _Stream:
    """The stream that kernels are launched on, as cuda.core takes it."""
    return _Stream(_stream.get())


def allow_shared(compiled: Any, device: int, size: int) -> None:
    """Let a compiled kernel have more dynamic shared memory than CUDA gives unasked.

    Raises:
        ValueError: the device has not as much.
    """
    from cuda.bindings import driver

    attribute = driver.CUfunction_attribute.CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
    handle = compiled.library.get_cufunc().kernel.handle
    (status,) = driver.cuKernelSetAttribute(attribute, size, handle, device)
    if status != driver.CUresult.CUDA_SUCCESS:
        raise ValueError(f"device {device} has not {size} bytes of shared memory for a block")


def wait() -> None:
    """Until all work on the current stream is done."""
    stream = current_stream()
    if stream:
        stream.synchronize()
    else:
        cuda.synchronize()


def empty(shape: int | tuple[int, ...], dtype: Any, device: int = 0) -> DeviceArray:
    """Uninitialised memory. It is not cached: nothing that is called often should need any."""
    shape = (shape,) if isinstance(shape, int) else tuple(shape)
    dtype = np.dtype(dtype)
    size = max(math.prod(shape) * dtype.itemsize, 1)
    if SIMULATED:
        memory = np.empty(size, np.uint8)
        address = memory.ctypes.data
    else:
        with on_device(device):
            memory = cuda.device_array(size, np.uint8, stream=current_stream())
        address = memory.__cuda_array_interface__["data"][0]
    return DeviceArray(address, shape, dtype, device, Flags(True, True, True), memory)


def to_device(array: NDArray[Any], device: int = 0) -> DeviceArray:
    """A copy of a NumPy array on a device."""
    copy = empty(array.shape, array.dtype, device)
    if array.size:
        # As bytes, which Numba copies whatever the dtype.
        source = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
        if SIMULATED:
            copy.owner[:] = source
        else:
            with on_device(device):
                copy.owner.copy_to_device(source, stream=current_stream())
                wait()  # the source may be gone before the copy has begun
    return copy


def to_host(array: Any) -> NDArray[Any]:
    """A copy of a contiguous device array as a NumPy array; waits for the current stream."""
    view = view_of(array, "array")
    if SIMULATED or not view.size:
        return host_view(view, view.dtype).reshape(view.shape).copy()
    flat = DeviceArray(view.address, (view.nbytes,), _BYTE, view.device, view.flags, view)
    with on_device(view.device):
        copied = cuda.as_cuda_array(flat, sync=False).copy_to_host(stream=current_stream())
        wait()
    return np.asarray(copied).view(view.dtype).reshape(view.shape)


class _HostMemory:
    """Lets NumPy look at an address."""

    def __init__(self, view: DeviceArray, dtype: np.dtype[Any]) -> None:
        self._owner = view
        self.__array_interface__ = {
            "version": 3,
            "shape": (view.nbytes // dtype.itemsize,),
            "typestr": dtype.str,
            "data": (view.address, False),
        }


def host_view(view: DeviceArray, dtype: Any) -> NDArray[Any]:
    """Flat NumPy array of `dtype` over memory that the host can see, as in the simulator."""
    dtype = np.dtype(dtype)
    if not view.nbytes:
        return np.empty(0, dtype)
    return np.asarray(_HostMemory(view, np.dtype("u1"))).view(dtype)
