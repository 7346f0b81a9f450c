"""Calls of host code from a compiled JAX program; a string says what to compute."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from .._typing import Array
from ..backends.layer import compute
from . import _ffi, _native
from ._pages import ask_for_large_pages

_TARGET = "fastmask_layer"
WHY_NO_FFI = _ffi.why_not()


def _on_large_pages(words: str, outputs: Sequence[Array], inputs: Sequence[Array]) -> None:
    """`compute`, with large pages for large outputs, whose memory XLA has just allocated."""
    for output in outputs:
        ask_for_large_pages(output)
    try:
        compute(words, outputs, inputs)
    finally:
        # Workers may still read XLA's memory, which it frees when this returns.
        if pools := sys.modules.get("fastmask_kernels.cpu.parallel.pool"):
            pools.pool.settle()


if not WHY_NO_FFI:
    _ffi.register(_TARGET, _native.handler_of(_on_large_pages))


def call(
    words: str,
    results: Sequence[Any],
    inputs: Sequence[Any],
    in_place: dict[int, int] | None = None,
) -> Sequence[Any]:
    """Call `backends.layer.compute` in a JAX program; under vmap, for one example after the other.

    Args:
        words: see `backends.layer.compute`.
        results: their shapes and dtypes.
        inputs: arrays.
        in_place: result by input, as indices: the result may overwrite the input. XLA copies
            inputs that are still used.
    """
    if not WHY_NO_FFI and jax.default_backend() == "cpu":
        host = jax.ffi.ffi_call(
            _TARGET, list(results), vmap_method="sequential", input_output_aliases=in_place
        )
        found: Sequence[Any] = host(*inputs, words=words)
        return found

    def on_host(*arrays: Any) -> tuple[Array, ...]:
        outputs = [np.empty(one.shape, one.dtype) for one in results]
        compute(words, outputs, [np.ascontiguousarray(array) for array in arrays])
        return tuple(outputs)

    copied: Sequence[Any] = jax.pure_callback(
        on_host, tuple(results), *inputs, vmap_method="sequential"
    )
    return copied
