"""The backend's use of the CUDA driver: the device and stream that kernels run on, and memory.

Only `wait` waits for the device. In Numba's simulator (NUMBA_ENABLE_CUDASIM=1) there is one device,
whose memory is the host's.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from functools import cache, lru_cache
from importlib.util import find_spec
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...settings import setting

if find_spec("numba_cuda") is None:
    raise ImportError(
        'CUDA kernels need numba-cuda: pip install "numba-cuda[cu13]", or for the simulator, '
        "without a GPU, pip install numba-cuda greenlet"
    )

from numba import cuda
from numba.cuda.core import config

SIMULATED = bool(config.ENABLE_CUDASIM)

_stream: ContextVar[int] = ContextVar("fastmask_cuda_stream", default=0)


@cache
def require_device() -> None:
    """Raise if there is no device.

    Raises:
        RuntimeError: there is no CUDA driver, no device, or no compiler.
    """
    if SIMULATED or cuda.is_available():
        return
    if _has_driver():  # so Numba lacks the compiler
        raise RuntimeError(
            "no CUDA kernel can be compiled: there is a driver, but NVVM (libnvvm) of the CUDA "
            'toolkit was not found: pip install "numba-cuda[cu13]", or set CUDA_HOME'
        )
    raise RuntimeError(
        "no CUDA device can be used: there is no driver, no GPU, or the driver is too old "
        "for the installed CUDA libraries (fastmask info shows what is seen)"
    )


def _has_driver() -> bool:
    from numba.cuda.cudadrv.driver import driver
    from numba.cuda.cudadrv.error import CudaSupportError

    try:
        return bool(driver.is_available)
    except CudaSupportError:
        return False


@cache
def _driver() -> Any:
    require_device()  # cuda.bindings finds no driver in words of its own
    from cuda.bindings import driver

    return driver


def _done(result: tuple[Any, ...], what: str) -> Any:
    """What a driver function returned besides its status.

    Raises:
        MemoryError: the device is out of memory.
        RuntimeError: the call failed.
    """
    status, *values = result
    if status == _driver().CUresult.CUDA_ERROR_OUT_OF_MEMORY:
        raise MemoryError(f"the CUDA device has no memory for {what}")
    if status != _driver().CUresult.CUDA_SUCCESS:
        raise RuntimeError(f"the CUDA driver refuses {what}: {status.name}")
    return values[0] if values else None


@contextmanager
def refusing(what: str) -> Iterator[None]:
    """Turn driver errors of numba-cuda and cuda.core into the errors of `_done`."""
    try:
        yield
    except Exception as error:
        if type(error).__name__ not in ("CudaAPIError", "CUDAError"):
            raise
        kind = MemoryError if "OUT_OF_MEMORY" in str(error) else RuntimeError
        raise kind(f"the CUDA driver refuses {what}: {error}") from error


def device_of(address: int) -> int:
    """Number of the device that memory at `address` belongs to."""
    if SIMULATED:
        return 0
    driver = _driver()
    if not _thread.has_context:
        cuda.current_context()  # the driver answers only once there is one
        _thread.has_context = True
    attribute = driver.CUpointer_attribute.CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL
    status, device = driver.cuPointerGetAttribute(attribute, address)
    if status != driver.CUresult.CUDA_SUCCESS:
        raise ValueError(f"address {address:#x} is not memory that a CUDA device knows")
    return int(device)


class _Thread(threading.local):
    """What a thread remembers: asking Numba again would take as long as a launch."""

    device = -1  # of the `on_device` that the thread is in, -1 for none
    has_context = False


_thread = _Thread()


def here() -> int:
    """Number of the device whose `on_device` the thread is in, -1 outside of all."""
    return _thread.device


def current_device() -> int:
    """Number of the device that this thread's kernels are launched on."""
    if SIMULATED or _thread.device >= 0:
        return max(_thread.device, 0)
    status, device = _driver().cuCtxGetDevice()
    if status != _driver().CUresult.CUDA_SUCCESS:  # the thread has none yet
        return int(cuda.get_current_device().id)
    return int(device)


class Limits(NamedTuple):
    """The resources of a device."""

    multiprocessors: int
    shared: int  # bytes of shared memory that a block may have
    capability: tuple[int, int] = (8, 0)  # compute capability


def limits() -> Limits:
    """The limits of the current device; in the simulator, of two small multiprocessors."""
    return Limits(2, 160 * 1024) if SIMULATED else _limits_of(current_device())


@cache
def _limits_of(device: int) -> Limits:
    known, ask = _driver().CUdevice_attribute, _driver().cuDeviceGetAttribute
    names = (
        known.CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT,
        known.CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN,
        known.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR,
        known.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR,
    )
    count, shared, *capability = (
        int(_done(ask(name, device), "to tell what it has")) for name in names
    )
    return Limits(count, shared, (capability[0], capability[1]))


class on_device:
    """Make a device the current one, on which kernels are launched.

    Args:
        device: its number.
    """

    __slots__ = ("_before", "_device", "_pushed")

    def __init__(self, device: int) -> None:
        self._device = device

    def __enter__(self) -> None:
        self._before = _thread.device
        self._pushed = None
        if self._before == self._device:
            return
        if current_device() != self._device:
            self._pushed = cuda.gpus[self._device]
            self._pushed.__enter__()
        _thread.device = self._device

    def __exit__(self, *error: Any) -> None:
        _thread.device = self._before
        if self._pushed is not None:
            self._pushed.__exit__(*error)


