"""Recurrent layers as functions of plain arrays."""

from __future__ import annotations

from typing import Any

import numpy as np

from ._checks import flag
from ._dispatch import real_array
from ._mask import fitting_mask
from ._padding import pad_sequences
from ._recurrent import forward, initial_states, pack
from ._typing import Array

__all__ = ["lstm", "pad_sequences"]


def lstm(
    x: Any,
    kernel: Any,
    recurrent_kernel: Any,
    bias: Any = None,
    *,
    mask: Any = None,
    initial_state: Any = None,
    return_sequences: bool = True,
    go_backwards: bool = False,
    zero_output_for_mask: bool = False,
) -> tuple[Array, tuple[Array, Array]]:
    """LSTM over the valid steps of a batch of sequences.

    At a masked step the states stand still and the output is the previous output: zeros before
    the first valid step, even with an initial state. It computes in float64 where x or a weight
    is float64, else in float32.

    Args:
        x: (B, T, F) inputs, any real dtype.
        kernel: (F, 4H), the input weights; gate order i, f, c, o.
        recurrent_kernel: (H, 4H).
        bias: (4H,), or None for zeros.
        mask: (B, T) or (B, T, 1), `Mask`, array or nested lists, non-zero where a step is
            valid; None where all are.
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
        ValueError: an array has a shape that does not fit the others.

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
    arrays = {"x": x, "kernel": kernel, "recurrent_kernel": recurrent_kernel}
    if bias is not None:
        arrays["bias"] = bias
    found = {name: real_array(value, name) for name, value in arrays.items()}
    dtype = np.result_type(*found.values())
    x, kernel, recurrent_kernel, *rest = (real_array(a, n, dtype) for n, a in found.items())
    _check_shapes(x, kernel, recurrent_kernel)
    batch, units = len(x), len(recurrent_kernel)
    bias = rest[0] if rest else np.zeros(4 * units, dtype)
    if bias.shape != (4 * units,):
        raise ValueError(f"bias must have shape (4 * units,) = ({4 * units},), not {bias.shape}")
    known = None if mask is None else fitting_mask(mask, x.shape, "x")
    output, (h, c) = forward(
        "lstm",
        x,
        known,
        pack("lstm", kernel, recurrent_kernel, bias),
        initial_states(initial_state, 2, batch, units, dtype),
        ("tanh", "sigmoid"),
        flag(return_sequences, "return_sequences"),
        flag(go_backwards, "go_backwards"),
        flag(zero_output_for_mask, "zero_output_for_mask"),
    )
    return output, (h, c)


def _check_shapes(x: Array, kernel: Array, recurrent_kernel: Array) -> None:
    if x.ndim != 3:
        raise ValueError(f"x must have shape (batch, time, features), not {x.shape}")
    if recurrent_kernel.ndim != 2 or recurrent_kernel.shape[1] != 4 * len(recurrent_kernel):
        raise ValueError(
            f"recurrent_kernel must have shape (units, 4 * units), not {recurrent_kernel.shape}"
        )
    expected = (x.shape[2], recurrent_kernel.shape[1])
    if kernel.shape != expected:
        raise ValueError(
            f"kernel must have shape (features, 4 * units) = {expected}, not {kernel.shape}"
        )
