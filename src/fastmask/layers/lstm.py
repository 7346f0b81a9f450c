"""Long short-term memory."""

from __future__ import annotations

from typing import Any

import numpy as np

from .._checks import flag
from .._typing import Array, Unpack
from ..activations import Activation, kernel_activation
from ..backends import cell as _kinds
from ..backends.recurrent import Settings
from ..initializers import AnyInitializer
from ..initializers.fixed import Given
from ._cell import Kept, KernelCell, activate, product
from ._keras_arguments import LayerArguments
from ._rnn import OfCell, Recurrent, arguments


class LSTMCell(KernelCell):
    """One step of an LSTM, for `RNN` and `StackedRNNCells`.

    Args:
        units: size H of the output and of both states.
        activation: "tanh", "sigmoid", "hard_sigmoid", "relu", "linear", or None for "linear";
            "hard_sigmoid_keras2" is that of Keras 2.
        recurrent_activation: the same choices, for the gates.
        use_bias: whether there is a bias.
        kernel_initializer: initial values of the input weights.
        recurrent_initializer: initial values of the state's weights.
        bias_initializer: initial values of the bias.
        unit_forget_bias: whether the forget gate's bias starts as ones.
        dropout: share of inputs dropped in training; at inference nothing is dropped.
        recurrent_dropout: the same for the state.
        seed: seed of the dropout.
        **layer_args: `name`, `dtype` and others; see `Layer`.

    Called with
        inputs: (B, F).
        states: [h, c], (B, H) each.
        training: whether dropout drops anything.

    Returns:
        (h, [h, c]), (B, H) each.

    Raises:
        TypeError: an argument is of a wrong kind.
        ValueError: an argument is out of range, or the inputs or states do not fit.

    Source:
        Keras: `keras.layers.LSTMCell`. Weights as in `LSTM`.

    Examples:
        >>> import numpy as np
        >>> import fastmask as fm
        >>> cell = fm.layers.LSTMCell(4)
        >>> output, (h, c) = cell(np.ones((2, 3)), states=cell.get_initial_state(2))
        >>> output.shape, c.shape
        ((2, 4), (2, 4))
    """

    _kind = _kinds.LSTM
    _options = (*KernelCell._options, "recurrent_activation", "unit_forget_bias")

    def __init__(
        self,
        units: int,
        activation: str | Activation | None = "tanh",
        recurrent_activation: str | Activation | None = "sigmoid",
        use_bias: bool = True,
        kernel_initializer: AnyInitializer = "glorot_uniform",
        recurrent_initializer: AnyInitializer = "orthogonal",
        bias_initializer: AnyInitializer = "zeros",
        unit_forget_bias: bool = True,
        *,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        seed: int | None = None,
        **layer_args: Unpack[LayerArguments],
    ) -> None:
        super().__init__(**arguments(locals(), "recurrent_activation", "unit_forget_bias"))
        self.recurrent_activation = kernel_activation(recurrent_activation, "recurrent_activation")
        self.unit_forget_bias = flag(unit_forget_bias, "unit_forget_bias")

    def _settings(self) -> Settings:
        return self.activation, self.recurrent_activation

    def _first_bias(self, shape: tuple[int, ...], dtype: Any) -> Array:
        if not self.unit_forget_bias:
            return super()._first_bias(shape, dtype)
        if isinstance(self.bias_initializer, Given):
            raise ValueError(
                "bias_initializer must not be an array where unit_forget_bias is True, because "
                "a part of the bias then starts as ones: pass unit_forget_bias=False"
            )
        i = super()._first_bias((self.units,), dtype)
        co = super()._first_bias((2 * self.units,), dtype)
        return np.concatenate([i, np.ones(self.units, dtype), co])

    def _formula(self, x: Array, states: list[Array], inputs: Kept, recurrent: Kept) -> list[Array]:
        kernel, recurrent_kernel, bias = self._values()
        h, c = states
        z = product(x, kernel, inputs) + product(h, recurrent_kernel, recurrent)
        if bias is not None:
            z = z + bias
        i, f, g, o = np.split(z, 4, axis=1)
        gate = self.recurrent_activation
        c = activate(gate, f) * c + activate(gate, i) * activate(self.activation, g)
        return [activate(gate, o) * activate(self.activation, c), c]


class LSTM(Recurrent):
    """Long short-term memory over the valid steps of each sequence.

    Args:
        units: size H of the output and of both states.
        activation: "tanh", "sigmoid", "hard_sigmoid", "relu", "linear", or None for "linear";
            "hard_sigmoid_keras2" is that of Keras 2.
        recurrent_activation: the same choices, for the gates.
        use_bias: whether there is a bias.
        kernel_initializer: initial values of the input weights.
        recurrent_initializer: initial values of the state's weights.
        bias_initializer: initial values of the bias.
        unit_forget_bias: whether the forget gate's bias starts as ones.
        dropout: share of inputs dropped in training; at inference nothing is dropped.
        recurrent_dropout: the same for the state; training then takes a plain loop over time.
        seed: seed of the dropout.
        return_sequences: return the outputs of all steps instead of the last one.
        return_state: return (output, h, c) instead of the output.
        go_backwards: start from the last step; outputs, and their mask, come in that order.
        stateful: start from the states that the last call ended with.
        unroll: accepted as in Keras; has no effect.
        use_cudnn: accepted as in Keras; has no effect.
        zero_output_for_mask: masked steps give zeros instead of the previous output.
        **layer_args: `name`, `dtype` and others; see `Layer`.

    Called with
        inputs: (B, T, F) array or `Masked`.
        mask: (B, T), instead of the one that the inputs carry.
        initial_state: [h, c], (B, H) each.
        training: whether dropout drops anything.

    Returns:
        (B, H), or (B, T, H) with `return_sequences`, which carries the mask on; with
        `return_state` a tuple with h and c, (B, H) each.

    Raises:
        TypeError: an argument is of a wrong kind.
        ValueError: an argument is out of range, or the inputs do not fit.

    Source:
        Keras: `keras.layers.LSTM`. Weights: kernel (F, 4H), recurrent kernel (H, 4H), bias (4H,),
        gate order i, f, g, o. Keras does not reverse the mask for `go_backwards`.

    Examples:
        >>> import numpy as np
        >>> import fastmask as fm
        >>> lstm = fm.layers.LSTM(8, return_sequences=True)
        >>> y = lstm(np.ones((2, 5, 3)), mask=[[1, 1, 0, 0, 0], [1, 1, 1, 1, 1]])
        >>> y.shape, y.mask.lengths
        ((2, 5, 8), array([2, 5]))
    """

    _cell_class = LSTMCell
    recurrent_activation, unit_forget_bias = OfCell(), OfCell()

    def __init__(
        self,
        units: int,
        activation: str | Activation | None = "tanh",
        recurrent_activation: str | Activation | None = "sigmoid",
        use_bias: bool = True,
        kernel_initializer: AnyInitializer = "glorot_uniform",
        recurrent_initializer: AnyInitializer = "orthogonal",
        bias_initializer: AnyInitializer = "zeros",
        unit_forget_bias: bool = True,
        *,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        seed: int | None = None,
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        stateful: bool = False,
        unroll: bool = False,
        use_cudnn: bool | str = "auto",
        zero_output_for_mask: bool = False,
        **layer_args: Unpack[LayerArguments],
    ) -> None:
        super().__init__(**arguments(locals()))
