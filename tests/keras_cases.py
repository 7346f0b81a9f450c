"""Random Keras layers, and the gradients that Keras itself computes, on each of its backends."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

import numpy as np
import pytest

KINDS = ("LSTM", "GRU", "GRU reset before", "SimpleRNN", "Bi-LSTM", "Bi-GRU", "Bi-SimpleRNN")
MASKS = ("right", "left", "holes", "empty", "none")


def the_keras() -> Any:
    """Keras with an installed backend; without one the calling tests are skipped."""
    wanted = os.environ.get("KERAS_BACKEND", "tensorflow")
    if not all(map(importlib.util.find_spec, ("keras", wanted))):
        pytest.skip(f"needs keras with the backend {wanted}", allow_module_level=True)
    os.environ.setdefault("JAX_ENABLE_X64", "1")  # else JAX has no float64
    return pytest.importorskip("keras")


class Case(NamedTuple):
    """A layer and its inputs."""

    name: str
    layer: Any
    x: Any
    mask: Any
    states: list[Any]


def random_case(keras: Any, number: int) -> Case:
    """The random case with a number."""
    rng = np.random.default_rng(number)
    kind, how = KINDS[number % len(KINDS)], MASKS[rng.integers(len(MASKS))]
    batch, time, features, units = (int(rng.integers(1, most)) for most in (6, 9, 5, 7))
    dtype = "float64" if rng.random() < 0.3 else "float32"
    if keras.config.backend() == "jax":  # Keras's loop fails there: it makes float64 float32
        dtype = "float32"
    options: dict[str, Any] = {
        name: bool(rng.random() < 0.5)
        for name in ("return_sequences", "go_backwards", "zero_output_for_mask", "use_bias")
    }
    options["activation"] = str(rng.choice(["tanh", "sigmoid", "linear"]))
    base = kind.removeprefix("Bi-").split()[0]
    if base != "SimpleRNN":
        options["recurrent_activation"] = str(rng.choice(["sigmoid", "hard_sigmoid"]))
    if base == "GRU":
        options["reset_after"] = kind != "GRU reset before"
    both = kind.startswith("Bi-")
    if both:
        options["go_backwards"] = False
    layer = getattr(keras.layers, base)(units, dtype=dtype, return_state=True, **options)
    if both:
        merge = str(rng.choice(["concat", "sum", "mul", "ave"]))
        layer = keras.layers.Bidirectional(layer, merge_mode=merge, dtype=dtype)
    x = rng.standard_normal((batch, time, features)).astype(dtype)
    layer.build(x.shape)
    layer.set_weights([rng.normal(0, 0.5, w.shape) for w in layer.get_weights()])
    count = (1 + both) * (1 + (base == "LSTM"))
    states = [rng.normal(0, 0.5, (batch, units)).astype(dtype) for _ in range(count)]
    valid = _valid(how, rng, batch, time)
    if valid is not None and keras.config.backend() == "jax":
        valid[:, [0, -1]] = True  # else Keras on JAX outputs the initial state there
    return Case(f"{number}: {kind} {how} {dtype} {options}", layer, x, valid, states)


def _valid(how: str, rng: Any, batch: int, time: int) -> Any:
    if how == "none":
        return None
    lengths = rng.integers(0, time + 1, (batch, 1))
    steps = np.arange(time)
    masks = {
        "right": steps < lengths,
        "left": steps >= time - lengths,
        "holes": rng.random((batch, time)) < 0.6,
        "empty": np.zeros((batch, time), np.bool_),
    }
    return masks[how]


def found_by(keras: Any, case: Case) -> list[Any]:
    """Output, last states, and the gradients of a random sum of them.

    The gradients are with respect to x, the initial states and the weights.
    """
    rng = np.random.default_rng(1)
    layer, count = case.layer, len(case.states)

    def results(x: Any, states: list[Any]) -> list[Any]:
        return list(layer(x, mask=case.mask, initial_state=states))

    with _no_float64():
        factors = [rng.standard_normal(r.shape) for r in results(case.x, case.states)]

    def loss_of(outputs: list[Any]) -> Any:
        pairs = zip(outputs, factors, strict=True)
        return sum(keras.ops.sum(o * keras.ops.cast(f, o.dtype)) for o, f in pairs)

    gradients = {"torch": _by_torch, "jax": _by_jax, "tensorflow": _by_tensorflow}
    with _no_float64():
        outputs, found = gradients[keras.config.backend()](
            layer, results, loss_of, [case.x, *case.states]
        )
    assert len(found) == 1 + count + len(layer.trainable_variables)
    return [np.asarray(keras.ops.convert_to_numpy(value)) for value in (*outputs, *found)]


def _no_float64() -> AbstractContextManager[Any]:
    """Turn float64 off on JAX, where Keras's GRU without a bias would turn float32 into float64."""
    jax: Any = sys.modules.get("jax")
    return nullcontext() if jax is None else jax.enable_x64(False)


Results = Callable[[Any, list[Any]], list[Any]]
Loss = Callable[[list[Any]], Any]


def _by_torch(layer: Any, results: Results, loss_of: Loss, given: list[Any]) -> Any:
    import torch

    inputs = [torch.tensor(value, requires_grad=True) for value in given]
    outputs = results(inputs[0], inputs[1:])
    leaves = [*inputs, *(variable.value for variable in layer.trainable_variables)]
    found = torch.autograd.grad(loss_of(outputs), leaves, allow_unused=True)
    pairs = zip(found, leaves, strict=True)
    return outputs, [torch.zeros_like(leaf) if one is None else one for one, leaf in pairs]


def _by_jax(layer: Any, results: Results, loss_of: Loss, given: list[Any]) -> Any:
    import jax
    import keras

    variables = layer.trainable_variables

    def loss(inputs: list[Any], weights: list[Any]) -> Any:
        with keras.StatelessScope(list(zip(variables, weights, strict=True))):
            outputs = results(inputs[0], inputs[1:])
            return loss_of(outputs), outputs

    weights = [variable.value for variable in variables]
    (_, outputs), found = jax.jit(jax.value_and_grad(loss, (0, 1), has_aux=True))(given, weights)
    return outputs, [*found[0], *found[1]]


def _by_tensorflow(layer: Any, results: Results, loss_of: Loss, given: list[Any]) -> Any:
    import tensorflow as tf

    variables = [variable.value for variable in layer.trainable_variables]

    @tf.function
    def both(*inputs: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            outputs = results(inputs[0], list(inputs[1:]))
            loss = loss_of(outputs)
        zero = tf.UnconnectedGradients.ZERO
        found = tape.gradient(loss, [*inputs, *variables], unconnected_gradients=zero)
        return outputs, found

    return both(*map(tf.constant, given))
