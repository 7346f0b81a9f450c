"""Recurrent layers as functions of plain arrays."""

from __future__ import annotations

from typing import Any

import numpy as np

from ._checks import flag
from ._typing import Array
from .activations import kernel_activation
from .backends.cell import GRU, LSTM, SIMPLE_RNN, Cell
from .backends.dispatch import backend_of, real_array
from .backends.recurrent import Settings, forward, initial_states, pack, placed
from .masks.mask import sequence_mask
from .masks.padding import pad_sequences

__all__ = ["gru", "lstm", "pad_sequences", "rnn"]


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
) -> tuple[Array, tuple[Array, Array]]:
    """LSTM over the valid steps of a batch of sequences.

    At a masked step the states do not change and the output is the previous output: zeros before
    the first valid step, even with an initial state. It computes in float64 where x or a weight
    is float64, else in float32.

    Args:
        x: (B, T, F) inputs, any real dtype.
        kernel: (F, 4H), the input weights; gate order i, f, g, o.
        recurrent_kernel: (H, 4H).
        bias: (4H,), or None for zeros.
        activation: "tanh", "sigmoid", "hard_sigmoid", "relu", "linear" or "hard_sigmoid_keras2".
        recurrent_activation: the same choices, for the gates.
        mask: (B, T) or (B, T, 1), `Mask`, array or nested lists, True or 1 where a step is
            valid; None if all are.
        initial_state: h and c, (B, H) each; zeros by default.
        return_sequences: whether the output has all steps, or only the last one.
        go_backwards: start from the last step; outputs come in the order of processing.
        zero_output_for_mask: masked steps give zeros; without `return_sequences` the output is
            also zeros where the last processed step is masked.

    Returns:
        (output, (h, c)): the output is (B, T, H), or (B, H) without `return_sequences`; h and c,
        (B, H) each, are the states after the last valid step.

    Raises:
        TypeError: an array does not hold real numbers.
        ValueError: an array has a shape that does not fit the others, or an activation is
            unknown.

    Source:
        Keras: `keras.layers.LSTM`.

    Examples:
        >>> import numpy as np
        >>> import fastmask as fm
        >>> x, kernel, recurrent = np.ones((1, 3, 2)), np.ones((2, 4)), np.ones((1, 4))
        >>> output, (h, c) = fm.ops.lstm(x, kernel, recurrent, mask=[[0, 1, 0]])
        >>> output[0, :, 0].round(3)
        array([0.   , 0.608, 0.608])
    """
    settings = _gated(activation, recurrent_activation)
    options = (return_sequences, go_backwards, zero_output_for_mask)
    weights = (kernel, recurrent_kernel, bias)
    output, (h, c) = _run(LSTM, x, weights, 1, settings, mask, initial_state, options)
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
) -> tuple[Array, tuple[Array]]:
    """GRU over the valid steps of a batch of sequences; masks and dtypes as in `lstm`.

    Args:
        x: (B, T, F) inputs, any real dtype.
        kernel: (F, 3H), the input weights; gate order z, r, h.
        recurrent_kernel: (H, 3H).
        bias: (2, 3H), of the input and of the state, with `reset_after`, else (3H,); or None
            for zeros.
        reset_after: apply the reset gate after the product with the recurrent kernel.
        activation: see `lstm`.
        recurrent_activation: see `lstm`.
        mask: see `lstm`.
        initial_state: [h], or h, (B, H); zeros by default.
        return_sequences: see `lstm`.
        go_backwards: see `lstm`.
        zero_output_for_mask: see `lstm`.

    Returns:
        (output, (h,)): see `lstm`.

    Raises:
        TypeError: an array does not hold real numbers.
        ValueError: an array has a shape that does not fit the others, or an activation is
            unknown.

    Source:
        Keras: `keras.layers.GRU`.

    Examples:
        >>> import numpy as np
        >>> import fastmask as fm
        >>> x, kernel, recurrent = np.ones((1, 3, 2)), np.ones((2, 3)), np.ones((1, 3))
        >>> output, (h,) = fm.ops.gru(x, kernel, recurrent, mask=[[0, 1, 0]])
        >>> output[0, :, 0].round(3)
        array([0.   , 0.115, 0.115])
    """
    after = flag(reset_after, "reset_after")
    settings: Settings = (*_gated(activation, recurrent_activation), after)
    options = (return_sequences, go_backwards, zero_output_for_mask)
    weights = (kernel, recurrent_kernel, bias)
    rows = 2 if after else 1
    output, (h,) = _run(GRU, x, weights, rows, settings, mask, initial_state, options)
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
) -> tuple[Array, tuple[Array]]:
    """Simple RNN over the valid steps of a batch of sequences; masks and dtypes as in `lstm`.

    Args:
        x: (B, T, F) inputs, any real dtype.
        kernel: (F, H), the input weights.
        recurrent_kernel: (H, H).
        bias: (H,), or None for zeros.
        activation: see `lstm`.
        mask: see `lstm`.
        initial_state: [h], or h, (B, H); zeros by default.
        return_sequences: see `lstm`.
        go_backwards: see `lstm`.
        zero_output_for_mask: see `lstm`.

    Returns:
        (output, (h,)): see `lstm`.

    Raises:
        TypeError: an array does not hold real numbers.
        ValueError: an array has a shape that does not fit the others, or an activation is
            unknown.

    Source:
        Keras: `keras.layers.SimpleRNN`.

    Examples:
        >>> import numpy as np
        >>> import fastmask as fm
        >>> x, kernel, recurrent = np.ones((1, 3, 2)), np.ones((2, 1)), np.ones((1, 1))
        >>> output, (h,) = fm.ops.rnn(x, kernel, recurrent, activation="linear", mask=[[1, 0, 1]])
        >>> output[0, :, 0]
        array([2., 2., 4.])
    """
    settings = (kernel_activation(activation, "activation"),)
    options = (return_sequences, go_backwards, zero_output_for_mask)
    weights = (kernel, recurrent_kernel, bias)
    output, (h,) = _run(SIMPLE_RNN, x, weights, 1, settings, mask, initial_state, options)
    return output, (h,)


