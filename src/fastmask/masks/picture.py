"""Masks as pictures, drawn with Matplotlib."""

from __future__ import annotations

from typing import Any

import numpy as np

from .._checks import shown
from .._typing import Axes, Bools, Figure, MaskLike
from ..backends.dispatch import backend_of
from .mask import Mask, as_mask
from .masked import Masked
from .ragged import Ragged

VALID, MASKED, LINES = "#0072B2", "#E3E3E3", "white"
MOST_ROWS, MOST_STEPS = 60, 200  # up to these sizes lines separate the steps


def plot_masks(batch: Masked | Ragged | MaskLike, *, plan: bool = True) -> Figure:
    """Draw which steps of a batch are valid, and in which order a recurrent layer computes them.

    Args:
        batch: a batch that carries a mask, a ragged one, or a mask (B, T).
        plan: whether to draw the plan beside the batch: the rows with most valid steps first, and
            only their valid steps.

    Returns:
        A figure, which notebooks show; `figure.savefig("masks.svg")` writes it to a file.

    Raises:
        ImportError: Matplotlib is not installed.
        TypeError: `batch` carries no mask and is not a mask. For a model use
            `trace_masks(model, x).plot()`.
        ValueError: the mask has more or fewer axes than (B, T), or no steps.

    Examples:
        >>> import fastmask as fm
        >>> batch = fm.pad([[3.0, 1.0], [2.0, 4.0, 5.0]])
        >>> figure = fm.plot_masks(batch)  # doctest: +SKIP
        >>> figure.savefig("masks.svg")  # doctest: +SKIP
    """
    valid, mask = _mask_of(batch)
    figure = new_figure(width=9.0 if plan else 4.8, height=3.2)
    axes = figure.subplots(1, 2 if plan else 1, squeeze=False)[0]
    draw_mask(axes[0], valid)
    axes[0].set_title(f"{mask.fill:.0%} of {mask.size} steps are valid")
    axes[0].set_xlabel("step")
    axes[0].set_ylabel("row")
    if plan:
        lengths = np.sort(valid.sum(axis=1))[::-1]
        draw_mask(axes[1], np.arange(valid.shape[1]) < lengths[:, None])
        axes[1].set_title("the plan: what is computed, longest rows first")
        axes[1].set_xlabel("step that is computed")
    for each in axes:
        each.locator_params(integer=True)
    return figure


def new_figure(*, width: float, height: float) -> Figure:
    """A figure, with its size in inches, that pyplot does not manage."""
    try:
        from matplotlib import figure
    except ImportError as error:
        raise ImportError("pictures need Matplotlib: pip install matplotlib") from error
    return figure.Figure(figsize=(width, height), layout="constrained")


def draw_mask(axes: Axes, valid: Bools) -> None:
    """Draw a mask (B, T): a row of cells for each sequence."""
    from matplotlib.colors import ListedColormap

    rows, steps = valid.shape
    lined = rows <= MOST_ROWS and steps <= MOST_STEPS
    colors: Any = ListedColormap([MASKED, VALID])
    axes.pcolormesh(
        np.arange(steps + 1) - 0.5,
        np.arange(rows + 1) - 0.5,
        valid,
        cmap=colors,
        vmin=0,
        vmax=1,
        edgecolors=LINES if lined else "none",
        linewidth=0.5 if lined else 0.0,
        rasterized=not lined,
    )
    axes.invert_yaxis()
    axes.spines[:].set_visible(False)


def _mask_of(batch: Masked | Ragged | MaskLike) -> tuple[Bools, Mask]:
    """The mask and its bool array in the memory of the host."""
    if isinstance(batch, Ragged):
        batch = batch.to_masked()
    if callable(batch):
        raise TypeError(
            "batch must carry a mask or be one, not a model or layer such as "
            f"{shown(batch)}: fastmask.trace_masks(model, x).plot() draws the masks in a model"
        )
    mask = batch.mask if isinstance(batch, Masked) else as_mask(batch)
    if mask is None:
        raise TypeError("batch must carry a mask or be one, not None")
    if mask.ndim != 2 or not mask.size:
        raise ValueError(f"batch must have a mask (B, T) with steps, not one of shape {mask.shape}")
    return backend_of(mask.valid).to_host(mask.valid), mask
