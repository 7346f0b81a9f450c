"""How many blocks of a kernel a multiprocessor holds at once; computed, not asked of a driver.

The numbers are those of "Technical Specifications per Compute Capability", in the appendix of
NVIDIA's CUDA Programming Guide; registers and shared memory are handed out as in its calculator.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from ..cuda.rnn.places import REGISTERS
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
        arch: one of `launches.DEVICES`.
        threads: of a block.
        registers: of a thread.
        shared: bytes of shared memory of a block, dynamic ones included.
    """
    most, device = _MOST[arch.rstrip("a")], DEVICES[arch]
    if shared > device.shared:
        return 0
    warps = -(-math.prod(threads if isinstance(threads, tuple) else (threads,)) // _WARP)
    of_warp = max(_rounded(registers * _WARP, _REGISTER_UNIT), _REGISTER_UNIT)
    of_block = _rounded(shared, _SHARED_UNIT) + _OF_SYSTEM
    return min(
        most.blocks,
        most.threads // _WARP // warps,
        REGISTERS // of_warp // _PARTS * _PARTS // warps,
        (device.shared + _OF_SYSTEM) // of_block,
    )


def _rounded(number: int, unit: int) -> int:
    return -(-number // unit) * unit
