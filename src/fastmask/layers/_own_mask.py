"""Masks that layers make themselves, in place of those that their inputs carry."""

from __future__ import annotations

from typing import Any

import numpy as np

from .._typing import Bools
from ..backends.dispatch import backend_of
from ..masks.mask import Mask
from ._base import BaseLayer
from ._mask_effect import makes_masks


def steps_counted(own: Any, carried: Any) -> tuple[int, int]:
    """How many steps a layer's own mask counts as valid that the carried one masks.

    Args:
        own: the mask that the layer makes.
        carried: the mask of its inputs.

    Returns:
        The number, 0 if the masks are not of the same steps; and the number of all steps.
    """
    one, other = _flags(own), _flags(carried)
    axes = min(one.ndim, other.ndim)
    if one.shape[:axes] != other.shape[:axes]:
        return 0, 0
    if one.ndim != other.ndim:
        one, other = (np.any(mask, tuple(range(axes, mask.ndim))) for mask in (one, other))
    return int(np.count_nonzero(one > other)), other.size


def counted(steps: int, of: int) -> str:
    """How many masked steps count again, for a message."""
    return f"{steps} of {of} steps, masked in its inputs, count as valid from here on"


def advice(layer: BaseLayer) -> str:
    """How to avoid that, for a message."""
    value = layer._value_it_masks()
    shown = "np.nan" if value is not None and value != value else repr(value)
    fix = f"pad with {shown}, as fm.pad(rows, value={shown}) does, or give the rows"
    if value is None:
        fix = "give inputs that it masks itself, or the rows"
    return f"{fix}, in a list or a Ragged"


def warn_of_own_mask(layer: BaseLayer, own: Any, carried: Any, inputs: Any = None) -> None:
    """Warn if steps that are masked in the inputs of a layer count as valid in its own mask.

    Args:
        layer: the layer.
        own: the mask of its outputs.
        carried: the mask of its inputs.
        inputs: the arrays, to find whether `own` is made of these alone; None if that is known.
    """
    if not layer._warns_of_steps() or layer._mask_is_chosen or not isinstance(carried, Mask):
        return
    steps, of = steps_counted(own, carried)
    if steps and (inputs is None or makes_masks(layer, inputs)):
        layer._warn(
            "was passed an input with a mask attached to it, but makes a mask of its own instead, "
            f"as in Keras: {counted(steps, of)}; {advice(layer)}"
        )


def _flags(mask: Any) -> Bools:
    array = mask._valid if isinstance(mask, Mask) else mask
    return np.asarray(backend_of(array).to_host(array), np.bool_)
