"""Ragged values to padded rows and back.

Bytes are copied as unsigned words (see `gather`). A padded row (T, F) is one run of kept values and
one of padding, so it is handled as T * F consecutive words; blocks share it in the first dimension
of the grid and loop over rows in the second, which needs no division.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import cuda

from ..bits import WORDS
from .gather import copy_rows
from .runtime.checks import checked
from .runtime.errors import CALLS, LATE, expect, filler
from .runtime.kernel import Kernel, family, int32, int64, kernel, number, pointer, span_rows


@checked
def pad_rows(
    out: Any, values: Any, offsets: Any, value: Any, pre_pad: bool, pre_truncate: bool
) -> None:
    """See `spec`; offsets that descend or leave `values` are reported later, see `errors`."""
    batch, time, features = out.shape
    if not batch:
        return
    word = WORDS[math.gcd(out.dtype.itemsize, out.address, values.address, value.address, 8)]
    period = out.dtype.itemsize // word.itemsize
    width = features * period
    most, late = len(values), LATE.format("pad_rows")

    def message(row: int) -> str:
        must = f"offsets must ascend within 0, ..., {most}, the length of values"
        return f"{must}, but those of row {row} do not ({late})"

    report = expect(message, out.device)
    _pad_rows(word).launch(
        *(*span_rows(max(time * width, 1), batch), out, values, offsets, value),
        (*report, filler(out.dtype, word)),
        *((batch, time, width, len(values), period), (bool(pre_pad), bool(pre_truncate))),
    )


@checked
def unpad_rows(values: Any, padded: Any, steps: Any) -> None:
    """See `spec`; a step outside `padded` is reported later, see `errors`."""
    batch, time, _ = padded.shape
    most, late = batch * time, LATE.format("unpad_rows")

    def message(p: int) -> str:
        return f"steps must be in [0, {most}), the steps of padded, but steps[{p}] is not ({late})"

    copy_rows(values, padded, steps, most, message)


@family("u1", "u2", "u4", "u8")
def _pad_rows(dtype: np.dtype[Any]) -> Kernel:
    word, ints = number(dtype), pointer(int64)
    words = pointer(word)

    @kernel(
        *(words, words, ints, words, (ints, int64, word)),
        *((int64, int64, int64, int64, int32), (int32, int32)),
    )
    def pad_rows(
        out: Any, values: Any, offsets: Any, value: Any, report: Any, sizes: Any, pre: Any
    ) -> None:
        told, call, fill = report
        pre_pad, pre_truncate = pre
        rows, time, width, steps, period = sizes  # in words: `width` per step, `period` per item
        words = time * width
        b = cuda.blockIdx.y
        while b < rows:
            start, stop = offsets[b], offsets[b + 1]
            i = cuda.grid(1)
            if start < 0 or stop < start or stop > steps:
                if i == 0:
                    told[0] = b * CALLS + call
                while i < words:
                    out[b * words + i] = fill
                    i += cuda.gridsize(1)
            else:
                kept = min(stop - start, time)
                source = (stop - kept if pre_truncate else start) * width
                begin = (time - kept) * width if pre_pad else 0
                end = begin + kept * width
                while i < words:
                    if begin <= i < end:
                        out[b * words + i] = values[source + i - begin]
                    else:
                        out[b * words + i] = value[0 if period == 1 else i % period]
                    i += cuda.gridsize(1)
            b += cuda.gridDim.y

    return pad_rows
