"""How the recurrent cells of torch differ from those of the kernels: in the form of weights.

torch keeps a weight as (gates * H, F), a kernel wants (F, gates * H); torch has two biases where
most kernels have one; and the GRU's gates come as r, z, n in torch, as z, r, n in kernels. The
LSTM's i, f, g, o are in the same order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor


@dataclass(frozen=True)
class Cell:
    """A cell as its kernels see it.

    Attributes:
        name: what its kernels' names begin with.
        states: how many states it has.
        gates: how many blocks of H columns its weights have.
        width: how many blocks of H columns backward works on at each step.
        activations: names, as the kernels take them.
        flags: what the kernels take behind the activations, and at the end of packing.
        order: torch's block at each place of the kernels; a permutation that undoes itself.
    """

    name: str
    states: int
    gates: int
    width: int
    activations: tuple[str, ...]
    flags: tuple[bool, ...] = ()
    order: tuple[int, ...] | None = None

    @property
    def keeps_gates(self) -> bool:
        """Whether forward can keep gates for backward, beside the states."""
        return self.width > 1


_RESET_AFTER = True  # torch's GRU applies the reset gate to h U + b, not to h
CELLS = {
    "LSTM": Cell("lstm", 2, 4, 4, ("tanh", "sigmoid")),
    "GRU": Cell("gru", 1, 3, 4, ("tanh", "sigmoid"), (_RESET_AFTER,), (1, 0, 2)),
    "RNN_TANH": Cell("rnn", 1, 1, 1, ("tanh",)),
    "RNN_RELU": Cell("rnn", 1, 1, 1, ("relu",)),
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


def in_order(cell: Cell, weights: Sequence[Tensor]) -> Weights:
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


def to_kernels(cell: Cell, weights: Sequence[Tensor]) -> Weights:
    """`in_order`, as copies, which backward may find unchanged."""
    kernel, recurrent_kernel, bias = in_order(cell, weights)
    if cell.order is None:
        kernel, recurrent_kernel = _copied(kernel), _copied(recurrent_kernel)
    return Weights(kernel, recurrent_kernel, bias)


def to_torch(cell: Cell, gradients: Weights, bias: bool) -> list[Tensor]:
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


def _reordered(cell: Cell, weight: Tensor, axis: int = 0) -> Any:
    if cell.order is None:
        return weight
    blocks = weight.chunk(cell.gates, axis)
    return torch.cat([blocks[i] for i in cell.order], axis)
