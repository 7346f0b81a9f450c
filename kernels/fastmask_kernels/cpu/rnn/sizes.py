"""How much memory a call of a layer's forward kernel needs: nothing grows with the batch."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

from ...memory import spare
from ..packing import packed_size, vectors_of
from ..parallel.barrier import control_size
from ..simd import lanes
from .cell_code import CellCode
from .forward import BLOCK_ROWS
from .groups import deal
from .panels import panels_of
from .ranks import seen_size
from .sums import operands_size

INDEX_ROWS = 8  # index arrays of a thread, see `batch.Scratch`


class Sizes(NamedTuple):
    """Numbers of elements."""

    packed: int  # of the packed weights
    reals: int  # of the memory for states and sums
    integers: int  # of the memory for indices
    # Sizes of the threads' counters, of the scratch that checks the plan, of a thread's sums of one
    # panel with its converted rows, of these rows alone, of its sums of all panels for a block of
    # steps, and of an index array; then `Groups`.
    settings: tuple[int, ...]


SizesOf = Callable[[int, int, int, Any, int, int, int], Sizes]
"""From rows, features, units and dtype, and from threads, groups and common of the `Schedule`."""


def sizes_of(code: CellCode) -> SizesOf:
    """The sizes of a cell's calls."""

    @lru_cache(maxsize=256)
    def sizes(
        rows: int,
        features: int,
        units: int,
        dtype: Any,
        threads: int,
        least_groups: int,
        most_common: int,
    ) -> Sizes:
        vectors, row = vectors_of(units, dtype), code.tiles.row * lanes(dtype)
        states = code.planes * vectors * lanes(dtype)
        panels, panels_in_common = (panels_of(vectors, code.panel, n) for n in (1, threads))
        all_rows = code.rounds > 1  # whether sums of all panels are kept for many rows too
        row_size = states + row * (1 + panels * all_rows)
        row_bytes = row_size * dtype.itemsize + 8 * INDEX_ROWS
        groups = deal(rows, least_groups, most_common, row_bytes)
        entries, seen = max(groups.most, 2 * BLOCK_ROWS), seen_size(rows)
        operands = operands_size(code, features, units, lanes(dtype), entries, groups.most)
        z = groups.most * row + operands
        block, common_block = (
            number * row * max(2 * BLOCK_ROWS, most * all_rows)
            for number, most in ((panels, groups.rows), (panels_in_common, groups.common))
        )
        counters = control_size(threads)
        return Sizes(
            packed_size(code.layout, features, units, dtype),
            states * groups.slots(threads) + spare(dtype) + threads * (z + block) + common_block,
            counters + seen + threads * INDEX_ROWS * entries,
            (counters, seen, z, operands, block, entries, *groups),
        )

    return sizes
