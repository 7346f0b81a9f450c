"""Numba's CUDA simulator with what it lacks: warps, waiting blocks, and the project's PTX.

With NUMBA_ENABLE_CUDASIM=1 all kernels of `fastmask_kernels.cuda` run here, on arrays of
`numba.cuda.to_device`. `launch` runs your own kernels in the same way; Numba's own launches are
unchanged.

Every thread of a block is a greenlet, which runs until it waits for others; the lanes of a warp
exchange values through a list that all of them see. Blocks run one after another, those of a
cooperative kernel at once. A deadlock raises, and so do threads that meet in different calls.
Local and shared arrays start full of NaN, those of integers of -1; arrays raise if an index is
negative or too large. Functions of `math`, `max` and `min` give what they give on a GPU.

Scheduling is pseudo-random, and the same in every run with one seed: after a barrier threads go
on from the first to the last or from the last to the first, and now and then a thread that is about
to access shared or global memory is held up until the others cannot go on without it. Other threads
see what a thread writes only from its next barrier or fence on. So races that a missing barrier
permits happen, the more often the longer a kernel runs.
"""

from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

from numba.cuda.core import config

from ...names import dir_of

if config.ENABLE_CUDASIM and find_spec("greenlet") is None:
    raise ImportError(
        "NUMBA_ENABLE_CUDASIM=1 asks for the simulator, whose threads are greenlets, and greenlet "
        "is not installed: pip install greenlet"
    )

Sizes = int | tuple[int, ...]


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

    The simulator is on if NUMBA_ENABLE_CUDASIM=1 is in the environment before Numba is imported:
    `NUMBA_ENABLE_CUDASIM=1 python mine.py`.

    Args:
        kernel: a function, or what `numba.cuda.jit` made of it in the simulator. It calls Numba's
            module by a name of its own, as `from numba import cuda` gives it.
        grid: number of blocks, or a tuple of their numbers in x, y and z.
        threads: threads in a block, likewise.
        args: arrays of `numba.cuda.to_device` or of NumPy, which are not copied; numbers; tuples
            of them.
        shared: bytes of dynamic shared memory.
        cooperative: run all blocks at the same time, so that they can wait for each other.
        seed: the order in which threads run depends on it.

    Raises:
        AttributeError: the kernel calls Numba's module by another name, or uses something of it
            that the simulator lacks.
        IndexError: an index is negative or too large.
        RuntimeError: the simulator is off; threads wait forever, for each other or for a store
            that no thread makes, or those that wait for each other make different calls.
        TypeError: the kernel is not a function, or is a device function; an argument is neither an
            array nor a number; or the sizes are not whole numbers.
        ValueError: no GPU takes as many blocks or threads, or there are none; `shared` is negative.
    """
    _require_simulator()
    from ._launch import run

    run(kernel, grid, threads, args, shared, cooperative, seed)


def as_numba(value: Any) -> Any:
    """An array of Numba's simulator over the memory of an array on the simulated device.

    Raises:
        RuntimeError: the simulator is off.
    """
    _require_simulator()
    from ._memory import as_numba as found

    return found(value)


def _require_simulator() -> None:
    """Files with kernels and their tests can be imported without, to compile the kernels."""
    if not config.ENABLE_CUDASIM:
        raise RuntimeError(
            "the simulator needs NUMBA_ENABLE_CUDASIM=1, set before Numba is imported"
        )


__all__ = ["as_numba", "launch"]

__dir__ = dir_of(__name__)
