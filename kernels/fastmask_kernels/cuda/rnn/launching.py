"""Starting a time loop: which of the kernels, how many blocks, and what they share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from ..runtime.device import DeviceArray, empty
from ..runtime.kernel import Kernel, int32, kernel, pointer
from . import (
    backward,
    forward,
    grid,
    grid_backward,
    mma_backward,
    mma_forward,
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


SCALAR = tuple(
    Loops(alone, together, VECTORS, size, grid.vector_size, grid.exchanged_size)
    for alone, together, size in (
        (forward.time_loop, grid.forward, forward.vector_size),
        (backward.gradient_loop, grid_backward.backward, backward.vector_size),
    )
)
TENSOR = tuple(
    Loops(alone, together, SEQUENCES, size, mma_grid.vector_size, mma_grid.exchanged_size)
    for alone, together, size in (
        (mma_forward.time_loop, mma_grid.forward, mma_forward.vector_size),
        (mma_backward.gradient_loop, mma_grid_backward.backward, mma_backward.vector_size),
    )
)


def run_loop(
    backwards: bool,
    kind: Kind,
    spread: Spread | Fragmented,
    option: Any,
    batch: int,
    *arrays: Any,
    sizes: tuple[int, int, bool],
) -> None:
    """Launch the time loop of a cell, by where its weights are.

    Args:
        backwards: whether it is the loop of the backward pass.
        kind: of the cell.
        spread: of its weights.
        option: last parameter of the families: what is saved, or whether outputs have gradients.
        batch: number of sequences.
        arrays: first arguments of the kernel.
        sizes: last arguments of the kernel: batch, H, reverse.

    Raises:
        ValueError: the device cannot run all blocks at once.
    """
    if not batch:
        return
    loops = SCALAR[backwards]
    if isinstance(spread, Fragmented):
        loops = TENSOR[backwards]
        _, units, reverse = sizes
        if backwards:
            option = mma_backward.Walk(option, reverse)
        else:
            save_h, save_c, save_gates = option
            apart = arrays[1] == units
            option = mma_forward.Walk(save_h, save_c, save_gates, apart, reverse)
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
    exchanged = empty(loops.exchanged_size(tiles, batch, backwards), dtype, data.device)
    fill_zeros(exchanged)
    run.launch(*(spread.blocks, threads, *arrays, word, exchanged, *sizes), shared=shared)
