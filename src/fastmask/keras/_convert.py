"""From a live Keras model to the same model with fastmask's loops, and back."""

from __future__ import annotations

from typing import Any

import keras

from ._loop import BACKEND, converted_loop
from ._wanted import why_not

_FUNCTIONS = ("train_function", "test_function", "predict_function")  # traced with the old loops


def convert(model: keras.layers.Layer) -> tuple[list[str], dict[str, str]]:
    """Let fastmask compute the recurrent layers of a model, in place.

    LSTM, GRU, SimpleRNN and RNN with their cells, also within Bidirectional, TimeDistributed and
    nested models. Only their loop over time is replaced, on the layer itself; so weights, optimizer
    and everything that `compile` set stay, and files and clones of the model are plain Keras.

    Args:
        model: a model, or a single layer; built or not, compiled or not.

    Returns:
        The names of the layers that fastmask computes from now on; and for the other recurrent
        layers, by name, the reason why it does not.

    Raises:
        TypeError: `model` is not a model or a layer of Keras.

    Examples:
        >>> import keras
        >>> import fastmask.keras
        >>> layers = [keras.layers.LSTM(4, return_sequences=True, name="first")]
        >>> layers += [keras.layers.GRU(4, unroll=True, name="second")]
        >>> model = keras.Sequential([keras.Input((3, 2)), *layers])
        >>> fastmask.keras.convert(model)
        (['first'], {'second': 'it has unroll=True'})
    """
    names, reasons, layers = [], {}, []
    for layer in _recurrent_layers(model):
        reason = why_not(layer)
        if reason:
            reasons[layer.name if layer.name not in reasons else layer.path] = reason
            continue
        layer.inner_loop = converted_loop(layer)
        names.append(layer.name)
        layers.append(layer)
    _changed(model, layers, True)
    return names, reasons


def revert(model: keras.layers.Layer) -> list[str]:
    """Restore the original loops of all layers of a model.

    Args:
        model: what `convert` was given.

    Returns:
        The names of the layers that fastmask computed until now.

    Raises:
        TypeError: `model` is not a model or a layer of Keras.

    Examples:
        >>> import keras
        >>> import fastmask.keras
        >>> model = keras.Sequential([keras.Input((3, 2)), keras.layers.LSTM(4, name="lstm")])
        >>> _ = fastmask.keras.convert(model)
        >>> fastmask.keras.revert(model)
        ['lstm']
    """
    layers = [layer for layer in _recurrent_layers(model) if "inner_loop" in vars(layer)]
    for layer in layers:
        del layer.inner_loop
    _changed(model, layers, False)
    return [layer.name for layer in layers]


def _recurrent_layers(model: Any) -> list[Any]:
    """Each recurrent layer of a model once, however deeply nested and however often used."""
    if not isinstance(model, keras.layers.Layer):
        raise TypeError(f"model must be a model or a layer of Keras, not {type(model).__name__}")
    found: dict[int, Any] = {}
    waiting = [model]
    while waiting:
        layer = waiting.pop()
        if id(layer) not in found:
            found[id(layer)] = layer
            waiting += reversed(layer._layers)
    return [layer for layer in found.values() if isinstance(layer, keras.layers.RNN)]


def _changed(model: Any, layers: list[Any], converted: bool) -> None:
    if not layers:
        return
    for name in _FUNCTIONS:
        if getattr(model, name, None) is not None:
            setattr(model, name, None)
    BACKEND.changed(model, layers, converted)
