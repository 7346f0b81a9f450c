"""Shapes, in which None stands for a size that may vary; a layer may have a list of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from .._checks import whole_number
from .._typing import HasShape, Shape, Shapes, TypeIs


def sizes(shape: object, name: str) -> Shape:
    """A shape as a tuple; sizes may be None.

    Raises:
        TypeError: it is not made of integers and None.
        ValueError: a size is negative.
    """
    if isinstance(shape, (str, bytes, dict)) or not isinstance(shape, Iterable):
        what = " with that of the batch" if name.startswith("batch") else " without the batch"
        raise TypeError(f"{name} must be a tuple of sizes{what}, not {shape!r}")
    return tuple(n if n is None else whole_number(n, f"each size of {name}", 0) for n in shape)


def is_shape(value: Sequence[object]) -> TypeIs[Shape]:
    """Whether it is one shape and not a list of several."""
    return not any(isinstance(size, (list, tuple)) for size in value)


def shapes(arrays: HasShape | Sequence[HasShape]) -> Shapes:
    """The shape of an array, or a list of shapes."""
    if isinstance(arrays, Sequence):
        return [shapes(array) for array in arrays]
    return tuple(arrays.shape)


def merge_shapes(once: Shapes, again: Shapes) -> Shapes:
    """Sizes that differ between two calls become None."""
    if isinstance(once, list) and isinstance(again, list):
        return [merge_shapes(a, b) for a, b in zip(once, again, strict=True)]
    pairs = zip(once, again, strict=True)
    return tuple(a if a == b and not isinstance(a, (tuple, list)) else None for a, b in pairs)


def broadcasts(shape: Shape, wanted: Shape) -> bool:
    """Whether an array of one shape can be broadcast to another, as far as the sizes are known."""
    pairs = zip(reversed(shape), reversed(wanted), strict=False)
    return len(shape) <= len(wanted) and all(
        a == 1 or a is None or b is None or a == b for a, b in pairs
    )


def fits(shape: Shape, wanted: Shape) -> bool:
    """Whether two shapes agree in all sizes that both know."""
    return len(shape) == len(wanted) and all(
        a is None or b is None or a == b for a, b in zip(shape, wanted, strict=True)
    )
