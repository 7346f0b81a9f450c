"""Softmax over the steps that exist.

out = exp(x - top) / total, where top is the largest valid x of a row's feature, so that no power
overflows, and total the sum of the powers. Between the two compiled passes NumPy takes exp of
everything at once: its exp is vectorised, and exp(-inf) gives the zeros at masked steps.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types
from numpy.typing import NDArray

from ..checks import checked
from .jit import array, compiled, output

Array = NDArray[np.floating]


@checked
def masked_softmax(out: Array, x: Array, valid: NDArray[np.bool_]) -> None:
    """See `spec`."""
    per_feature = np.empty(x.shape[2], x.dtype)
    _subtract_top.for_dtype(x.dtype)(out, per_feature, x, valid)
    np.exp(out, out=out)
    _divide_by_total.for_dtype(x.dtype)(out, per_feature, valid)


@compiled(lambda t: types.void(output(t, 3), output(t, 1), array(t, 3), array(types.boolean, 2)))
def _subtract_top(out: Any, top: Any, x: Any, valid: Any) -> None:
    """out = x - top, or -inf at masked steps; NaN counts as larger than everything."""
    rows, time, features = x.shape
    for b in range(rows):
        top[:] = -np.inf
        for t in range(time):
            if valid[b, t]:
                for f in range(features):
                    value = x[b, t, f]
                    if value > top[f] or value != value:
                        top[f] = value
        for t in range(time):
            if valid[b, t]:
                for f in range(features):
                    out[b, t, f] = x[b, t, f] - top[f]
            else:
                for f in range(features):
                    out[b, t, f] = -np.inf


@compiled(lambda t: types.void(output(t, 3), output(t, 1), array(types.boolean, 2)))
def _divide_by_total(out: Any, total: Any, valid: Any) -> None:
    """Powers become shares of their sum; masked steps stay as they are."""
    rows, time, features = out.shape
    for b in range(rows):
        total[:] = 0
        for t in range(time):
            if valid[b, t]:
                for f in range(features):
                    total[f] += out[b, t, f]
        for t in range(time):
            if valid[b, t]:
                for f in range(features):
                    out[b, t, f] /= total[f]
