"""Tests of the CUDA backend on a driver stub: no kernel runs, everything else is as on a GPU.

`driver.c` describes the stub. The files of this folder run in processes that load the stub instead
of libcuda, see `environment`; `test_on_the_stub.py` in the parent folder starts them.
"""

from __future__ import annotations

import ctypes
import gc
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from shutil import which
from typing import Any

from .. import compiling

LOG = "STUB_LOG"
DEVICES = "90,80"
_SOURCE = Path(__file__).with_name("driver.c")
_LAUNCH = re.compile(
    r"launch (\S+) grid (\d+) (\d+) (\d+) block (\d+) (\d+) (\d+) shared (\d+) stream (\S+) "
    r"cooperative (\d) device (\d)"
)


def missing() -> str | None:
    """Why there is no stub here, or None."""
    if sys.platform != "linux":
        return "the stub of the CUDA driver is for Linux"
    if _compiler() is None:
        return "needs a C compiler for the stub of the CUDA driver: cc, gcc or clang"
    return compiling.missing()


def _compiler() -> str | None:
    names = (os.environ.get("CC", ""), "cc", "gcc", "clang")
    return next((found for name in names if (found := which(name))), None)


@cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    """The folder of the library, deleted when the process ends."""
    folder, compiler = tempfile.TemporaryDirectory(prefix="fastmask-stub-"), _compiler()
    assert compiler is not None
    options = ("-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-Wl,-soname,libcuda.so.1")
    command = [compiler, *options, "-o", f"{folder.name}/libcuda.so.1", str(_SOURCE), "-lpthread"]
    subprocess.run(command, check=True)
    return folder


def environment(devices: str = DEVICES) -> dict[str, str]:
    """Variables of a process that loads the stub as the driver, with devices of these kinds.

    The processes share a cache of compiled kernels.
    """
    folder = _folder().name
    paths = os.pathsep.join(filter(None, [folder, os.environ.get("LD_LIBRARY_PATH", "")]))
    log = f"{folder}/{os.urandom(4).hex()}.log"
    kept = {"NUMBA_CACHE_DIR": f"{folder}/compiled"}
    return {"LD_LIBRARY_PATH": paths, "STUB_DEVICES": devices, LOG: log, **kept}


@dataclass
class Launch:
    """The parameters of a launch."""

    name: str
    grid: tuple[int, ...]
    block: tuple[int, ...]
    shared: int
    stream: int
    cooperative: bool
    device: int
    arguments: list[tuple[int, int]]  # size in bytes and value of each


class Log(list[str]):
    """The calls that the stub received."""

    @property
    def launches(self) -> list[Launch]:
        """All launches, including failed ones."""
        found = []
        for i, line in enumerate(self):
            if told := _LAUNCH.fullmatch(line):
                name, *sizes, stream, cooperative, device = told.groups()
                numbers = list(map(int, sizes))
                at = 0 if stream == "(nil)" else int(stream, 16)
                values = [a.split(":") for a in self[i + 1].split()[1:]]
                arguments = [(int(size), int(value, 16)) for size, value in values]
                shape = tuple(numbers[:3]), tuple(numbers[3:6]), numbers[6]
                found.append(Launch(name, *shape, at, cooperative == "1", int(device), arguments))
        return found

    def calls(self, name: str) -> list[str]:
        """The lines of one function."""
        return [line for line in self if line.split()[0] == name]


@contextmanager
def logged() -> Iterator[Log]:
    """The calls in a block of code, filled in at its end."""
    file = Path(os.environ[LOG])
    before, log = len(file.read_text().splitlines()) if file.exists() else 0, Log()
    try:
        yield log
    finally:
        log.extend(file.read_text().splitlines()[before:] if file.exists() else [])
        assert not log.calls("BAD"), log


@cache
def _library() -> Any:
    return ctypes.CDLL("libcuda.so.1")


def fail(name: str, code: int, after: int = 0, times: int = 1) -> None:
    """Let the next `times` calls of `name` fail, after `after` more calls."""
    _library().stub_fail(name.encode(), code, after, times)


def held() -> int:
    """Number of live allocations, once all unused memory is freed."""
    gc.collect()
    from numba import cuda

    for device in cuda.gpus:
        with device:
            cuda.current_context().memory_manager.deallocations.clear()
    return int(_library().stub_held())
