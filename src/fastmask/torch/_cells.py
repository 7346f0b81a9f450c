"""How the recurrent cells of torch differ from those of the kernels: in the form of weights.

torch keeps a weight as (gates * H, F), a kernel wants (F, gates * H); torch has two biases where
most kernels have one; and the GRU's gates come as r, z, n in torch, as z, r, n in kernels. The
LSTM's i, f, g, o are in the same order.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..backends.cell import GRU, LSTM, SIMPLE_RNN, Cell


class TorchCell(Cell):
    """A cell with what it computes in torch.

    Args:
        kind: the cell.
        settings: see `fastmask.backends.recurrent`.
        order: torch's block at each place of the kernels; a permutation that undoes itself.
    """

    def __init__(self, kind: Cell, *settings: str | bool, order: tuple[int, ...] | None = None):
        vars(self).update(vars(kind))
        self.settings, self.order = settings, order


_RESET_AFTER = True  # torch's GRU applies the reset gate to h U + b, not to h
CELLS = {
    "LSTM": TorchCell(LSTM, "tanh", "sigmoid"),
    "GRU": TorchCell(GRU, "tanh", "sigmoid", _RESET_AFTER, order=(1, 0, 2)),
    "RNN_TANH": TorchCell(SIMPLE_RNN, "tanh"),
    "RNN_RELU": TorchCell(SIMPLE_RNN, "relu"),
}
"""By the names that torch has for them, `RNNBase.mode`."""


class Weights(NamedTuple):
    """One direction's weights as kernels order them, in memory as torch has them.

    kernel (gates * H, F), recurrent_kernel (gates * H, H), bias (gates * H,), or (2, 3 * H) for
    the GRU. Kernels see the matrices transposed: to transpose them in memory takes ten times as
    long as to copy them, and who packs or multiplies them does not care.
    """

    kernel: Tensor
    recurrent_kernel: Tensor
    bias: Tensor


def in_order(cell: TorchCell, weights: Sequence[Tensor]) -> Weights:
    """torch's weight_ih, weight_hh and, where there are any, bias_ih and bias_hh, for packing.

    What needs no other order is not copied.
    """
    weight_ih, weight_hh, *biases = [weight.detach() for weight in weights]
    if not biases:
        biases = [weight_ih.new_zeros(len(weight_ih))] * 2
    bias_ih, bias_hh = biases
    return Weights(
        _reordered(cell, weight_ih),
        _reordered(cell, weight_hh),
        _reordered(cell, torch.stack(biases), 1) if cell.order else bias_ih + bias_hh,
    )


def to_kernels(cell: TorchCell, weights: Sequence[Tensor]) -> Weights:
    """`in_order`, as copies, which backward may find unchanged."""
    kernel, recurrent_kernel, bias = in_order(cell, weights)
    if cell.order is None:
        kernel, recurrent_kernel = _copied(kernel), _copied(recurrent_kernel)
    return Weights(kernel, recurrent_kernel, bias)


def to_torch(cell: TorchCell, gradients: Weights, bias: bool) -> list[Tensor]:
    """Gradients in the form of torch's weights; `bias` says whether biases are among these."""
    found = [
        _reordered(cell, gradients.kernel),
        _reordered(cell, gradients.recurrent_kernel),
    ]
    if bias and cell.order:
        found += [row.clone() for row in _reordered(cell, gradients.bias, 1)]
    elif bias:
        found += [gradients.bias, gradients.bias.clone()]  # the gradient of a sum
    return found


def _copied(weight: Tensor) -> Tensor:
    return weight.clone(memory_format=torch.contiguous_format)


def _reordered(cell: TorchCell, weight: Tensor, axis: int = 0) -> Any:
    if cell.order is None:
        return weight
    blocks = weight.chunk(cell.gates, axis)
    return torch.cat([blocks[i] for i in cell.order], axis)
