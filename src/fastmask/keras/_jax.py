"""The module for JAX, which runs the same layers as `fastmask.jax`."""

from __future__ import annotations

from typing import Any

import jax

from ..backends.layer import Layer
from ..jax._layer import run as run_layer
from ._backend import arrays  # noqa: F401 - see `KerasBackend`


def why_not_now(x: Any) -> str:  # noqa: ARG001 - a traced array does not say where it will be
    """See `KerasBackend`."""
    platform = jax.default_backend()
    return "" if platform == "cpu" else f"kernels compute for JAX on the CPU, not on {platform}"


def changed(model: Any, layers: list[Any], converted: bool) -> None:
    """See `KerasBackend`: nothing to do, since `convert` drops the functions that Keras traced."""


def run(
    layer: Layer,
    x: Any,
    mask: Any,
    states: list[Any],
    weights: list[Any],
    training: bool,  # noqa: ARG001 - JAX knows whether it differentiates
) -> tuple[Any, list[Any]]:
    """See `KerasBackend`."""
    return run_layer(layer, x, mask, states, weights)