def use_stream(handle: int) -> AbstractContextManager[None]:
    """Launch kernels on the caller's stream, in this thread or task.

    Args:
        handle: the CUDA stream as a number, such as `torch.cuda.current_stream().cuda_stream`
            or `cupy.cuda.get_current_stream().ptr`; 0 is the default stream.

    Example:
        with use_stream(torch.cuda.current_stream().cuda_stream):
            plan_steps(offsets, steps, order, valid)
    """
    return setting(_stream, int(handle))


def current_stream() -> Any:
    """The stream that kernels are launched on, as Numba takes it."""
    handle = _stream.get()
    return 0 if SIMULATED or not handle else cuda.external_stream(handle)


def stream_of_launch() -> int:
    """The stream that kernels are launched on, as a number."""
    return _stream.get()


@lru_cache(maxsize=256)
def stream_on(device: int, handle: int) -> Any:
    """A stream of the current device, as cuda.core takes it."""
    from cuda.core import Stream

    return Stream.from_handle(handle)


def allow_shared(kernel: Any, device: int, size: int) -> None:
    """Allow a loaded kernel more dynamic shared memory than CUDA's default limit.

    Raises:
        ValueError: the device does not have that much.
    """
    driver = _driver()
    attribute = driver.CUfunction_attribute.CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
    handle = kernel.handle if hasattr(kernel, "handle") else kernel._handle  # of cuda.core 0.5
    (status,) = driver.cuKernelSetAttribute(attribute, size, handle, device)
    if status != driver.CUresult.CUDA_SUCCESS:
        raise ValueError(f"device {device} does not have {size} bytes of shared memory for a block")


def wait() -> None:
    """Wait until all work on the current stream is done.

    Raises:
        RuntimeError: a kernel failed, before or while the host waits.
    """
    stream = current_stream()
    with refusing("to wait"):
        if stream:
            stream.synchronize()
        else:
            cuda.synchronize()


_pools: dict[int, Any] = {}
_pools_lock = threading.Lock()


def _pool_of(device: int) -> Any:
    """The device's memory pool, or None if the device does not support pools."""
    if device not in _pools:
        with _pools_lock:
            if device not in _pools:
                _pools[device] = _new_pool(device)
    return _pools[device]


def _new_pool(device: int) -> Any:
    driver = _driver()
    supported = driver.CUdevice_attribute.CU_DEVICE_ATTRIBUTE_MEMORY_POOLS_SUPPORTED
    if not _done(driver.cuDeviceGetAttribute(supported, device), "to tell what it can"):
        return None
    properties = driver.CUmemPoolProps()
    properties.allocType = driver.CUmemAllocationType.CU_MEM_ALLOCATION_TYPE_PINNED
    properties.location.type = driver.CUmemLocationType.CU_MEM_LOCATION_TYPE_DEVICE
    properties.location.id = device
    pool = _done(driver.cuMemPoolCreate(properties), "a pool of memory")
    # Freed memory stays in the pool: otherwise each synchronization would return it to the device,
    # and getting it again takes as long as cudaMalloc.
    keep = driver.CUmemPool_attribute.CU_MEMPOOL_ATTR_RELEASE_THRESHOLD
    _done(driver.cuMemPoolSetAttribute(pool, keep, driver.cuuint64_t(2**64 - 1)), "to keep memory")
    return pool


class Scratch:
    """Memory of the current device, ordered by the current stream.

    It comes from a memory pool of the driver, and returns to it when the last reference is gone:
    kernels launched before that on its stream still have it, those launched later may get it. The
    host does not wait.
    """

    __slots__ = ("_device", "_kept", "_stream", "address")

    def __init__(self, size: int, device: int) -> None:
        self._device, self._stream, self._kept = device, _stream.get(), None
        self.address = 0
        pool = _pool_of(device)
        if pool is None:
            with refusing(f"{size} bytes of scratch"):
                self._kept = cuda.device_array(size, np.uint8, stream=current_stream())
            self.address = self._kept.__cuda_array_interface__["data"][0]
        else:
            taken = _driver().cuMemAllocFromPoolAsync(size, pool, self._stream)
            self.address = int(_done(taken, f"{size} bytes of scratch"))

    def __del__(self) -> None:
        if self.address and self._kept is None and not sys.is_finalizing():
            with on_device(self._device):
                _driver().cuMemFreeAsync(self.address, self._stream)


def host_words(count: int) -> NDArray[np.int64]:
    """Zeros in host memory that every device can write to at the same address; never freed.

    Reading them does not wait: they show what has arrived.
    """
    if SIMULATED:
        return np.zeros(count, np.int64)
    driver = _driver()
    flags = driver.CU_MEMHOSTALLOC_PORTABLE | driver.CU_MEMHOSTALLOC_DEVICEMAP
    address = int(_done(driver.cuMemHostAlloc(8 * count, flags), "memory of the host"))
    words = host_array(address, count, np.dtype(np.int64))
    words[:] = 0
    return words


def host_array(address: int, size: int, dtype: np.dtype[Any], owner: Any = None) -> NDArray[Any]:
    """A flat array of `size` items at a host address, kept alive by `owner`."""
    data = {"shape": (size,), "typestr": dtype.str, "data": (address, False)}
    return np.asarray(Described({**data, "version": 3}, owner))


class Described:
    """Gives NumPy access to host memory that `owner` keeps alive."""

    def __init__(self, interface: dict[str, Any], owner: Any) -> None:
        self.__array_interface__, self._owner = interface, owner
