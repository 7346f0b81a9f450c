"""Padding and its inverse, the public side; `joining` and `casting` do the work."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from .._checks import choice, whole_number
from .._typing import Array
from .casting import as_dtype
from .joining import Sequences, padded, sequences_in
from .mask import Mask
from .masked import Masked
from .ragged import unpadded


def pad_sequences(
    sequences: Iterable[Any],
    maxlen: int | None = None,
    dtype: Any = "int32",
    padding: str = "pre",
    truncating: str = "pre",
    value: Any = 0.0,
) -> Array:
    """Pad or truncate sequences to one length, as `keras.utils.pad_sequences` does.

    Args:
        sequences: (B,) sequences of T_b steps each: lists, tuples or arrays of numbers, or of
            feature vectors (or larger arrays) that all have one shape. Any iterable of them.
        maxlen: number of steps T of the result; by default that of the longest sequence.
        dtype: of the result. `object` and strings are possible; None takes the dtype that
            NumPy gives the sequences.
        padding: "pre" or "post", where short sequences are padded.
        truncating: "pre" or "post", where long sequences lose steps.
        value: what to pad with: a number, or one for each number of a step.

    Returns:
        Array (B, T) or (B, T, *features) of `dtype`. Without sequences, (0, maxlen or 0).

    Raises:
        TypeError: `dtype` is no dtype, or `maxlen` no integer.
        ValueError: `padding`, `truncating` or `maxlen` is out of its range; an entry of
            `sequences` is not a sequence, or its steps have another shape than those before;
            a cast to `dtype` would lose values: floats of any kind into integers, integers out
            of range, a fractional or NaN `value` into integers, finite floats that become
            infinite. Rounding to the nearest float is no loss.

    Source:
        Keras 3: `keras.utils.pad_sequences`.

    Examples:
        >>> import fastmask as fm
        >>> fm.pad_sequences([[711, 632, 71], [73, 8, 3215, 55, 927]])
        array([[   0,    0,  711,  632,   71],
               [  73,    8, 3215,   55,  927]], dtype=int32)
        >>> fm.pad_sequences([[711, 632, 71], [73]], maxlen=2, padding="post", value=-1)
        array([[632,  71],
               [ 73,  -1]], dtype=int32)
    """
    known = None if dtype is None else as_dtype(dtype)
    return padded(_batch(sequences, maxlen, padding, truncating), known, value)


def pad(
    sequences: Iterable[Any],
    maxlen: int | None = None,
    dtype: Any = None,
    padding: str = "post",
    truncating: str = "post",
    value: Any = 0,
) -> Masked:
    """Pad or truncate sequences to one length, and keep a mask of the steps that exist.

    Args:
        sequences: as for `pad_sequences`.
        maxlen: number of steps T of the result; by default that of the longest sequence.
        dtype: of the result; by default the one that NumPy gives the sequences.
        padding: "pre" or "post", where short sequences are padded.
        truncating: "pre" or "post", where long sequences lose steps.
        value: as for `pad_sequences`. The mask does not depend on it; but a `Masking` layer reads
            the data, not the mask: give its `mask_value`.

    Returns:
        `Masked` with data (B, T) or (B, T, *features) and its mask (B, T).

    Raises:
        TypeError: as for `pad_sequences`; or the sequences have no common dtype.
        ValueError: as for `pad_sequences`.

    Source:
        Keras 3: `keras.utils.pad_sequences`; PyTorch: `torch.nn.utils.rnn.pad_sequence`.

    Examples:
        >>> import fastmask as fm
        >>> x = fm.pad([[0.5, 0.25], [1.0]])
        >>> x.data
        array([[0.5 , 0.25],
               [1.  , 0.  ]])
        >>> x.mask.valid
        array([[ True,  True],
               [ True, False]])
    """
    known = None if dtype is None else as_dtype(dtype)
    batch = _batch(sequences, maxlen, padding, truncating)
    lengths = np.array(batch.lengths, np.int64)
    return Masked(padded(batch, known, value), Mask.from_lengths(lengths, batch.time, padding))


def unpad(masked: Masked) -> list[Array]:
    """Take the valid steps of each sequence out of a batch; the inverse of `pad`.

    Args:
        masked: data (B, T, ...) with any mask, also one with holes.

    Returns:
        B arrays (T_b, ...) of the dtype of the data. They are a copy of the data, and parts
        of one array in memory.

    Raises:
        TypeError: `masked` is not a `Masked`.
        ValueError: its mask has more axes than (B, T).

    Source:
        PyTorch: `torch.nn.utils.rnn.unpad_sequence`.

    Examples:
        >>> import fastmask as fm
        >>> fm.unpad(fm.Masked([[7, 8, 0], [5, 0, 6]], [[1, 1, 0], [1, 0, 1]]))
        [array([7, 8]), array([5, 6])]
    """
    if not isinstance(masked, Masked):
        raise TypeError(f"masked must be a fastmask.Masked, not {type(masked).__name__}")
    if masked.mask.ndim != 2:
        raise ValueError(f"masked must have a mask (batch, time), not {masked.mask.shape}")
    return list(unpadded(masked))


def _batch(sequences: Any, maxlen: Any, padding: Any, truncating: Any) -> Sequences:
    choice(padding, "padding", ("pre", "post"))
    choice(truncating, "truncating", ("pre", "post"))
    time = None if maxlen is None else whole_number(maxlen, "maxlen", 0)
    return sequences_in(sequences, time, padding == "pre", truncating == "pre")
