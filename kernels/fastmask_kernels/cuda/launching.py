"""Starting a time loop: which of the two kernels, how many blocks, and what they share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from . import grid
from ._device import DeviceArray, empty
from ._kernel import Kernel, int32, kernel, pointer
from .cells import Kind
from .resident import VECTORS, Spread, Tile, multiprocessors
from .steps import fill_zeros


@kernel(pointer(int32))
def _clear(word: Any) -> None:
    word[0] = int32(0)


def run_loop(
    alone: Callable[..., Kernel],
    together: Callable[..., Kernel],
    vector_size: Callable[[tuple[Tile, ...]], int],
    backward: bool,
    kind: Kind,
    spread: Spread,
    option: Any,
    batch: int,
    *arrays: Any,
    sizes: tuple[int, int, bool],
) -> None:
    """Launch one of two kernels of a cell, by where its weights are.

    Args:
        alone: family of the kernel of which each block runs some sequences.
        together: family of the kernel of which all blocks run all sequences.
        vector_size: numbers in the shared memory of `alone` besides weights.
        backward: whether these are the kernels backward.
        kind: of the cell.
        spread: of its weights.
        option: last parameter of the families.
        batch: number of sequences.
        arrays: first arguments of the kernel.
        sizes: last arguments of the kernel.

    Raises:
        ValueError: the device cannot run all blocks at once.
    """
    if not batch:
        return
    data: DeviceArray = arrays[0]
    tiles, dtype = spread.tiles, data.dtype
    word = empty(1, np.int32, data.device)
    _clear.launch(1, 1, word)
    if not spread.blocks:
        groups = -(-batch // VECTORS)
        at_once = multiprocessors() * max(1, 512 // tiles[0].threads)
        shared = (vector_size(tiles) + spread.shared_size) * dtype.itemsize
        alone(kind, tiles, dtype, option).launch(
            *(min(groups, at_once), tiles[0].threads, *arrays, word, *sizes), shared=shared
        )
        return
    shared = (grid.vector_size(tiles) + spread.shared_size) * dtype.itemsize
    run = together(kind, tiles, dtype, option)
    most = run.most_blocks(tiles[0].threads, shared)
    if most < spread.blocks:
        raise ValueError(
            f"this layer needs {spread.blocks} blocks at once, and the device runs {most}"
        )
    exchanged = empty(grid.exchanged_size(tiles, batch, backward), dtype, data.device)
    fill_zeros(exchanged)
    run.launch(*(spread.blocks, tiles[0].threads, *arrays, word, exchanged, *sizes), shared=shared)
