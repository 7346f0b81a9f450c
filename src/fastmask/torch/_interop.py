"""Run kernels on torch's threads.

Kernels with threads of their own would compete for processors with torch's OpenMP threads, which
wait for their next work in a loop.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import cache, lru_cache
from importlib import import_module
from pathlib import Path
from typing import Any

import torch

from ..backends.base import KernelInput
from ..backends.cell import KernelName, kernel_in
from ..backends.table import kernels
from ..backends.threads import get_num_threads


def run(kernel: KernelName, *arguments: KernelInput) -> None:
    """Call a kernel with all its arguments but the last one, the number of threads."""
    call, compiled = _call(kernels(), kernel)
    if not compiled:
        call(*arguments, num_threads())
        return
    with lent():
        call(*arguments, num_threads())


@lru_cache(maxsize=256)
def _call(table: Any, kernel: KernelName) -> tuple[Callable[..., None], bool]:
    """A kernel without checks, and whether it can take threads from others."""
    return kernel_in(table, kernel).unchecked, table.__name__.endswith(".cpu")


def num_threads() -> int:
    """How many threads a kernel may use: the fewer of torch's and fastmask's settings."""
    theirs: int = torch.get_num_threads()
    return min(get_num_threads(), theirs)


def lent() -> AbstractContextManager[None]:
    """A context in which compiled kernels use torch's threads."""
    team, library = _lender()
    found: AbstractContextManager[None] = team(library)
    return found


@cache
def _lender() -> tuple[Any, ctypes.CDLL | None]:
    return import_module("fastmask_kernels.cpu.parallel.pool").openmp_team, _openmp()


@cache
def _openmp() -> ctypes.CDLL | None:
    """The OpenMP library that torch computes with, if it can be found."""
    if "OpenMP" not in torch.__config__.parallel_info().rsplit("ATen parallel backend:", 1)[-1]:
        return None
    try:
        with Path("/proc/self/maps").open() as maps:
            # Of the six columns only the last one, the path, may have spaces in it.
            loaded = {line.rstrip("\n").split(maxsplit=5)[-1] for line in maps if "/" in line}
    except OSError:  # not Linux
        return None
    names = ("libgomp", "libiomp5", "libomp")
    found = [path for path in loaded if Path(path).name.startswith(names)]
    try:
        return ctypes.CDLL(found[0]) if len(found) == 1 else None
    except OSError:  # its file has been replaced since: "... (deleted)"
        return None
