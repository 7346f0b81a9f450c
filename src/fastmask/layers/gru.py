"""Gated recurrent unit (Cho et al., 2014)."""

from __future__ import annotations

import numpy as np

from .._checks import flag
from .._typing import Array, Unpack
from ..activations import Activation, kernel_activation
from ..backends import cell as _kinds
from ..backends.recurrent import Settings
from ..initializers import AnyInitializer
from ._cell import Kept, KernelCell, activate, product
from ._keras_arguments import LayerArguments
from ._rnn import OfCell, Recurrent, arguments


class GRUCell(KernelCell):
    """One step of a GRU, for `RNN` and `StackedRNNCells`.

    Args:
        units: size H of the output and of the state.
        activation: "tanh", "sigmoid", "hard_sigmoid", "relu", "linear", or None for "linear";
            "hard_sigmoid_keras2" is that of Keras 2.
        recurrent_activation: the same choices, for the gates.
        use_bias: whether there is a bias.
        kernel_initializer: initial values of the input weights.
        recurrent_initializer: initial values of the state's weights.
        bias_initializer: initial values of the bias.
        dropout: share of inputs dropped in training; at inference nothing is dropped.
        recurrent_dropout: the same for the state.
        reset_after: apply the reset gate after the product with the recurrent kernel.
        seed: seed of the dropout.
        **layer_args: `name`, `dtype` and others; see `Layer`.

    Called with
        inputs: (B, F).
        states: [h], or h, (B, H).
        training: whether dropout drops anything.

    Returns:
        (h, [h]), (B, H) each.

    Raises:
        TypeError: an argument is of a wrong kind.
        ValueError: an argument is out of range, or the inputs or states do not fit.

    Source:
        Keras: `keras.layers.GRUCell`. Weights as in `GRU`.

    Examples:
        >>> import numpy as np
        >>> import fastmask as fm
        >>> cell = fm.layers.GRUCell(4)
        >>> output, (h,) = cell(np.ones((2, 3)), states=cell.get_initial_state(2))
        >>> output.shape
        (2, 4)
    """

    _kind = _kinds.GRU
    _options = (*KernelCell._options, "recurrent_activation", "reset_after")

    def __init__(
        self,
        units: int,
        activation: str | Activation | None = "tanh",
        recurrent_activation: str | Activation | None = "sigmoid",
        use_bias: bool = True,
        kernel_initializer: AnyInitializer = "glorot_uniform",
        recurrent_initializer: AnyInitializer = "orthogonal",
        bias_initializer: AnyInitializer = "zeros",
        *,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        reset_after: bool = True,
        seed: int | None = None,
        **layer_args: Unpack[LayerArguments],
    ) -> None:
        super().__init__(**arguments(locals(), "recurrent_activation", "reset_after"))
        self.recurrent_activation = kernel_activation(recurrent_activation, "recurrent_activation")
        self.reset_after = flag(reset_after, "reset_after")

    def _settings(self) -> Settings:
        return self.activation, self.recurrent_activation, self.reset_after

    def _bias_shape(self) -> tuple[int, ...]:
        return (2, 3 * self.units) if self.reset_after else (3 * self.units,)

    def _formula(self, x: Array, states: list[Array], inputs: Kept, recurrent: Kept) -> list[Array]:
        kernel, recurrent_kernel, bias = self._values()
        (h,) = states
        kept = [1.0] * 3 if recurrent is None else list(recurrent) * (3 // len(recurrent))
        parts = np.split(recurrent_kernel, 3, axis=1)
        b, own = np.zeros((2, 3 * self.units), x.dtype)
        if bias is not None:
            b, own = bias if self.reset_after else (bias, own)
        xz, xr, xn = np.split(product(x, kernel, inputs) + b, 3, axis=1)
        bz, br, bn = np.split(own, 3)
        z = activate(self.recurrent_activation, xz + (h * kept[0]) @ parts[0] + bz)
        r = activate(self.recurrent_activation, xr + (h * kept[1]) @ parts[1] + br)
        dropped = h * kept[2]
        if self.reset_after:
            candidate = xn + r * (dropped @ parts[2] + bn)
        else:
            candidate = xn + (r * dropped) @ parts[2]
        return [z * h + (1 - z) * activate(self.activation, candidate)]


class GRU(Recurrent):
    """Gated recurrent unit over the valid steps of each sequence.

    Args:
        units: size H of the output and of the state.
        activation: "tanh", "sigmoid", "hard_sigmoid", "relu", "linear", or None for "linear";
            "hard_sigmoid_keras2" is that of Keras 2.
        recurrent_activation: the same choices, for the gates.
        use_bias: whether there is a bias.
        kernel_initializer: initial values of the input weights.
        recurrent_initializer: initial values of the state's weights.
        bias_initializer: initial values of the bias.
        dropout: share of inputs dropped in training; at inference nothing is dropped.
        recurrent_dropout: the same for the state; training then takes a plain loop over time.
        seed: seed of the dropout.
        return_sequences: return the outputs of all steps instead of the last one.
        return_state: return (output, h) instead of the output.
        go_backwards: start from the last step; outputs, and their mask, come in that order.
        stateful: start from the state that the last call ended with.
        unroll: accepted as in Keras; has no effect.
        reset_after: apply the reset gate after the product with the recurrent kernel; then the
            bias is (2, 3H), a row for the input and one for the state.
        use_cudnn: accepted as in Keras; has no effect.
        zero_output_for_mask: masked steps give zeros instead of the previous output.
        **layer_args: `name`, `dtype` and others; see `Layer`.

    Called with
        inputs: (B, T, F) array or `Masked`.
        mask: (B, T), instead of the one that the inputs carry.
        initial_state: [h], or h, (B, H).
        training: whether dropout drops anything.

    Returns:
        (B, H), or (B, T, H) with `return_sequences`, which carries the mask on; with
        `return_state` a tuple with h, (B, H).

    Raises:
        TypeError: an argument is of a wrong kind.
        ValueError: an argument is out of range, or the inputs do not fit.

    Source:
        Keras: `keras.layers.GRU`. Weights: kernel (F, 3H), recurrent kernel (H, 3H), bias
        (2, 3H), or (3H,) without `reset_after`; gate order z, r, h. Keras does not reverse the
        mask for `go_backwards`.

    Examples:
        >>> import numpy as np
        >>> import fastmask as fm
        >>> gru = fm.layers.GRU(8, return_state=True)
        >>> y, h = gru(np.ones((2, 5, 3)), mask=[[1, 1, 0, 0, 0], [1, 1, 1, 1, 1]])
        >>> y.shape, bool((y == h).all())
        ((2, 8), True)
    """

    _cell_class = GRUCell
    recurrent_activation, reset_after = OfCell(), OfCell()

    def __init__(
        self,
        units: int,
        activation: str | Activation | None = "tanh",
        recurrent_activation: str | Activation | None = "sigmoid",
        use_bias: bool = True,
        kernel_initializer: AnyInitializer = "glorot_uniform",
        recurrent_initializer: AnyInitializer = "orthogonal",
        bias_initializer: AnyInitializer = "zeros",
        *,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        seed: int | None = None,
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        stateful: bool = False,
        unroll: bool = False,
        reset_after: bool = True,
        use_cudnn: bool | str = "auto",
        zero_output_for_mask: bool = False,
        **layer_args: Unpack[LayerArguments],
    ) -> None:
        super().__init__(**arguments(locals()))