def _gated(activation: str, recurrent_activation: str) -> tuple[str, str]:
    return (
        kernel_activation(activation, "activation"),
        kernel_activation(recurrent_activation, "recurrent_activation"),
    )


def _run(
    cell: Cell,
    x: Any,
    weights: tuple[Any, Any, Any],
    bias_rows: int,
    settings: Settings,
    mask: Any,
    initial_state: Any,
    options: tuple[bool, bool, bool],
) -> tuple[Array, list[Array]]:
    names = ("x", "kernel", "recurrent_kernel", "bias")
    given = dict(zip(names, (x, *weights), strict=True))
    if given["bias"] is None:
        del given["bias"]
    found = {name: real_array(value, name) for name, value in given.items()}
    dtypes = {array.dtype for array in found.values()}
    if len(dtypes) > 1:
        wide = np.result_type(*dtypes)
        found = {name: real_array(array, name, wide) for name, array in found.items()}
    x, kernel, recurrent_kernel, *rest = found.values()
    _check_shapes(cell, x, kernel, recurrent_kernel, rest, bias_rows)
    states = initial_states(initial_state, [len(recurrent_kernel)] * cell.states, len(x), x.dtype)
    states = placed(states, initial_state is not None, found)
    backend = backend_of(x)
    views = backend.views(kernel, recurrent_kernel, *rest)
    known = None if mask is None else sequence_mask(mask, x.shape, "x")
    words = ("return_sequences", "go_backwards", "zero_output_for_mask")
    return forward(
        backend,
        cell,
        x,
        known,
        pack(backend, cell, views if rest else (*views, None), settings),
        states,
        settings,
        *map(flag, options, words),
    )


def _check_shapes(
    cell: Cell, x: Array, kernel: Array, recurrent: Array, bias: list[Array], bias_rows: int
) -> None:
    columns = "units" if cell.gates == 1 else f"{cell.gates} * units"
    if x.ndim != 3:
        raise ValueError(f"x must have shape (batch, time, features), not {x.shape}")
    if recurrent.ndim != 2 or recurrent.shape[1] != cell.gates * len(recurrent):
        raise ValueError(
            f"recurrent_kernel must have shape (units, {columns}), not {recurrent.shape}"
        )
    width = recurrent.shape[1]
    if kernel.shape != (x.shape[2], width):
        raise ValueError(
            f"kernel must have shape (features, {columns}) = {(x.shape[2], width)}, "
            f"not {kernel.shape}"
        )
    expected = (2, width) if bias_rows == 2 else (width,)
    words = f"(2, {columns})" if bias_rows == 2 else f"({columns},)"
    if bias and bias[0].shape != expected:
        raise ValueError(f"bias must have shape {words} = {expected}, not {bias[0].shape}")
