"""The plain recurrent network (Elman, 1990): h' = activation(x W + h U + b)."""

from __future__ import annotations

from .._typing import Array, Unpack
from ..activations import Activation
from ..backends import cell as _kinds
from ..initializers import AnyInitializer
from ._cell import Kept, KernelCell, activate, product
from ._keras_arguments import LayerArguments
from ._rnn import Recurrent, arguments


class SimpleRNNCell(KernelCell):
    """One step of a simple RNN, for `RNN` and `StackedRNNCells`.

    Args:
        units: size H of the output and of the state.
        activation: "tanh", "sigmoid", "hard_sigmoid", "relu", "linear", or None for "linear";
            "hard_sigmoid_keras2" is that of Keras 2.
        use_bias: whether there is a bias.
        kernel_initializer: initial values of the input weights.
        recurrent_initializer: initial values of the state's weights.
        bias_initializer: initial values of the bias.
        dropout: share of inputs dropped in training; at inference nothing is dropped.
        recurrent_dropout: the same for the state.
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
        Keras: `keras.layers.SimpleRNNCell`. Weights as in `SimpleRNN`.

    Examples:
        >>> import numpy as np
        >>> import fastmask as fm
        >>> cell = fm.layers.SimpleRNNCell(4)
        >>> output, (h,) = cell(np.ones((2, 3)), states=cell.get_initial_state(2))
        >>> output.shape
        (2, 4)
    """

    _kind = _kinds.SIMPLE_RNN

    def __init__(
        self,
        units: int,
        activation: str | Activation | None = "tanh",
        use_bias: bool = True,
        kernel_initializer: AnyInitializer = "glorot_uniform",
        recurrent_initializer: AnyInitializer = "orthogonal",
        bias_initializer: AnyInitializer = "zeros",
        *,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        seed: int | None = None,
        **layer_args: Unpack[LayerArguments],
    ) -> None:
        super().__init__(**arguments(locals()))  # so that Python's messages name the class

    def _formula(self, x: Array, states: list[Array], inputs: Kept, recurrent: Kept) -> list[Array]:
        kernel, recurrent_kernel, bias = self._values()
        z = product(x, kernel, inputs) + product(states[0], recurrent_kernel, recurrent)
        return [activate(self.activation, z if bias is None else z + bias)]


class SimpleRNN(Recurrent):
    """The plain recurrent network over the valid steps of each sequence.

    Args:
        units: size H of the output and of the state.
        activation: "tanh", "sigmoid", "hard_sigmoid", "relu", "linear", or None for "linear";
            "hard_sigmoid_keras2" is that of Keras 2.
        use_bias: whether there is a bias.
        kernel_initializer: initial values of the input weights.
        recurrent_initializer: initial values of the state's weights.
        bias_initializer: initial values of the bias.
        dropout: share of inputs dropped in training; at inference nothing is dropped.
        recurrent_dropout: the same for the state; training then takes a plain loop over time.
        return_sequences: return the outputs of all steps instead of the last one.
        return_state: return (output, h) instead of the output.
        go_backwards: start from the last step; outputs, and their mask, come in that order.
        stateful: start from the state that the last call ended with.
        unroll: accepted as in Keras; has no effect.
        seed: seed of the dropout.
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
        Keras: `keras.layers.SimpleRNN`. Weights: kernel (F, H), recurrent kernel (H, H), bias
        (H,). Keras does not reverse the mask for `go_backwards`.

    Examples:
        >>> import numpy as np
        >>> import fastmask as fm
        >>> rnn = fm.layers.SimpleRNN(8)
        >>> rnn(np.ones((2, 5, 3)), mask=[[1, 1, 0, 0, 0], [1, 1, 1, 1, 1]]).shape
        (2, 8)
    """

    _cell_class = SimpleRNNCell

    def __init__(
        self,
        units: int,
        activation: str | Activation | None = "tanh",
        use_bias: bool = True,
        kernel_initializer: AnyInitializer = "glorot_uniform",
        recurrent_initializer: AnyInitializer = "orthogonal",
        bias_initializer: AnyInitializer = "zeros",
        *,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        stateful: bool = False,
        unroll: bool = False,
        seed: int | None = None,
        use_cudnn: bool | str = "auto",
        zero_output_for_mask: bool = False,
        **layer_args: Unpack[LayerArguments],
    ) -> None:
        super().__init__(**arguments(locals()))
