"""The number format in which recurrent weights are multiplied."""

from __future__ import annotations

from contextlib import AbstractContextManager
from contextvars import ContextVar
from typing import Any

import numpy as np

from ...settings import setting

WEIGHTS = ("float32", "tf32", "bfloat16")
IN_WORD = {"tf32": 1, "bfloat16": 2}  # numbers in 32 bits
_weights: ContextVar[str] = ContextVar("fastmask_cuda_weights", default="float32")


def use_weights(name: str) -> AbstractContextManager[None]:
    """Choose the form of recurrent weights in layers of float32, in this thread or task.

    With "tf32" or "bfloat16" the recurrent kernel and what it is multiplied with (h; r * h of a
    GRU without `reset_after`; backward, the gradients of the gates) are rounded to 10 or 7 bits of
    mantissa, and tensor cores multiply them. Sums, states, gates, everything that is stored and
    the other products stay in float32. Use packed weights under the option that they were packed
    with.

    Args:
        name: "float32" (nothing is rounded), "tf32" or "bfloat16".

    Raises:
        ValueError: there is no such form; kernels raise it for arrays of float64.

    Example:
        with use_weights("bfloat16"):
            packed = cupy.empty(lstm_packed_size(16, 64, np.float32), np.float32)
            lstm_pack(packed, kernel, recurrent_kernel, bias)
            lstm_fwd(out, h_last, c_last, h_steps, c_steps, gates, x, ...)
    """
    if name not in WEIGHTS:
        raise ValueError(f"weights must be one of {', '.join(WEIGHTS)}, not {name!r}")
    return setting(_weights, name)


def chosen_weights() -> str:
    """What `use_weights` has chosen in this thread or task."""
    return _weights.get()


def weights_of(dtype: Any) -> str:
    """The form chosen for a layer of `dtype`.

    Raises:
        ValueError: the layer's numbers are too wide for it.
    """
    name = _weights.get()
    if name != "float32" and np.dtype(dtype) != np.float32:
        raise ValueError(f"{name} weights need arrays of float32, not {np.dtype(dtype)}")
    return name
