"""Numba's CUDA simulator with what it lacks: warps, waiting blocks, and the project's PTX.

With NUMBA_ENABLE_CUDASIM=1 all kernels of `fastmask_kernels.cuda` run here, on arrays of
`numba.cuda.to_device`. `launch` runs kernels of one's own in the same way; Numba's own launches
stay as they are.

Every thread of a block is a greenlet, which runs until it waits for others; what lanes of a warp
say to each other goes through a list that all of them see. Blocks run one after another, those of
a cooperative kernel at once. Threads that all wait for each other fail. Local and shared arrays
begin full of NaN, and arrays raise where an index is negative or too large.

Nothing is left to chance, but much to dice that fall alike in every run: after a barrier threads
go on from the first to the last or from the last to the first, and now and then one that is about
to touch memory of others is held up until none of them can go on without it. What a thread writes
others see from its next barrier or fence on. So what a missing barrier allows to happen does happen
soon.
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
else:  # a file with kernels and their tests can be imported, so that the kernels are compiled

    def launch(*_: Any, **__: Any) -> NoReturn:
        """Raise: there is no simulator here."""
        raise RuntimeError(
            "the simulator needs NUMBA_ENABLE_CUDASIM=1, set before Numba is imported"
        )

    as_numba = launch

__all__ = ["as_numba", "launch"]
