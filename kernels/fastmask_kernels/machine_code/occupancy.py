"""How many blocks of a kernel a multiprocessor holds at once; computed, not asked of a driver.

The numbers are those of "Technical Specifications per Compute Capability", in the appendix of
NVIDIA's CUDA Programming Guide; registers and shared memory are handed out as in its calculator.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from ..cuda.rnn.places import REGISTERS
from ..cuda.runtime.kernel import MOST_THREADS
from .launches import DEVICES

_WARP = 32
_SHARED_UNIT = 128  # bytes: a block's shared memory is a multiple
_OF_SYSTEM = 1024  # bytes of shared memory that each block has besides its own
_REGISTER_UNIT = 256  # registers: those of a warp are a multiple
_PARTS = 4  # of a multiprocessor, each with as many warps and registers


class _Most(NamedTuple):
    """What a multiprocessor holds at most."""

    threads: int
    blocks: int


_MOST = {
    "sm_80": _Most(2048, 32),
    "sm_86": _Most(1536, 16),
    "sm_89": _Most(1536, 24),
    "sm_90": _Most(2048, 32),
    "sm_100": _Most(2048, 32),
    "sm_120": _Most(1536, 24),
}


def blocks_at_once(
    arch: str, threads: int | tuple[int, ...], registers: int, shared: int = 0
) -> int:
    """How many blocks a multiprocessor holds at once; 0 if a block needs more than it has.

    Args:
        arch: one of `fastmask_kernels.machine_code.launches.DEVICES`, such as "sm_90a".
        threads: threads of a block, one number or a tuple.
        registers: registers of a thread.
        shared: bytes of shared memory of a block, including those given at the launch.

    Raises:
        TypeError: a number is not an integer.
        ValueError: there is no such architecture, a number is too small, or a block has too many
            threads.
    """
    if arch not in tuple(DEVICES):
        raise ValueError(f"arch must be one of {', '.join(DEVICES)}, not {arch!r}")
    most, device = _MOST[arch.rstrip("a")], DEVICES[arch]
    sizes = threads if isinstance(threads, tuple) else (threads,)
    for size in sizes:
        _require("threads", size, 1)
    _require("registers", registers, 0)
    _require("shared", shared, 0)
    if math.prod(sizes) > MOST_THREADS:
        raise ValueError(f"threads must be at most {MOST_THREADS} in a block, not {threads}")
    if shared > device.shared:
        return 0
    warps = -(-math.prod(sizes) // _WARP)
    of_warp = max(_rounded(registers * _WARP, _REGISTER_UNIT), _REGISTER_UNIT)
    of_block = _rounded(shared, _SHARED_UNIT) + _OF_SYSTEM
    return min(
        most.blocks,
        most.threads // _WARP // warps,
        REGISTERS // of_warp // _PARTS * _PARTS // warps,
        (device.shared + _OF_SYSTEM) // of_block,
    )


def _require(name: str, number: Any, least: int) -> None:
    if not isinstance(number, (int, np.integer)):
        raise TypeError(f"{name} must be an integer, not {number!r}")
    if number < least:
        raise ValueError(f"{name} must be {least} or more, not {number}")


def _rounded(number: int, unit: int) -> int:
    return -(-number // unit) * unit
