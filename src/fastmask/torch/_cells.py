"""The cells of torch.nn, whose weights have another layout than those of the kernels.

torch keeps a weight as (gates * H, F), a kernel wants (F, gates * H); torch has two biases where
most kernels have one; and the GRU's gates come as r, z, n in torch, as z, r, n in kernels. The
LSTM's i, f, g, o are in the same order. Cells of formulas have no torch.nn to follow: their
weights are as `fastmask.layers` has them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ..backends.cell import GRU, LSTM, SIMPLE_RNN, Cell, FormulaCell
from ..cells import Cell as Formula
from ..cells import known_cell

KERAS = "keras: "
"""What the modes of the cells in `_keras_cells` begin with; no formula's name has a colon."""

Weights = tuple[Tensor, ...]
"""One direction's weights as kernels order them, in memory as torch has them.

Kernel (gates * H, F), recurrent kernel (gates * H, H), bias (gates * H,), or (2, 3 * H) for the
GRU, and the vectors. Kernels see the matrices as transposed views: transposing in memory takes ten
times as long as copying, and neither packing nor products need it.
"""


class TorchCell(Cell):
    """A cell of torch.nn.

    Args:
        kind: the cell.
        settings: see `fastmask.backends.recurrent`.
        order: torch's block at each place of the kernels; a permutation that is its own inverse.

    Attributes:
        called: see `_recorders.refuse_transforms`.
        state_names: what messages call the states.
        go_backwards: whether a layer with one direction goes backwards.
        return_sequences: whether the outputs of all steps are wanted; else the output has none.
    """

    called: tuple[str, ...]
    state_names: tuple[str, ...]
    go_backwards = False
    return_sequences = True

    def __init__(self, kind: Cell, *settings: str | bool, order: tuple[int, ...] | None = None):
        vars(self).update(vars(kind))
        self.settings, self.order = settings, order
        name = self.prefix.upper()
        self.called = f"fastmask.torch.{name}", name
        self.state_names = ("h", "c")[: self.states]

    def sizes(self, weights: Sequence[Tensor]) -> tuple[int, int]:
        """F and H of weights."""
        weight_ih, weight_hh, *_ = weights
        return weight_ih.shape[1], weight_hh.shape[1]

    def has_bias(self, weights: Sequence[Tensor]) -> bool:
        """Whether there are biases among the weights."""
        return len(weights) > 2

    def in_order(self, weights: Sequence[Tensor]) -> Weights:
        """torch's weight_ih, weight_hh and, where there are any, bias_ih and bias_hh, for packing.

        Weights that keep their order are not copied.
        """
        weight_ih, weight_hh, *biases = [weight.detach() for weight in weights]
        if not biases:
            biases = [weight_ih.new_zeros(len(weight_ih))] * 2
        bias_ih, bias_hh = biases
        return (
            self._reordered(weight_ih),
            self._reordered(weight_hh),
            self._reordered(torch.stack(biases), 1) if self.order else bias_ih + bias_hh,
        )

    def to_kernels(self, weights: Sequence[Tensor]) -> Weights:
        """Copies of what `in_order` returns, which stay unchanged until backward."""
        kernel, recurrent_kernel, bias = self.in_order(weights)
        if self.order is None:
            kernel, recurrent_kernel = _copied(kernel), _copied(recurrent_kernel)
        return kernel, recurrent_kernel, bias

    def new_weights(self, like: Tensor, features: int, units: int) -> Weights:
        """Memory for the gradients of what `in_order` returns."""
        rows = self.gates * units
        return (
            like.new_empty(rows, features),
            like.new_empty(rows, units),
            like.new_empty(rows if self.bias_rows == 1 else (self.bias_rows, rows)),
        )

    def to_torch(self, gradients: Weights, bias: bool) -> list[Tensor]:
        """Gradients in the form of torch's weights; `bias` says whether biases are among these."""
        kernel, recurrent_kernel, dbias = gradients
        found = [self._reordered(kernel), self._reordered(recurrent_kernel)]
        if bias and self.order:
            found += [row.clone() for row in self._reordered(dbias, 1)]
        elif bias:
            found += [dbias, dbias.clone()]  # the gradient of a sum
        return found

    def _reordered(self, weight: Tensor, axis: int = 0) -> Any:
        if self.order is None:
            return weight
        blocks = weight.chunk(self.gates, axis)
        return torch.cat([blocks[i] for i in self.order], axis)


