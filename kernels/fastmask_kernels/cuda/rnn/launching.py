"""Launching a time loop: how many blocks, and the memory they share."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..masks import fill
from ..runtime import driver as _driver
from ..runtime.device import empty
from ..runtime.kernel import Kernel
from . import grid
from .loop_groups import Layer
from .places import Spread, exchanged_size


def launch_loop(run: Kernel, spread: Spread, call: Any, layer: Layer) -> None:
    """Launch a time loop.

    Args:
        run: its kernel, made for the tiles of `spread`.
        spread: how its weights are spread over blocks.
        call: the arrays of its direction.
        layer: all fields but counter, exchanged and groups.

    Raises:
        ValueError: the device cannot run all blocks at once.
    """
    batch, data, tile = layer.batch, layer.weights, spread.tiles[0]
    if not batch:
        return
    groups, shared = -(-batch // tile.sequences), spread.shared_size * data.dtype.itemsize
    if not spread.blocks:
        most = _driver.limits().multiprocessors * max(1, 512 // tile.threads)
        blocks, copies, at_once, exchanged = min(groups, most), 1, 1, data
    else:
        most = run.most_blocks(tile.threads, shared)
        if most < spread.blocks:
            raise ValueError(
                f"this layer needs {spread.blocks} blocks at once, and the device runs {most}"
            )
        # As many copies of the layer as there is room for, each with as few groups as possible.
        copies = most // spread.blocks
        at_once = min(tile.groups, -(-groups // copies))
        copies = min(copies, -(-groups // at_once))
        blocks = copies * spread.blocks
        exchanged = empty(copies * exchanged_size(spread.tiles), data.dtype, data.device)
        fill(exchanged)
    counters = empty(copies * grid.COUNTERS, np.uint32, data.device)
    fill(counters)
    layer = layer._replace(counter=counters, exchanged=exchanged, groups=at_once)
    run.launch(blocks, tile.threads, call, layer, shared=shared)
