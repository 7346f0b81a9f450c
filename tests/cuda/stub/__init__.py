"""Tests of the CUDA column on a stand-in for the driver: nothing runs, all else is as on a GPU.

`driver.c` says what the stub knows. The files of this folder run in processes that find the stub
where they look for libcuda, see `environment`; `test_on_the_stub.py`, beside, starts them.
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
    """Why there is no stub here; None where there is one."""
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
    """Where the library is, until the process ends."""
    folder, compiler = tempfile.TemporaryDirectory(prefix="fastmask-stub-"), _compiler()
    assert compiler is not None
    options = ("-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-Wl,-soname,libcuda.so.1")
    command = [compiler, *options, "-o", f"{folder.name}/libcuda.so.1", str(_SOURCE), "-lpthread"]
    subprocess.run(command, check=True)
    return folder


def environment(devices: str = DEVICES) -> dict[str, str]:
    """Variables of a process that takes the stub for the driver, with devices of these kinds.

    What one process compiles the others have, too.
    """
    folder = _folder().name
    paths = os.pathsep.join(filter(None, [folder, os.environ.get("LD_LIBRARY_PATH", "")]))
    log = f"{folder}/{os.urandom(4).hex()}.log"
    kept = {"NUMBA_CACHE_DIR": f"{folder}/compiled"}
    return {"LD_LIBRARY_PATH": paths, "STUB_DEVICES": devices, LOG: log, **kept}


@dataclass
class Launch:
    """What a launch asked for."""

    name: str
    grid: tuple[int, ...]
    block: tuple[int, ...]
    shared: int
    stream: int
    cooperative: bool
    device: int
    arguments: list[tuple[int, int]]  # bytes and value of each


class Log(list[str]):
    """What the stub was asked for."""

    @property
    def launches(self) -> list[Launch]:
        """All launches, those that were refused too."""
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
    """What is asked for in a block of code, known at its end."""
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
    """Let calls of `name` fail so often, after so many others."""
    _library().stub_fail(name.encode(), code, after, times)


def held() -> int:
    """How many allocations there are, once everybody has given back what is not needed."""
    gc.collect()
    from numba import cuda

    for device in cuda.gpus:
        with device:
            cuda.current_context().memory_manager.deallocations.clear()
    return int(_library().stub_held())
