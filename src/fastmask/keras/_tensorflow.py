"""The part for TensorFlow: functions of NumPy, with gradients of their own."""

from __future__ import annotations

import sys
from functools import partial
from typing import Any

import numpy as np
import tensorflow as tf

from .._typing import Array
from ..backends.layer import BACKWARD, FORWARD, Layer, compute
from ._backend import arrays  # noqa: F401 - see `KerasBackend`

_SAVING = ("keras.src.export.", "tensorflow.python.saved_model.")  # modules that write SavedModels


def why_not_now(x: Any) -> str:
    """See `KerasBackend`."""
    if not tf.executing_eagerly():
        return ""
    return "" if "GPU" not in x.device else "kernels compute for TensorFlow on the CPU"


def changed(model: Any, layers: list[Any], converted: bool) -> None:
    """See `KerasBackend`: functions of NumPy are not for XLA."""
    for layer in layers:
        layer.supports_jit = not converted
    if getattr(model, "compiled", False):
        model.jit_compile = model._resolve_auto_jit_compile()


def run(
    layer: Layer, x: Any, mask: Any, states: list[Any], weights: list[Any], training: bool
) -> tuple[Any, list[Any]]:
    """See `KerasBackend`."""
    _refuse_saving()
    if len(weights) < 3:
        columns = weights[1].shape[1]
        weights = [*weights, tf.zeros(layer.bias_shape(columns), x.dtype)]
    valid = tf.zeros((0, 0), tf.bool) if mask is None else tf.cast(mask, tf.bool)
    # Of variables their values: a custom gradient tells variables from arguments.
    values = [tf.convert_to_tensor(value) for value in (x, *states, *weights)]
    out, *last = _differentiable(layer, valid, bool(training))(*values)
    return out, last


def _differentiable(layer: Layer, valid: Any, saves: bool) -> Any:
    """The layer as a function of x, states and weights.

    Where it does not save what backward needs, backward makes it.
    """
    count, kept = layer.cell.states, len(layer.cell.saved) if saves else 0

    @tf.custom_gradient
    def backward(x: Any, *others: Any) -> Any:
        function, results = partial(_backward, layer, saves), [x.dtype] * (1 + count + 3)
        found = tf.numpy_function(function, [x, *others], results, stateful=False)
        return tuple(found), _refuse

    @tf.custom_gradient
    def run(x: Any, *others: Any) -> Any:
        state = (x.shape[0], others[0].shape[1])
        found = tf.numpy_function(
            partial(_forward, layer, saves),
            [x, valid, *others],
            [x.dtype] * (1 + count + kept),
            stateful=False,
        )
        results, saved = found[: 1 + count], found[1 + count :]
        results[0].set_shape(
            (x.shape[0], x.shape[1], state[1]) if layer.return_sequences else state
        )
        for last in results[1:]:
            last.set_shape(state)

        def gradient(*dresults: Any) -> Any:
            found = backward(x, valid, *others, *saved, *dresults)
            for one, of in zip(found, (x, *others), strict=True):
                one.set_shape(of.shape)
            return found

        return tuple(results), gradient

    return run


def _refuse(*_: Any) -> None:
    raise NotImplementedError("fastmask's layers have gradients, but no gradients of gradients")


def _forward(layer: Layer, saves: bool, *inputs: Array) -> list[Array]:
    """The outputs, last states and, or not, what is saved of the valid steps."""
    x, mask, first, *_ = inputs
    (batch, time, _), units = x.shape, first.shape[1]
    rows = int(mask.sum()) if mask.shape == (batch, time) else batch * time
    out = (batch, time, units) if layer.return_sequences else (batch, units)
    saved = layer.saved(rows, units) if saves else []
    shapes = [out, *[(batch, units)] * layer.cell.states, *saved]
    return _computed(f"{FORWARD} {layer.words}", shapes, inputs)


def _backward(layer: Layer, saved: bool, *inputs: Array) -> list[Array]:
    """The gradients of x, of the states and of the weights."""
    count = layer.cell.states
    x, _, *others = inputs
    if not saved:
        given = inputs[: 2 + count + 3]
        made = _forward(layer, True, *given)[1 + count :]
        inputs = *given, *made, *inputs[len(given) :]
    shapes = [array.shape for array in (x, *others[: count + 3])]
    return _computed(f"{BACKWARD} {layer.words}", shapes, inputs)


def _computed(words: str, shapes: list[Any], inputs: tuple[Array, ...]) -> list[Array]:
    # TensorFlow copies them. Arrays that begin on a cache line it takes as they are, but frees them
    # late: so their memory is new in each step, which takes longer than to copy.
    outputs = [np.empty(shape, inputs[0].dtype) for shape in shapes]
    compute(words, outputs, [np.ascontiguousarray(array) for array in inputs])
    return outputs


def _refuse_saving() -> None:
    """Raise where a SavedModel is made, which can hold no function of Python.

    Raises:
        RuntimeError: one is.
    """
    if tf.executing_eagerly():
        return
    frame: Any = sys._getframe()
    while frame is not None:
        if frame.f_globals.get("__name__", "").startswith(_SAVING):
            raise RuntimeError(
                "a SavedModel cannot hold layers that fastmask computes: export the model within "
                "`with fastmask.keras.plain():`"
            )
        frame = frame.f_back
