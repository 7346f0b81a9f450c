"""Weights of a layer, and how new ones get their first values."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Literal, NamedTuple

import numpy as np

from .._typing import Array

Filling = Literal["initial", "uninitialised", "shapes"]
_filling: ContextVar[Filling] = ContextVar("fastmask_filling", default="initial")


class Weight(NamedTuple):
    """A named array; layers compute with `value`, which changes in place only."""

    name: str
    value: Array
    trainable: bool


@contextmanager
def filling(how: Filling) -> Iterator[None]:
    """Make new weights in another way, for loading files.

    "uninitialised" leaves their values open; "shapes" takes no memory for them, however large
    they are, and is good for looking at their shapes only.
    """
    token = _filling.set(how)
    try:
        yield
    finally:
        _filling.reset(token)


def new_value(
    shape: tuple[int, ...], dtype: np.dtype[Any], initializer: Callable[..., Array]
) -> Array:
    """The array of a new weight.

    Raises:
        ValueError: the initialiser returns another shape.
    """
    how = _filling.get()
    if how == "shapes":
        return np.broadcast_to(np.zeros((), dtype), shape)
    if how == "uninitialised":
        return np.empty(shape, dtype)
    value = np.array(initializer(shape, dtype), dtype, order="C")
    if value.shape != shape:
        raise ValueError(f"the initializer returned shape {value.shape}, not {shape}")
    return value
