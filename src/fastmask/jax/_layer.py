"""A layer that JAX can differentiate, in reverse mode."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..backends.layer import BACKWARD, FORWARD, Layer
from ._calls import call


def run(
    layer: Layer, x: Any, mask: Any, states: Sequence[Any], weights: Sequence[Any]
) -> tuple[Any, list[Any]]:
    """Run a layer.

    Args:
        layer: which one.
        x: (B, T, F), float32 or float64.
        mask: (B, T), of any dtype, or None.
        states: the initial ones, (B, H) each, of the dtype of x.
        weights: kernel, recurrent kernel and optionally bias, of the dtype of x.

    Returns:
        The outputs (B, T, H), or the last one (B, H), and the last states.
    """
    if len(weights) < 3:
        weights = [*weights, jnp.zeros(layer.bias_shape(weights[1].shape[1]), x.dtype)]
    valid = jnp.zeros((0, 0), bool) if mask is None else jnp.asarray(mask) != 0
    out, *last = _differentiable(layer)(x, valid, *states, *weights)
    return out, last


@cache
def _differentiable(layer: Layer) -> Any:
    """The layer as a function of x, a mask, states and weights."""
    count = layer.cell.states

    def results(x: Any, state: Any) -> list[Any]:
        batch, time, _ = x.shape
        units = state.shape[1]
        out = (batch, time, units) if layer.return_sequences else (batch, units)
        return [out] + [(batch, units)] * count

    def typed(shapes: Sequence[Any], x: Any) -> list[Any]:
        return [jax.ShapeDtypeStruct(shape, x.dtype) for shape in shapes]

    @jax.custom_vjp
    def compute(x: Any, mask: Any, *others: Any) -> Any:
        found = call(
            f"{FORWARD} {layer.words}", typed(results(x, others[0]), x), (x, mask, *others)
        )
        return tuple(found)

    def forward(x: Any, mask: Any, *others: Any) -> Any:
        rows = x.shape[0] * x.shape[1]
        shapes = results(x, others[0]) + layer.saved(rows, others[0].shape[1])
        found = call(f"{FORWARD} {layer.words}", typed(shapes, x), (x, mask, *others))
        return tuple(found[: 1 + count]), (x, mask, others, tuple(found[1 + count :]))

    def backward(kept: Any, gradients: Any) -> Any:
        x, mask, others, saved = kept
        wanted, in_place = (x, *others), {}
        inputs = (x, mask, *others, *saved, *gradients)
        if layer.cell.keeps_gates:
            in_place[len(others) + 1 + len(saved)] = len(wanted)
            wanted = *wanted, saved[-1]
        shapes = typed([array.shape for array in wanted], x)
        dx, *found = call(f"{BACKWARD} {layer.words}", shapes, inputs, in_place)
        return dx, np.zeros(mask.shape, jax.dtypes.float0), *found[: len(others)]

    compute.defvjp(forward, backward)
    return compute
