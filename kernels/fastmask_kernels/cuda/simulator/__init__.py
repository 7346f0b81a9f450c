"""Numba's CUDA simulator with what it lacks: warps, waiting blocks, and the project's PTX.

With NUMBA_ENABLE_CUDASIM=1 all kernels of `fastmask_kernels.cuda` run here, on arrays of
`numba.cuda.to_device`. `launch` runs your own kernels in the same way; Numba's own launches are
unchanged.

Every thread of a block is a greenlet, which runs until it waits for others; the lanes of a warp
exchange values through a list that all of them see. Blocks run one after another, those of a
cooperative kernel at once. A deadlock raises, and so do threads that meet in different calls.
Local and shared arrays start full of NaN, those of integers of -1; arrays raise if an index is
negative or too large.

Scheduling is pseudo-random, and the same in every run with one seed: after a barrier threads go
on from the first to the last or from the last to the first, and now and then a thread that is about
to access shared or global memory is held up until the others cannot go on without it. Other threads
see what a thread writes only from its next barrier or fence on. So races that a missing barrier
permits happen, the more often the longer a kernel runs.
"""

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, NoReturn

from numba.cuda.core import config

if config.ENABLE_CUDASIM and find_spec("greenlet") is None:
    raise ImportError(
        "NUMBA_ENABLE_CUDASIM=1 asks for the simulator, whose threads are greenlets, and greenlet "
        'is not installed: pip install "fastmask-rnn[simulator]"'
    )
if TYPE_CHECKING or config.ENABLE_CUDASIM:
    from ._launch import launch
    from ._memory import as_numba
else:  # files with kernels and their tests can still be imported, to compile the kernels

    def launch(*_: Any, **__: Any) -> NoReturn:
        """Raise RuntimeError: the simulator is off."""
        raise RuntimeError(
            "the simulator needs NUMBA_ENABLE_CUDASIM=1, set before Numba is imported"
        )

    as_numba = launch

__all__ = ["as_numba", "launch"]
