"""What fastmask runs on: versions, processor, graphics cards."""

from __future__ import annotations

import ctypes
import platform
import sys
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version

from fastmask_kernels import JitDisabledError

from .._version import __version__
from ..backends.table import kernels
from ..backends.threads import get_num_threads


def describe() -> list[tuple[str, str]]:
    """Names and values, in the order of a report."""
    return [
        ("fastmask", __version__),
        ("python", f"{platform.python_version()} on {platform.system()} {platform.machine()}"),
        *((name, _version(name)) for name in ("numpy", "numba", "llvmlite")),
        ("kernels", _table()),
        *_compiled(),
        ("threads", str(get_num_threads())),
        ("CUDA", ", ".join(cuda_devices()) or "no device seen"),
        ("CUDA compiler", _cuda_compiler()),
    ]


def _cuda_compiler() -> str:
    """Whether `fastmask compile` works, which needs no device."""
    reason = import_module("fastmask_kernels.machine_code").missing("nvdisasm")
    return f"none, compiling {reason}" if reason else "found, for fastmask compile"


def _table() -> str:
    """Which kernels compute on NumPy arrays."""
    try:
        return str(kernels().__name__.rpartition(".")[2])
    except (JitDisabledError, ValueError) as error:  # FASTMASK_KERNELS asks for what is not there
        return f"none: {error}"


def _compiled() -> list[tuple[str, str]]:
    """What kernels are compiled for, and where they are kept."""
    try:
        cells = import_module("fastmask_kernels.cpu.rnn.cells")
        simd = import_module("fastmask_kernels.cpu.simd")
    except JitDisabledError:
        return [("compiler", "off: NUMBA_DISABLE_JIT is set, which makes kernels slow")]
    folder = cells.cache_folder()
    kept = "none that can be written: each process compiles kernels anew"
    if folder:
        kept = f"{folder} ({import_module('fastmask_kernels.cache').contents_of(folder)})"
    return [("SIMD width", f"{8 * simd.VECTOR_BYTES} bits"), ("cache folder", kept)]


def cuda_devices() -> list[str]:
    """Names of the CUDA devices that the driver knows; none without a driver."""
    try:
        driver = ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
        count = ctypes.c_int()
        if driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(count)):
            return []
        return [_device_name(driver, number) for number in range(count.value)]
    except (OSError, AttributeError):  # no driver, or a library without these functions
        return []


def _device_name(driver: ctypes.CDLL, number: int) -> str:
    device, name = ctypes.c_int(), ctypes.create_string_buffer(256)
    if driver.cuDeviceGet(ctypes.byref(device), number) or driver.cuDeviceGetName(
        name, len(name), device
    ):
        return f"device {number}"
    return name.value.decode(errors="replace")


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
