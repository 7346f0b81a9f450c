"""What a layer did with a mask, in one word."""

from __future__ import annotations

import numpy as np

from ..masks.mask import Mask
from ._base import BaseLayer
from ._types import Arrays


def mask_effect(
    layer: BaseLayer, before: list[Mask | None], after: list[Mask | None], makes: bool
) -> str:
    """Compare the masks that went into a layer with those that came out.

    Args:
        layer: the layer.
        before: the masks of its inputs.
        after: the masks of its outputs.
        makes: whether it would make a mask from inputs without one.

    Returns:
        "made", "kept", "changed", "used", "dropped", "used, kept", "used, changed", "used, dropped"
        or "-" if there is no mask before or after.
    """
    given = [mask for mask in before if mask is not None]
    left = [mask for mask in after if mask is not None]
    if not given or (makes and left):
        return "made" if left else "-"
    spec = layer._spec()
    used = layer._uses_mask(max(mask.ndim for mask in given))
    if not left:
        meant = spec.makes_masks or layer.supports_masking  # otherwise the layer has warned
        return "dropped" if not used else "used" if meant else "used, dropped"
    kept = all(any(_same(one, other) for other in given) for one in left)
    word = "kept" if kept else "changed"
    return f"used, {word}" if used else word


def makes_masks(layer: BaseLayer, inputs: Arrays) -> bool:
    """Whether the layer makes a mask from plain arrays."""
    spec = layer._spec()
    if not spec.makes_masks:
        return False
    try:
        made = layer.compute_mask(inputs, None)
    except Exception:  # a custom layer may rely on a mask
        return False
    made = made if isinstance(made, (list, tuple)) else [made]
    return any(mask is not None for mask in made)


def _same(one: Mask, other: Mask) -> bool:
    return one is other or np.array_equal(one, other)
