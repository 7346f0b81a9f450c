"""fastmask's layers for the cases in `layer_zoo`, and calls of them."""

from __future__ import annotations

import warnings
from typing import Any

import fastmask as fm

from . import layer_zoo


def built(name: str) -> Any:
    """The layer of a case, with the case's weights."""
    layer = layer_zoo.CASES[name].make(fm.layers)
    shapes = [array.shape for array in layer_zoo.inputs(name)]
    layer.build(shapes if len(shapes) > 1 else shapes[0])
    layer.set_weights(layer_zoo.weights(name, layer.get_weights()))
    return layer


def called_on(name: str, masks: str) -> Any:
    """What the layer of a case is called on."""
    pairs = zip(layer_zoo.inputs(name), layer_zoo.masks_for(name, masks), strict=True)
    inputs = [x if mask is None else fm.Masked(x, mask) for x, mask in pairs]
    return inputs if len(inputs) > 1 else inputs[0]


def quietly(layer: Any, inputs: Any, **options: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return layer(inputs, **options)
