"""The path of a mask through a model, drawn with Matplotlib."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from .._typing import Axes, Figure
from ..backends.dispatch import backend_of
from ..masks.picture import draw_mask, new_figure

if TYPE_CHECKING:
    from .trace import TraceRow

ROWS = 32  # number of rows that are drawn


def plot_trace(rows: Sequence[TraceRow]) -> Figure:
    """A column for each layer: its name, what it did with the mask, and the mask it passed on.

    Raises:
        ValueError: there are no rows.
    """
    if not rows:
        raise ValueError("the trace has no layers to draw")
    figure = new_figure(width=max(3.0, 1.9 * len(rows)), height=2.6)
    for axes, row in zip(figure.subplots(1, len(rows), squeeze=False)[0], rows, strict=True):
        _draw(axes, row)
    return figure


def _draw(axes: Axes, row: TraceRow) -> None:
    axes.set_title(f"{row.layer}\n{row.type}", fontsize=9)
    axes.set_xlabel(row.did if row.did != "-" else "no mask", fontsize=9)
    axes.set_xticks([])
    axes.set_yticks([])
    masks = [mask for mask in row.mask_out if mask is not None and mask.ndim == 2 and mask.size]
    if masks:
        valid = np.asarray(backend_of(masks[0].valid).to_host(masks[0].valid))
        draw_mask(axes, valid[:ROWS])
        if len(valid) > ROWS:
            axes.set_ylabel(f"first {ROWS} of {len(valid)} rows", fontsize=9)
        axes.set_xticks([])
        axes.set_yticks([])
        return
    axes.spines[:].set_visible(False)
    gone = any(mask is not None for mask in row.mask_in)
    note = "no mask\ncomes out" if gone else "no mask"
    axes.text(0.5, 0.5, note, ha="center", va="center", fontsize=9, color="#777777")
