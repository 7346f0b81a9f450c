"""Build a layer with a `call` of its own, and the layers that it calls, by a call on zeros."""

from __future__ import annotations

import math
from collections.abc import Mapping

from .._typing import Shapes
from ..layers._base import BaseLayer
from ..layers._calls import flat
from ..layers._hooks import hooked
from ..layers._infer import SIZES, on_zeros, symbols
from ..layers._lost_mask import without_warnings

_MOST_NUMBERS = 2**22  # in a row of a batch, whose shape may be from a file


def build_on_zeros(
    layer: BaseLayer, input_shape: Shapes, others: Mapping[str, Shapes] | None = None
) -> None:
    """Build a layer; the states of stateful layers stay as they are, and hooks see nothing.

    Args:
        layer: the layer, which is not built.
        input_shape: shape of the inputs, or a list of shapes.
        others: shapes of further arguments of its `call`, by their names.

    Raises:
        ValueError: it cannot be called on zeros.
    """
    layer._note_built(input_shape)  # or the call would build it
    try:
        inputs = symbols(input_shape, layer.dtype, "input")
        options = {name: symbols(one, layer.dtype, name) for name, one in (others or {}).items()}
        for one in flat([inputs, *options.values()]):
            if math.prod(size for size in one.shape[1:] if size is not None) > _MOST_NUMBERS:
                raise ValueError("that many zeros are not tried")
        with hooked(None), without_warnings():
            on_zeros(layer, inputs, options, SIZES[0])
    except Exception as error:  # the code is the user's
        layer.built, layer._build_shape = False, None
        raise ValueError(
            f"layer {layer.name!r} (of type {type(layer).__name__}) cannot be built for inputs of "
            f"shape {input_shape} by calling it on zeros ({error}); call it on data instead, which "
            "builds it, too"
        ) from error
