"""Running a kernel: a greenlet for each of its threads."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from inspect import isfunction
from itertools import product, zip_longest
from math import prod
from typing import Any

import numpy as np
from numba import cuda
from numba.cuda.simulator import kernel as simulated
from numba.cuda.simulator.kernelapi import Dim3

from . import Sizes
from ._barriers import Barrier
from ._engine import Block, Engine, Thread
from ._memory import seen
from ._module import Module
from ._names import names_of

BLOCKS, THREADS = (2**31 - 1, 65535, 65535), (1024, 1024, 64)  # at most, on every GPU

_one_at_a_time = threading.Lock()  # Numba keeps the module that kernels see in a global


def run(
    kernel: Callable[..., None],
    grid: Sizes,
    threads: Sizes,
    args: tuple[Any, ...],
    shared: int,
    cooperative: bool,
    seed: int,
) -> None:
    """What `simulator.launch` does."""
    function = _function_of(kernel)
    sizes, block_sizes = _three("grid", grid, BLOCKS), _three("threads", threads, THREADS)
    if prod(block_sizes) > THREADS[0]:
        raise ValueError(
            f"threads must be at most {THREADS[0]} in a block, not {prod(block_sizes)}"
        )
    module = Module(sizes, block_sizes, _bytes(shared))
    work = partial(function, *_seen(function, args))
    blocks, indices = _indices(sizes), _indices(block_sizes)
    with (
        _one_at_a_time,
        simulated._push_kernel_context(module),
        names_of(function, module),
        np.errstate(all="ignore"),
        _names_of_the_module(),
    ):
        at_once = len(blocks) if cooperative else 1
        for first in range(0, len(blocks), at_once):
            together = blocks[first : first + at_once]
            engine = Engine(seed, first + at_once < len(blocks))
            barrier = Barrier(len(together) * len(indices), engine, 1) if cooperative else None
            started = []
            for index in together:
                block = Block(index, len(indices), engine, barrier)
                started += [Thread(work, block, *numbered) for numbered in enumerate(indices)]
            engine.run(started)


def _function_of(kernel: Any) -> Callable[..., None]:
    function = getattr(kernel, "py_func", kernel)
    if getattr(kernel, "_device", False):
        raise TypeError(
            f"kernel must be a kernel, but {function.__name__} is a device function, which only "
            "kernels call: write @cuda.jit without device=True"
        )
    if isfunction(function):
        return function
    known = "of a Kernel pass its `function`, with flat arrays; a family returns a Kernel"
    raise TypeError(f"kernel must be a function, not {type(kernel).__name__}: {known}")


def _bytes(shared: Any) -> int:
    if not isinstance(shared, (int, np.integer)):
        raise TypeError(f"shared must be a whole number of bytes, not {shared!r}")
    if shared < 0:
        raise ValueError(f"shared must be 0 bytes or more, not {shared}")
    return int(shared)


def _seen(function: Callable[..., None], args: tuple[Any, ...]) -> Iterator[Any]:
    """The arguments as the kernel sees them."""
    names = function.__code__.co_varnames[: function.__code__.co_argcount]
    for number, (value, name) in enumerate(zip_longest(args, names[: len(args)]), 1):
        try:
            yield seen(value)
        except TypeError as error:
            raise TypeError(f"argument {number} ({name}) of {function.__name__} {error}") from None


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


def _three(name: str, sizes: Sizes, most: tuple[int, ...]) -> tuple[int, ...]:
    """Sizes in three dimensions, none of which is 0 or more than a GPU takes."""
    given = sizes if isinstance(sizes, tuple) else (sizes,)
    if not 1 <= len(given) <= 3 or not all(isinstance(n, (int, np.integer)) for n in given):
        raise TypeError(f"{name} must be a whole number, or a tuple of up to three, not {sizes!r}")
    three = (*map(int, given), 1, 1)[:3]
    if not all(1 <= n <= limit for n, limit in zip(three, most, strict=True)):
        raise ValueError(f"{name} must be from 1 to {most} in x, y and z, not {sizes!r}")
    return three


def _indices(sizes: tuple[int, ...]) -> list[Any]:
    """All indices of a grid or a block, x fastest."""
    return [Dim3(*index[::-1]) for index in product(*map(range, reversed(sizes)))]
