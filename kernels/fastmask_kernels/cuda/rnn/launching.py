"""Starting a time loop: which of the kernels, how many blocks, and what they share."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..runtime import driver as _driver
from ..runtime.device import empty
from ..runtime.kernel import Kernel, int32, kernel, pointer
from . import grid, mma_grid
from .mma import SEQUENCES
from .mma_layout import Spread as Fragmented
from .resident import VECTORS, Spread
from .steps import fill_zeros


@kernel(pointer(int32))
def _clear(word: Any) -> None:
    word[0] = int32(0)


def launch_loop(
    run: Kernel,
    spread: Spread | Fragmented,
    planes: int,
    both: bool,
    arrays: tuple[Any, ...],
    sizes: tuple[int, ...],
) -> None:
    """Launch a time loop.

    Args:
        run: its kernel, of a block alone or of a grid, as `spread` says.
        spread: of its weights.
        planes: words in the shared memory of a block besides weights.
        both: whether each product has two planes in what blocks exchange.
        arrays: first arguments of the kernel; the first one is of the layer's dtype.
        sizes: last arguments of the kernel: batch, and others.

    Raises:
        ValueError: the device cannot run all blocks at once.
    """
    batch, data, tiles = sizes[0], arrays[0], spread.tiles
    if not batch:
        return
    tensor, threads = isinstance(spread, Fragmented), tiles[0].threads
    shared = (planes + spread.shared_size) * data.dtype.itemsize
    word = empty(1, np.int32, data.device)
    _clear.launch(1, 1, word)
    if not spread.blocks:
        groups = -(-batch // (SEQUENCES if tensor else VECTORS))
        most = _driver.limits().multiprocessors * max(1, 512 // threads)
        blocks, exchanged = min(groups, most), data
    else:
        blocks, most = spread.blocks, run.most_blocks(threads, shared)
        if most < blocks:
            raise ValueError(
                f"this layer needs {blocks} blocks at once, and the device runs {most}"
            )
        size = (mma_grid if tensor else grid).exchanged_size(tiles, batch, both)
        exchanged = empty(size, data.dtype, data.device)
        fill_zeros(exchanged)
    run.launch(blocks, threads, *arrays, word, exchanged, *sizes, shared=shared)