class FormulaTorchCell(FormulaCell, TorchCell):
    """A cell of a formula, with weights as `fastmask.layers` has them.

    Kernel (F, kH), recurrent kernel (H, kH) and bias (k H,), unless the cell has none,
    and the vectors (H,).

    Args:
        formula: the cell.
    """

    def __init__(self, formula: Formula) -> None:
        FormulaCell.__init__(self, formula)
        defaults = {"activation": "tanh", "recurrent_activation": "sigmoid"}
        self.called, self.state_names = ("fastmask.torch.Recurrent",), formula.states
        self.settings = tuple(defaults[name] for name in formula.activations)

    def sizes(self, weights: Sequence[Tensor]) -> tuple[int, int]:
        features, columns = weights[0].shape
        inputs = len(self.formula.inputs)
        return features, columns // inputs if inputs else len(weights[1])

    def has_bias(self, weights: Sequence[Tensor]) -> bool:
        return len(weights) > 1 + bool(self.formula.recurrents) + len(self.formula.vectors)

    def named(self, weights: Sequence[Tensor]) -> Sequence[Any]:
        """Kernel, recurrent kernel and bias, None if there is none, and vectors."""
        kernel, *others = weights
        bias = self.has_bias(weights)
        recurrent = others.pop(0) if self.formula.recurrents else None
        return kernel, recurrent, others.pop(0) if bias else None, *others

    def in_order(self, weights: Sequence[Tensor]) -> Weights:
        _, units = self.sizes(weights)
        kernel, recurrent, bias, *others = self.named([weight.detach() for weight in weights])
        recurrent = kernel.new_zeros(units, 0) if recurrent is None else recurrent
        bias = kernel.new_zeros(self.gates * units) if bias is None else bias
        return kernel.t(), recurrent.t(), bias, *others

    def to_kernels(self, weights: Sequence[Tensor]) -> Weights:
        kernel, recurrent_kernel, *others = self.in_order(weights)
        matrices = (_copied(one.t()).t() for one in (kernel, recurrent_kernel))
        return *matrices, *map(_copied, others)

    def new_weights(self, like: Tensor, features: int, units: int) -> Weights:
        cell = self.formula
        return (
            like.new_empty(features, len(cell.inputs) * units).t(),
            like.new_empty(units, len(cell.recurrents) * units).t(),
            like.new_empty(len(cell.sums) * units),
            *[like.new_empty(units) for _ in cell.vectors],
        )

    def to_torch(self, gradients: Weights, bias: bool) -> list[Tensor]:
        kernel, recurrent_kernel, dbias, *vectors = gradients
        matrices = [kernel.t(), recurrent_kernel.t()][: 1 + bool(self.formula.recurrents)]
        return [*matrices, *([dbias] if bias else []), *vectors]


_RESET_AFTER = True  # torch's GRU applies the reset gate to h U + b, not to h
CELLS = {
    "LSTM": TorchCell(LSTM, "tanh", "sigmoid"),
    "GRU": TorchCell(GRU, "tanh", "sigmoid", _RESET_AFTER, order=(1, 0, 2)),
    "RNN_TANH": TorchCell(SIMPLE_RNN, "tanh"),
    "RNN_RELU": TorchCell(SIMPLE_RNN, "relu"),
}
"""By torch's names for them, `RNNBase.mode`; cells of formulas by `Cell.key`."""


def cell_of(mode: str) -> TorchCell:
    """Find a cell by its name.

    Raises:
        ValueError: a program was exported with a cell that is not defined here.
    """
    if mode not in CELLS and mode.startswith(KERAS):
        from ._keras_cells import keras_cell

        CELLS[mode] = keras_cell(mode)
    if mode not in CELLS:
        formula = known_cell(mode)
        if formula is None:
            name, _, _ = mode.partition(" ")
            raise ValueError(
                f"the program needs the cell {name}: define it, by fastmask.cell with the formula "
                "that it had, before the program runs"
            )
        CELLS[mode] = FormulaTorchCell(formula)
    return CELLS[mode]


def _copied(weight: Tensor) -> Tensor:
    return weight.clone(memory_format=torch.contiguous_format)
