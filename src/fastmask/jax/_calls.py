"""Calls of host code from a compiled program, described by words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from .._typing import Array
from ..backends.layer import compute
from . import _ffi

_TARGET = "fastmask_layer"
WHY_NO_FFI = _ffi.why_not()
if not WHY_NO_FFI:
    _ffi.register(_TARGET, compute)


def call(words: str, results: Sequence[Any], inputs: Sequence[Any]) -> Sequence[Any]:
    """The results of `backends.layer.compute` in a JAX program; vmap runs one after the other.

    Args:
        words: see `backends.layer.compute`.
        results: their shapes and dtypes.
        inputs: arrays.
    """
    if not WHY_NO_FFI and jax.default_backend() == "cpu":
        found: Sequence[Any] = jax.ffi.ffi_call(_TARGET, list(results), vmap_method="sequential")(
            *inputs, words=words
        )
        return found

    def on_host(*arrays: Any) -> tuple[Array, ...]:
        outputs = [np.empty(one.shape, one.dtype) for one in results]
        compute(words, outputs, [np.ascontiguousarray(array) for array in arrays])
        return tuple(outputs)

    copied: Sequence[Any] = jax.pure_callback(
        on_host, tuple(results), *inputs, vmap_method="sequential"
    )
    return copied
