"""Recurrent layers as functions of JAX arrays."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from .._checks import flag
from ..activations import kernel_activation
from ..backends.layer import Layer
from ._layer import run


def lstm(
    x: Any,
    kernel: Any,
    recurrent_kernel: Any,
    bias: Any = None,
    *,
    activation: str = "tanh",
    recurrent_activation: str = "sigmoid",
    mask: Any = None,
    initial_state: Any = None,
    return_sequences: bool = True,
    go_backwards: bool = False,
    zero_output_for_mask: bool = False,
) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    """LSTM over the valid steps of a batch of sequences, with gradients.

    Like `fastmask.ops.lstm`, under JAX's transformations: jit, grad, vmap (one example after the
    other), scan and checkpoint. Forward mode and second-order gradients are not supported.

    Args:
        x: (B, T, F), float32 or float64.
        kernel: (F, 4H), of the dtype of x, as are the others; gate order i, f, g, o.
        recurrent_kernel: (H, 4H).
        bias: (4H,), or None for zeros.
        activation: "tanh", "sigmoid", "hard_sigmoid", "relu" or "linear".
        recurrent_activation: the same choices, for the gates.
        mask: (B, T), True or not 0 where a step is valid; None if all are.
        initial_state: h and c, (B, H) each; zeros by default.
        return_sequences: whether the output has all steps, or only the last one.
        go_backwards: start from the last step; outputs come in the order of processing.
        zero_output_for_mask: masked steps give zeros, not the previous output.

    Returns:
        (output, (h, c)): the output is (B, T, H), or (B, H) without `return_sequences`; h and c,
        (B, H) each, are the states after the last valid step.

    Raises:
        TypeError: an array has another dtype.
        ValueError: an array has a shape that does not fit the others, or an activation is
            unknown.

    Source:
        Keras: `keras.layers.LSTM`.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> import fastmask.jax
        >>> x, kernel, recurrent = jnp.ones((1, 3, 2)), jnp.ones((2, 4)), jnp.ones((1, 4))
        >>> def last(x):
        ...     output, _ = fastmask.jax.lstm(x, kernel, recurrent, mask=jnp.array([[0, 1, 0]]))
        ...     return output[0, -1, 0]
        >>> value, gradient = jax.jit(jax.value_and_grad(last))(x)
        >>> print(f"{value:.3f}", gradient[0, :, 0].round(3))
        0.608 [0.    0.148 0.   ]
    """
    names = (activation, recurrent_activation)
    options = (return_sequences, go_backwards, zero_output_for_mask)
    layer = _layer("LSTM", names, False, options)
    output, (h, c) = _run(layer, x, (kernel, recurrent_kernel, bias), mask, initial_state)
    return output, (h, c)


def gru(
    x: Any,
    kernel: Any,
    recurrent_kernel: Any,
    bias: Any = None,
    *,
    reset_after: bool = True,
    activation: str = "tanh",
    recurrent_activation: str = "sigmoid",
    mask: Any = None,
    initial_state: Any = None,
    return_sequences: bool = True,
    go_backwards: bool = False,
    zero_output_for_mask: bool = False,
) -> tuple[jax.Array, tuple[jax.Array]]:
    """GRU over the valid steps of a batch of sequences, with gradients; see `lstm`.

    Args:
        x: (B, T, F), float32 or float64.
        kernel: (F, 3H), of the dtype of x, as are the others; gate order z, r, h.
        recurrent_kernel: (H, 3H).
        bias: (2, 3H), for the input and the state, with `reset_after`, else (3H,); or None
            for zeros.
        reset_after: apply the reset gate after the product with the recurrent kernel.
        activation: see `lstm`.
        recurrent_activation: see `lstm`.
        mask: see `lstm`.
        initial_state: h, (B, H), or [h]; zeros by default.
        return_sequences: see `lstm`.
        go_backwards: see `lstm`.
        zero_output_for_mask: see `lstm`.

    Returns:
        (output, (h,)): see `lstm`.

    Raises:
        TypeError: an array has another dtype.
        ValueError: an array has a shape that does not fit the others, or an activation is
            unknown.

    Source:
        Keras: `keras.layers.GRU`.

    Examples:
        >>> import jax.numpy as jnp
        >>> import fastmask.jax
        >>> x, kernel, recurrent = jnp.ones((1, 3, 2)), jnp.ones((2, 3)), jnp.ones((1, 3))
        >>> output, (h,) = fastmask.jax.gru(x, kernel, recurrent, mask=jnp.array([[0, 1, 0]]))
        >>> print(output[0, :, 0].round(3))
        [0.    0.115 0.115]
    """
    names = (activation, recurrent_activation)
    options = (return_sequences, go_backwards, zero_output_for_mask)
    layer = _layer("GRU", names, flag(reset_after, "reset_after"), options)
    output, (h,) = _run(layer, x, (kernel, recurrent_kernel, bias), mask, initial_state)
    return output, (h,)


def rnn(
    x: Any,
    kernel: Any,
    recurrent_kernel: Any,
    bias: Any = None,
    *,
    activation: str = "tanh",
    mask: Any = None,
    initial_state: Any = None,
    return_sequences: bool = True,
    go_backwards: bool = False,
    zero_output_for_mask: bool = False,
) -> tuple[jax.Array, tuple[jax.Array]]:
    """Simple RNN over the valid steps of a batch of sequences, with gradients; see `lstm`.

    Args:
        x: (B, T, F), float32 or float64.
        kernel: (F, H), of the dtype of x, as are the others.
        recurrent_kernel: (H, H).
        bias: (H,), or None for zeros.
        activation: see `lstm`.
        mask: see `lstm`.
        initial_state: h, (B, H), or [h]; zeros by default.
        return_sequences: see `lstm`.
        go_backwards: see `lstm`.
        zero_output_for_mask: see `lstm`.

    Returns:
        (output, (h,)): see `lstm`.

    Raises:
        TypeError: an array has another dtype.
        ValueError: an array has a shape that does not fit the others, or an activation is
            unknown.

    Source:
        Keras: `keras.layers.SimpleRNN`.

    Examples:
        >>> import jax.numpy as jnp
        >>> import fastmask.jax
        >>> x, kernel, recurrent = jnp.ones((1, 3, 2)), jnp.ones((2, 1)), jnp.ones((1, 1))
        >>> output, (h,) = fastmask.jax.rnn(
        ...     x, kernel, recurrent, activation="linear", mask=jnp.array([[1, 0, 1]])
        ... )
        >>> print(output[0, :, 0])
        [2. 2. 4.]
    """
    options = (return_sequences, go_backwards, zero_output_for_mask)
    layer = _layer("SimpleRNN", (activation,), False, options)
    output, (h,) = _run(layer, x, (kernel, recurrent_kernel, bias), mask, initial_state)
    return output, (h,)


def _layer(
    kind: str, activations: tuple[str, ...], reset_after: bool, options: tuple[bool, bool, bool]
) -> Layer:
    names = ("activation", "recurrent_activation")
    known = [kernel_activation(a, name) for a, name in zip(activations, names, strict=False)]
    words = ("return_sequences", "go_backwards", "zero_output_for_mask")
    sequences, backwards, zero = map(flag, options, words)
    return Layer(kind, tuple(known), reset_after, backwards, zero, sequences)


def _run(
    layer: Layer, x: Any, weights: tuple[Any, Any, Any], mask: Any, initial_state: Any
) -> tuple[jax.Array, list[jax.Array]]:
    x = jnp.asarray(x)
    if x.dtype not in (jnp.float32, jnp.float64):
        raise TypeError(f"x must be float32 or float64, not {x.dtype}")
    if x.ndim != 3:
        raise ValueError(f"x must have shape (batch, time, features), not {x.shape}")
    kernel, recurrent_kernel, bias = weights
    kernel, recurrent_kernel = jnp.asarray(kernel), jnp.asarray(recurrent_kernel)
    if recurrent_kernel.ndim != 2:
        raise ValueError(f"recurrent_kernel must have two axes, not {recurrent_kernel.ndim}")
    (batch, time, features), units = x.shape, len(recurrent_kernel)
    columns, count = layer.cell.gates * units, layer.cell.states
    _check("recurrent_kernel", recurrent_kernel, (units, columns), x)
    _check("kernel", kernel, (features, columns), x)
    found = [kernel, recurrent_kernel]
    if bias is not None:
        bias = jnp.asarray(bias)
        _check("bias", bias, layer.bias_shape(columns), x)
        found.append(bias)
    if mask is not None:
        mask = jnp.asarray(mask)
        _check("mask", mask, (batch, time))
    states = _states(initial_state, count)
    states = states or [jnp.zeros((batch, units), x.dtype)] * count
    for i, state in enumerate(states):
        _check(f"initial_state[{i}]", state, (batch, units), x)
    return run(layer, x, mask, states, found)


def _states(given: Any, count: int) -> list[Any]:
    if given is None:
        return []
    if not isinstance(given, (list, tuple)):
        given = [given]
    if len(given) != count:
        raise ValueError(f"initial_state must have {count} arrays, not {len(given)}")
    return list(map(jnp.asarray, given))


def _check(name: str, array: Any, shape: tuple[int, ...], like: Any = None) -> None:
    """Check an array's shape, and its dtype against that of `like`."""
    if array.shape != shape:
        raise ValueError(f"{name} must have shape {shape}, not {array.shape}")
    if like is not None and array.dtype != like.dtype:
        raise TypeError(f"{name} must be {like.dtype} as x, not {array.dtype}")
