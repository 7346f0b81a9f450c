"""Running a kernel: a greenlet for each of its threads."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from inspect import isfunction
from itertools import product
from typing import Any

import numpy as np
from numba import cuda
from numba.cuda.simulator import kernel as simulated
from numba.cuda.simulator.kernelapi import Dim3, swapped_cuda_module

from ._engine import Barrier, Block, Engine, Thread
from ._memory import seen
from ._module import Module

Sizes = int | tuple[int, ...]

_one_at_a_time = threading.Lock()  # Numba keeps the module that kernels see in a global


def launch(
    kernel: Callable[..., None],
    grid: Sizes,
    threads: Sizes,
    *args: Any,
    shared: int = 0,
    cooperative: bool = False,
    seed: int = 0,
) -> None:
    """Run a kernel in the simulator, to its end.

    Args:
        kernel: a function, or what `numba.cuda.jit` made of it in the simulator. It calls Numba's
            module by a name of its own, as `from numba import cuda` gives it.
        grid: number of blocks, in up to three dimensions.
        threads: threads in a block, likewise.
        args: arrays of `numba.cuda.to_device` or of NumPy, which are not copied; numbers.
        shared: bytes of dynamic shared memory.
        cooperative: run all blocks at the same time, so that they can wait for each other.
        seed: the order in which threads run depends on it.

    Raises:
        AttributeError: the kernel calls Numba's module by another name.
        IndexError: an index is negative or too large.
        RuntimeError: threads wait forever, for each other or for a store that no thread makes.
        TypeError: the kernel is not a function.
    """
    function = _function_of(kernel)
    sizes, block_sizes = _three(grid), _three(threads)
    module, work = Module(sizes, block_sizes, shared), partial(function, *map(seen, args))
    blocks, indices = _indices(sizes), _indices(block_sizes)
    with (
        _one_at_a_time,
        simulated._push_kernel_context(module),
        swapped_cuda_module(function, module),
        np.errstate(all="ignore"),
        _names_of_the_module(),
    ):
        for together in [blocks] if cooperative else [[one] for one in blocks]:
            engine = Engine(seed)
            barrier = Barrier(len(together) * len(indices), engine, 1) if cooperative else None
            started = []
            for index in together:
                block = Block(index, len(indices), engine, barrier)
                started += [Thread(work, block, *numbered) for numbered in enumerate(indices)]
            engine.run(started)


def _function_of(kernel: Any) -> Callable[..., None]:
    function = getattr(kernel, "py_func", kernel)
    if isfunction(function):
        return function
    known = "of a Kernel pass its `function`, with flat arrays; a family returns a Kernel"
    raise TypeError(f"kernel must be a function, not {type(kernel).__name__}: {known}")


@contextmanager
def _names_of_the_module() -> Iterator[None]:
    """Explain that only the kernel's own names stand for what the simulator emulates."""
    try:
        yield
    except AttributeError as error:
        if error.obj is not cuda:
            raise
        raise AttributeError(
            f"{error}: in a kernel for the simulator write cuda.{error.name}, "
            "after `from numba import cuda`"
        ) from error


def _three(sizes: Sizes) -> tuple[int, ...]:
    sizes = sizes if isinstance(sizes, tuple) else (sizes,)
    return (*sizes, 1, 1)[:3]


def _indices(sizes: tuple[int, ...]) -> list[Any]:
    """All indices of a grid or a block, x fastest."""
    return [Dim3(*index[::-1]) for index in product(*map(range, reversed(sizes)))]
