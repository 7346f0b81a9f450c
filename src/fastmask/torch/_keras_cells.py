"""The cells of Keras's layers: weights as Keras has them, activations, and both ways through time.

A mode of theirs, which is all that a compiled or exported program holds of a layer, spells them
out: "keras: LSTM tanh sigmoid go_backwards".
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from ..backends.cell import GRU, LSTM, SIMPLE_RNN
from ._cells import KERAS, TorchCell, Weights

_KINDS = {"LSTM": LSTM, "GRU": GRU, "SimpleRNN": SIMPLE_RNN}
_ACTIVATIONS = {"LSTM": 2, "GRU": 2, "SimpleRNN": 1}


def mode_of(
    kind: str,
    activations: Sequence[str],
    reset_after: bool,
    go_backwards: bool,
    return_sequences: bool,
) -> str:
    """The mode of a layer: its class, its activations, and what it does otherwise than most."""
    flags = {
        "reset_after": reset_after,
        "go_backwards": go_backwards,
        "last_only": not return_sequences,
    }
    return KERAS + " ".join([kind, *activations, *(name for name in flags if flags[name])])


def keras_cell(mode: str) -> KerasCell:
    """The cell of a mode from `mode_of`."""
    kind, *words = mode.removeprefix(KERAS).split()
    count = _ACTIVATIONS[kind]
    return KerasCell(kind, words[:count], words[count:])


class KerasCell(TorchCell):
    """Kernel (F, gates * H), recurrent kernel (H, gates * H), bias (gates * H,) or none.

    The bias of a GRU with `reset_after` is (2, 3 * H). See `mode_of` for the arguments.
    """

    def __init__(self, kind: str, activations: Sequence[str], flags: Sequence[str]) -> None:
        self.reset_after = "reset_after" in flags
        settings: tuple[str | bool, ...] = tuple(activations)
        if kind == "GRU":
            settings = (*settings, self.reset_after)
        TorchCell.__init__(self, _KINDS[kind], *settings)
        self.called = (kind,)
        self.go_backwards = "go_backwards" in flags
        self.return_sequences = "last_only" not in flags

    def sizes(self, weights: Sequence[Tensor]) -> tuple[int, int]:
        kernel, recurrent_kernel, *_ = weights
        return len(kernel), len(recurrent_kernel)

    def in_order(self, weights: Sequence[Tensor]) -> Weights:
        kernel, recurrent_kernel, *biases = [weight.detach() for weight in weights]
        columns = recurrent_kernel.shape[1]
        bias = biases[0] if biases else kernel.new_zeros(columns)
        if self.bias_rows > bias.dim():  # without a row for the state's own
            rows = bias.new_zeros(self.bias_rows, columns)
            rows[0] = bias
            bias = rows
        return kernel.t(), recurrent_kernel.t(), bias

    def to_kernels(self, weights: Sequence[Tensor]) -> Weights:
        return self.in_order([weight.detach().clone() for weight in weights])

    def to_torch(self, gradients: Weights, bias: bool) -> list[Tensor]:
        kernel, recurrent_kernel, dbias = gradients
        if self.bias_rows > 1 and not self.reset_after:
            dbias = dbias[0].clone()
        return [kernel.t(), recurrent_kernel.t(), *([dbias] if bias else [])]
