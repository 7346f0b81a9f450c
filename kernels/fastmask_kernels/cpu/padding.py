"""Ragged values to padded rows and back.

Bytes are copied as unsigned words (see `gather`). In a padded row (T, F) the kept values are
one run and the padding another, so both kernels see a row as T * F consecutive words.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types
from numpy.typing import NDArray

from ..bits import word_of
from ..checks import checked
from .gather import copy_rows
from .jit import array, compiled, output

Ints = NDArray[np.int64]


@checked
def pad_rows(
    out: NDArray[Any],
    values: NDArray[Any],
    offsets: Ints,
    value: NDArray[Any],
    pre_pad: bool,
    pre_truncate: bool,
) -> None:
    """See `spec`.

    Raises:
        ValueError: offsets do not ascend or leave `values`.
    """
    batch, time, features = out.shape
    word = word_of(out.dtype)
    bad = _pad_rows.for_dtype(word)(
        out.view(word).reshape(batch, time * features * value.itemsize // word.itemsize),
        values.view(word).reshape(-1),
        offsets,
        value.view(word),
        time,
        len(values),
        bool(pre_pad),
        bool(pre_truncate),
    )
    if bad >= 0:
        raise ValueError(
            f"offsets must ascend within 0, ..., {len(values)}, the length of values, "
            f"but row {bad} goes from {offsets[bad]} to {offsets[bad + 1]}"
        )


@checked
def unpad_rows(values: NDArray[Any], padded: NDArray[Any], steps: Ints) -> None:
    """See `spec`.

    Raises:
        ValueError: a step is not one of `padded`.
    """
    batch, time, features = padded.shape
    bad = copy_rows(values, padded.reshape(batch * time, features), steps)
    if bad >= 0:
        raise ValueError(
            f"steps must be in [0, {batch * time}), the steps of padded, "
            f"but steps[{bad}] is {steps[bad]}"
        )


@compiled(
    lambda u: types.int64(
        output(u, 2),
        array(u, 1),
        array(types.int64, 1),
        array(u, 1),
        types.int64,
        types.int64,
        types.boolean,
        types.boolean,
    )
)
def _pad_rows(
    out: Any,
    values: Any,
    offsets: Any,
    value: Any,
    time: Any,
    steps: Any,
    pre_pad: Any,
    pre_truncate: Any,
) -> int:
    # Indices are unsigned: a signed one would be tested for being negative, which keeps the
    # copies scalar (4 times slower).
    row_words = out.shape[1]
    step_words = row_words // time if time else 0
    fill, period = value[0], np.uint64(value.size)
    for b in range(out.shape[0]):
        start, stop = offsets[b], offsets[b + 1]
        if start < 0 or stop < start or stop > steps:
            return b
        kept = min(stop - start, time)
        source = np.uint64((stop - kept if pre_truncate else start) * step_words)
        target = np.uint64((time - kept) * step_words if pre_pad else 0)
        words = np.uint64(kept * step_words)
        row = out[b]
        for i in range(words):
            row[target + i] = values[source + i]
        begin, end = (np.uint64(0), target) if pre_pad else (words, np.uint64(row_words))
        if period == 1:
            for i in range(begin, end):
                row[i] = fill
        else:
            for i in range(begin, end):
                row[i] = value[i % period]
    return -1
