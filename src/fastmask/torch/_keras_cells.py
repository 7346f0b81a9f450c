"""The cells of Keras's layers, with Keras's layout of weights, activations and directions.

Their mode, which is all that a compiled or exported program keeps of a layer, spells these
out: "keras: LSTM tanh sigmoid go_backwards".
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from ..backends.layer import Layer, layer_of
from ._cells import KERAS, TorchCell, Weights


def keras_cell(mode: str) -> KerasCell:
    """The cell of a mode, which is `KERAS` and the words of a layer."""
    return KerasCell(layer_of(mode.removeprefix(KERAS)))


class KerasCell(TorchCell):
    """Kernel (F, gates * H), recurrent kernel (H, gates * H), bias (gates * H,) or none.

    The bias of a GRU with `reset_after` is (2, 3 * H).

    Args:
        layer: the layer to compute.
    """

    def __init__(self, layer: Layer) -> None:
        TorchCell.__init__(self, layer.cell, *layer.settings)
        self.called = (f"fastmask's {layer.kind}",)
        self.reset_after = layer.reset_after
        self.go_backwards = layer.go_backwards
        self.return_sequences = layer.return_sequences

    def sizes(self, weights: Sequence[Tensor]) -> tuple[int, int]:
        kernel, recurrent_kernel, *_ = weights
        return len(kernel), len(recurrent_kernel)

    def in_order(self, weights: Sequence[Tensor]) -> Weights:
        kernel, recurrent_kernel, *biases = [weight.detach() for weight in weights]
        columns = recurrent_kernel.shape[1]
        bias = biases[0] if biases else kernel.new_zeros(columns)
        if self.bias_rows > bias.dim():  # no row for the state's bias
            rows = bias.new_zeros(self.bias_rows, columns)
            rows[0] = bias
            bias = rows
        return kernel.t(), recurrent_kernel.t(), bias

    def to_kernels(self, weights: Sequence[Tensor]) -> Weights:
        return self.in_order([weight.detach().clone() for weight in weights])

    def new_weights(self, like: Tensor, features: int, units: int) -> Weights:
        columns = self.gates * units
        return (
            like.new_empty(features, columns).t(),
            like.new_empty(units, columns).t(),
            like.new_empty(columns if self.bias_rows == 1 else (self.bias_rows, columns)),
        )

    def to_torch(self, gradients: Weights, bias: bool) -> list[Tensor]:
        kernel, recurrent_kernel, dbias = gradients
        if self.bias_rows > 1 and not self.reset_after:
            dbias = dbias[0].clone()
        return [kernel.t(), recurrent_kernel.t(), *([dbias] if bias else [])]
