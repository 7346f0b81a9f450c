"""The module for TensorFlow: NumPy functions with custom gradients."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from itertools import accumulate, pairwise
from typing import Any

import numpy as np
import tensorflow as tf

from fastmask_kernels.forks import CHANGING, fork_safe, fork_safe_lock

from .._typing import Array
from ..backends.layer import Layer, backward_into, forward_into
from ._backend import arrays  # noqa: F401 - see `KerasBackend`
from ._packed import packed
from ._reuse import Reuse

_SAVING = ("keras.src.export.", "tensorflow.python.saved_model.")  # modules that write SavedModels
_HEAD, _UNUSED = 16, 1  # size of the header; its first element until backward has run
_memory, _lock = Reuse(), fork_safe_lock(CHANGING)


def why_not_now(x: Any) -> str:
    """See `KerasBackend`."""
    if not tf.executing_eagerly():
        return ""
    return "" if "GPU" not in x.device else "kernels compute for TensorFlow on the CPU"


def changed(model: Any, layers: list[Any], converted: bool) -> None:
    """See `KerasBackend`; XLA cannot compile NumPy functions."""
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
    # The values of variables: a custom gradient treats variables and arguments differently.
    values = [tf.convert_to_tensor(value) for value in (x, *states, *weights)]
    out, *last = _differentiable(layer, valid, bool(training))(*values)
    return out, last


def _differentiable(layer: Layer, valid: Any, saves: bool) -> Any:
    """The layer as a function of x, states and weights.

    Without saved values, backward runs forward again. TensorFlow takes 15 us for each result of a
    NumPy function, so results of the same shape are stacked in one array.
    """
    alike = 1 + layer.cell.states - layer.return_sequences

    @tf.custom_gradient
    def run(x: Any, *others: Any) -> Any:
        rows, units = others[0].shape
        function = partial(_forward, layer, saves)
        found = _called(function, [x, valid, *others], 1 + layer.return_sequences + saves)
        kept = [found.pop()] if saves else []
        found[-1].set_shape((alike, rows, units))
        found[-1:] = tf.unstack(found[-1], alike)
        if layer.return_sequences:
            found[0].set_shape((*x.shape[:2], units))
        backward = _gradient(layer, valid, kept)
        return tuple(found), lambda *dresults: backward(x, *others, *dresults)

    return run


def _gradient(layer: Layer, valid: Any, kept: list[Any]) -> Any:
    """The gradients as a function of x, states, weights, and the gradients of the results."""
    count = layer.cell.states

    @tf.custom_gradient
    def run(x: Any, *others: Any) -> Any:
        first, kernel, recurrent_kernel, bias = others[0], *others[count : count + 3]
        function = partial(_backward, layer, bool(kept))
        dx, dstates, dweights = _called(function, [x, valid, *kept, *others], 3)
        dx.set_shape(x.shape)
        dstates.set_shape((count, *first.shape))
        *dkernels, dbias = tf.split(dweights, [kernel.shape[0], recurrent_kernel.shape[0], -1])
        found = dx, *tf.unstack(dstates, count), *dkernels, tf.reshape(dbias, bias.shape)
        return found, _refuse

    return run


def _refuse(*_: Any) -> None:
    raise NotImplementedError("fastmask's layers have gradients, but no gradients of gradients")


def _called(function: Callable[..., list[Array]], inputs: list[Any], count: int) -> list[Any]:
    """Call a NumPy function on tensors; returns `count` tensors of the first input's dtype."""
    if tf.executing_eagerly():  # `numpy_function` would copy here, and return a single result bare
        return [tf.convert_to_tensor(array) for array in function(*map(np.asarray, inputs))]
    return list(tf.numpy_function(function, inputs, [inputs[0].dtype] * count, stateful=False))


def _forward(layer: Layer, saves: bool, x: Array, mask: Array, *others: Array) -> list[Array]:
    """The outputs, the last states in one array, and, if `saves`, what is saved at valid steps.

    If only the last output is wanted, it comes first in the array of the states.
    """
    (batch, time, _), (_, units), count = x.shape, others[0].shape, layer.cell.states
    results = [_memory.empty((1 + count - layer.return_sequences, batch, units), x.dtype)]
    if layer.return_sequences:
        results.insert(0, _memory.empty((batch, time, units), x.dtype))
    outputs = [*results[:-1], *results[-1]]
    valid = mask if mask.shape == (batch, time) else None
    states, weights = others[:count], others[count:]
    if saves:
        rows = batch * time if valid is None else int(np.count_nonzero(valid))
        kept = _memory.empty((_HEAD + rows * units * sum(layer.cell.saved),), x.dtype)
        kept[0] = _UNUSED
        results.append(kept)
        outputs += _saved(layer, kept, units)
    kept_weights = None if saves else packed(layer, weights)
    forward_into(layer, outputs, x, valid, states, weights, kept_weights)
    return results


def _backward(layer: Layer, saved: bool, x: Array, mask: Array, *others: Array) -> list[Array]:
    """The gradients of x, of the states in one array, and of the weights, stacked by rows."""
    count, dtype = layer.cell.states, x.dtype
    kept, others = (_unused(others[0]), others[1:]) if saved else (None, others)
    if kept is None:
        *_, kept = _forward(layer, True, x, mask, *others[: count + 3])
    states, weights, (dout, *dlast) = others[:count], others[count:][:3], others[count + 3 :]
    (batch, units), (features, columns) = states[0].shape, weights[0].shape
    used = _saved(layer, kept, units)
    if not layer.cell.keeps_gates:
        used.append(_memory.empty((len(used[0]), layer.cell.width * units), dtype))
    dx, dstates = _memory.empty(x.shape, dtype), _memory.empty((count, batch, units), dtype)
    rows = features + units
    dweights = _memory.empty((rows + weights[2].size // columns, columns), dtype)
    dbias = dweights[rows:].reshape(weights[2].shape)
    outputs = [dx, *dstates, dweights[:features], dweights[features:rows], dbias, used[-1]]
    valid = mask if mask.shape == x.shape[:2] else None
    backward_into(layer, outputs, x, valid, states, weights, used, dout, dlast)
    return [dx, dstates, dweights]


def _saved(layer: Layer, kept: Array, units: int) -> list[Array]:
    """Views of the arrays of `Layer.saved` in the one array that holds them."""
    rows = (len(kept) - _HEAD) // (units * sum(layer.cell.saved))
    shapes = layer.saved(rows, units)
    ends = accumulate([_HEAD, *(count * width for count, width in shapes)])
    return [
        kept[start:end].reshape(shape)
        for (start, end), shape in zip(pairwise(ends), shapes, strict=True)
    ]


def _unused(kept: Array) -> Array | None:
    """What forward saved, which backward overwrites; None if a backward pass already has."""
    with fork_safe(_lock):
        if kept[0] != _UNUSED:
            return None
        if not kept.flags.writeable:  # of an eager tensor
            return kept.copy()
        kept[0] = 0
        return kept


def _refuse_saving() -> None:
    """Raise an error if a SavedModel is being made: it cannot hold Python functions.

    Raises:
        RuntimeError: one is being made.
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
