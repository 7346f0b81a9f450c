"""What fastmask runs on: versions, processor, graphics cards."""

from __future__ import annotations

import ctypes
import platform
import sys
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version

from ._threads import get_num_threads
from ._version import __version__


def describe() -> list[tuple[str, str]]:
    """Names and values, in the order in which a person wants to read them."""
    lstm = import_module("fastmask_kernels.cpu.lstm")
    simd = import_module("fastmask_kernels.cpu.simd")
    return [
        ("fastmask", __version__),
        ("python", f"{platform.python_version()} on {platform.system()} {platform.machine()}"),
        *((name, _version(name)) for name in ("numpy", "numba", "llvmlite")),
        ("SIMD width", f"{8 * simd.VECTOR_BYTES} bits"),
        ("threads", str(get_num_threads())),
        ("cache folder", lstm.cache_folder() or "none that can be written"),
        ("CUDA", ", ".join(cuda_devices()) or "not seen"),
    ]


def cuda_devices() -> list[str]:
    """Names of the CUDA devices that the driver knows; none where there is no driver."""
    try:
        driver = ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
        count = ctypes.c_int()
        if driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(count)):
            return []
        return [_device_name(driver, number) for number in range(count.value)]
    except (OSError, AttributeError):  # not there, or not what it says it is
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
