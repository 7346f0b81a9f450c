"""Ids as vectors with one entry for each category."""

from __future__ import annotations

import numpy as np

from .._typing import Array, DTypeLike, Ints, Shape


def one_hot(ids: Ints, depth: int, dtype: DTypeLike) -> Array:
    """Vectors with a 1 at each id, all zeros for negative ids; a last axis of size 1 is dropped."""
    if ids.ndim > 1 and ids.shape[-1] == 1:
        ids = ids[..., 0]
    places: Array = (ids[..., None] == np.arange(depth)).astype(dtype)
    return places


def counted(ids: Ints, rows: Ints, shape: tuple[int, int], weights: Array | None = None) -> Array:
    """How often each id is in each row, or the sum of its weights; negative ids do not count.

    Args:
        ids: (N,) ids.
        rows: (N,), the row of each id.
        shape: number of rows, and of categories.
        weights: (N,), or None for 1.
    """
    known = ids >= 0
    places = rows[known] * shape[1] + ids[known]
    counts: Array = np.bincount(
        places, None if weights is None else weights[known], minlength=shape[0] * shape[1]
    )
    return counts.reshape(shape)


def encoded_ids(
    ids: Ints, depth: int, output_mode: str, layer: str, weights: Array | None = None
) -> Array:
    """Encode non-negative ids as vectors: one for each id, or one for each row.

    Raises:
        ValueError: there are more than two axes though rows are summed; the message names the
            layer `layer`.
    """
    if output_mode == "one_hot":
        return one_hot(ids, depth, np.int64)
    if ids.ndim > 2:
        raise ValueError(
            f"inputs of layer {layer!r} must have one axis or two for output_mode "
            f"{output_mode!r}, not shape {ids.shape}"
        )
    *first, steps = ids.shape
    count = first[0] if first else 1
    flat = None if weights is None else np.broadcast_to(weights, ids.shape).ravel()
    counts = counted(ids.ravel(), np.repeat(np.arange(count), steps), (count, depth), flat)
    return (counts > 0 if output_mode == "multi_hot" else counts).reshape(*first, depth)


def shape_with_categories(shape: Shape, depth: int | None, output_mode: str) -> Shape:
    """The shape of the outputs for inputs of shape `shape`."""
    if output_mode == "int":
        return shape
    if output_mode == "one_hot" and (len(shape) == 1 or shape[-1] != 1):
        return (*shape, depth)
    return (*shape[:-1], depth)


def way_of_categories(ndim: int, output_mode: str) -> str:
    """How such a layer handles a `Ragged`: it counts along rows, or encodes each id."""
    return "rows" if ndim == 2 and output_mode not in ("int", "one_hot") else "each"
