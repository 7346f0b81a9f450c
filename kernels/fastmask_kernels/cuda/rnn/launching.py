"""Starting a time loop: which of the kernels, how many blocks, and what they share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from ..runtime.device import DeviceArray, empty
from ..runtime.kernel import Kernel, int32, kernel, pointer
from . import (
    backward,
    grid,
    grid_backward,
    mma_backward,
    mma_grid,
    mma_grid_backward,
)
from .emit import Kind
from .mma import SEQUENCES
from .mma_layout import Spread as Fragmented
from .resident import VECTORS, Spread, multiprocessors
from .steps import fill_zeros


@kernel(pointer(int32))
def _clear(word: Any) -> None:
    word[0] = int32(0)


class Loops(NamedTuple):
    """The kernels of a direction, for one way to multiply."""

    alone: Callable[..., Kernel]  # family of which each block runs some sequences
    together: Callable[..., Kernel]  # family of which all blocks run all sequences
    sequences: int  # of a group
    alone_size: Callable[..., int]  # numbers in the shared memory of a block besides weights
    together_size: Callable[..., int]
    exchanged_size: Callable[..., int]  # numbers that blocks exchange


SCALAR = Loops(
    *(backward.gradient_loop, grid_backward.backward, VECTORS),
    *(backward.vector_size, grid.vector_size, grid.exchanged_size),
)
TENSOR = Loops(
    *(mma_backward.gradient_loop, mma_grid_backward.backward, SEQUENCES),
    *(mma_backward.vector_size, mma_grid.vector_size, mma_grid.exchanged_size),
)


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
        blocks, exchanged = min(groups, multiprocessors() * max(1, 512 // threads)), data
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


def run_loop(
    kind: Kind,
    spread: Spread | Fragmented,
    option: Any,
    batch: int,
    *arrays: Any,
    sizes: tuple[int, int, bool],
) -> None:
    """Launch the time loop backward of a cell, by where its weights are.

    Args:
        kind: of the cell.
        spread: of its weights.
        option: whether outputs have gradients.
        batch: number of sequences.
        arrays: first arguments of the kernel.
        sizes: last arguments of the kernel: batch, H, reverse.

    Raises:
        ValueError: the device cannot run all blocks at once.
    """
    if not batch:
        return
    loops = SCALAR
    if isinstance(spread, Fragmented):
        loops, option = TENSOR, mma_backward.Walk(option, sizes[2])
    data: DeviceArray = arrays[0]
    tiles, dtype = spread.tiles, data.dtype
    word = empty(1, np.int32, data.device)
    _clear.launch(1, 1, word)
    threads = tiles[0].threads
    if not spread.blocks:
        groups = -(-batch // loops.sequences)
        at_once = multiprocessors() * max(1, 512 // threads)
        shared = (loops.alone_size(tiles) + spread.shared_size) * dtype.itemsize
        loops.alone(kind, tiles, dtype, option).launch(
            *(min(groups, at_once), threads, *arrays, word, *sizes), shared=shared
        )
        return
    shared = (loops.together_size(tiles) + spread.shared_size) * dtype.itemsize
    run = loops.together(kind, tiles, dtype, option)
    most = run.most_blocks(threads, shared)
    if most < spread.blocks:
        raise ValueError(
            f"this layer needs {spread.blocks} blocks at once, and the device runs {most}"
        )
    exchanged = empty(loops.exchanged_size(tiles, batch, True), dtype, data.device)
    fill_zeros(exchanged)
    run.launch(*(spread.blocks, threads, *arrays, word, exchanged, *sizes), shared=shared)
