"""The error for packed weights of another layer, in the same words for all backends."""

from __future__ import annotations


def wrong_packed(pack: str, features: int, units: int, size: int, found: int) -> ValueError:
    """The error for `found` elements where `pack` writes `size`."""
    return ValueError(
        f"packed must come from {pack} for {features} features, {units} units: "
        f"it must have {size} elements, not {found}"
    )
