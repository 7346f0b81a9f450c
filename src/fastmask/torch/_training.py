"""Training on the CPU: weights packed once a step, and backward by the addresses of tensors."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib import import_module
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from .._typing import Array
from ..backends.cell import known_as
from . import _interop
from ._cells import TorchCell, Weights
from ._parts import Part
from ._passes import Pass

_DTYPES = {torch.float32: np.dtype(np.float32), torch.float64: np.dtype(np.float64)}
_BIAS = 2  # index of the bias among the weights


class _Trained(NamedTuple):
    kernels: Any  # `fastmask_kernels.cpu.training.Training`
    activations: tuple[Any, ...]


@cache
def _trained(cell: TorchCell) -> _Trained:
    table, end = import_module("fastmask_kernels.cpu"), len(cell.settings) - cell.flags
    training = table.training_of(known_as(cell), *cell.settings[end:])
    return _Trained(training, tuple(cell.settings[:end]))


def pack_all(cell: TorchCell, weights: Sequence[Sequence[Tensor]]) -> tuple[Tensor, list[Array]]:
    """Pack the weights of each direction.

    Returns:
        The packed weights (D, ...), and for each direction those of forward.
    """
    training, first = _trained(cell).kernels, weights[0][0]
    features, units = cell.sizes(weights[0])
    sizes = training.sizes(features, units, _DTYPES[first.dtype])
    packs = first.new_empty(len(weights), sum(sizes))
    memory: Array = packs.numpy()
    for own, direction in zip(memory, weights, strict=True):
        ordered = [one.resolve_neg() for one in cell.in_order(direction)]
        if training.two_rows:
            ordered[_BIAS] = torch.from_numpy(training.bias_of(ordered[_BIAS].numpy()))
        training.pack(own, features, units, _words(ordered))
    return packs, [own[: sizes.forward] for own in memory]


def _words(weights: Sequence[Tensor]) -> list[tuple[int, int, int]]:
    """Address, row stride and column stride of weights as kernels see them, in elements.

    Kernels see transposed matrices.
    """
    matrices = [(one.data_ptr(), *one.stride()[::-1]) for one in weights[:_BIAS]]
    return matrices + [(one.data_ptr(), 0, one.stride(0)) for one in weights[_BIAS:]]


def run_by_address(this: Pass, part: Part, found: Weights) -> None:
    """Run a part, and write the gradients of its weights to `found`."""
    training, activations = _trained(this.cell)
    (_, time, features), (_, batch, units) = this.x.shape, this.states[0].shape
    dtype, plan, outs, vectors = _DTYPES[this.x.dtype], part.plan, list(found), len(found) - 3
    walk = this.backwards, this.zero_masked, _interop.num_threads()
    if this.cell.keeps_gates and not this.saved:
        _save_again(this, part, walk)
    if training.two_rows:
        outs[_BIAS] = this.x.new_empty(training.sums * units)
    size, d, first = this.x.element_size(), this.direction, part.rows.start or 0
    row, step = d * batch + first, d * this.steps[0].shape[1] + part.steps.start
    sizes = training.sizes(features, units, dtype)
    singles = this.x, this.dout, this.gates, *this.weights
    x, dout, gates, packs, *of_rows = map(_dense, (*singles, *this.dlast))
    steps, states = list(map(_dense, this.steps)), list(map(_dense, this.states))
    begin = packs.data_ptr() + (d * sum(sizes) + sizes.forward) * size
    end = begin + (sizes.recurrent + sizes.inputs) * size
    addresses = (
        x.data_ptr() + first * time * features * size,
        this.dx.data_ptr() + first * time * features * size if this.dx.shape[1] else 0,
        gates.data_ptr(),
        dout.data_ptr() + first * time * units * size if dout.shape[1] else 0,
        begin,
        begin + sizes.recurrent * size,
        _words(outs),
        [
            *[one.data_ptr() + row * units * size for one in (*this.dstates, *of_rows)],
            *[one.data_ptr() + step * units * size for one in steps],
            *[one.data_ptr() + row * units * size for one in states],
            *[end + n * training.vector_size(units, dtype) for n in range(vectors)],
        ],
    )
    rows = len(plan.order)
    if len(this.x) != batch:
        time = training.ragged
    shape, owners = (rows, time, features, units), (this, outs, steps, states, of_rows)
    with _interop.lent():
        training.backward(
            *(shape, dtype, plan, activations, walk, addresses, (*owners, x, dout, gates, packs))
        )
    if training.two_rows:
        training.split_dbias(outs[_BIAS].numpy(), found[_BIAS].numpy())


def _dense(tensor: Tensor) -> Tensor:
    """The tensor, or a contiguous copy."""
    if tensor.is_contiguous() and not tensor.is_neg():
        return tensor
    return tensor.resolve_neg().contiguous()


def _save_again(this: Pass, part: Part, walk: tuple[bool, bool, int]) -> None:
    """Recompute what forward did not save, for one part."""
    (training, activations), d = _trained(this.cell), this.direction
    x = this.x.numpy(force=True)[part.rows]
    units = this.states[0].shape[2]
    forward = training.sizes(x.shape[2], units, x.dtype).forward
    packed = this.weights[0].numpy(force=True)[d, :forward]
    first = [np.ascontiguousarray(one.numpy(force=True)[d, part.rows]) for one in this.states]
    with _interop.lent():
        training.save_again(
            this.gates.numpy()[: len(part.plan.steps)],
            np.ascontiguousarray(x),
            *(part.plan, packed, first, activations, *walk),
        )
