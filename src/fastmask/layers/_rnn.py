"""What the recurrent layers share: options, states, packed weights."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from .. import initializers
from .._checks import choice, flag, rate, whole_number
from .._dispatch import kernels, real_array
from .._mask import fitting_mask
from .._recurrent import ACTIVATIONS, forward, initial_states, pack
from .._typing import Array, Shape
from ..activations import name_of
from ._layer import Layer


class Recurrent(Layer):
    """Base of the recurrent layers; a subclass names its cell and adds what is its own."""

    supports_masking = True
    _cell: ClassVar[str]  # prefix of its kernels
    _gates: ClassVar[int]
    _states: ClassVar[int]
    _options: ClassVar[tuple[str, ...]] = (
        *("units", "activation", "use_bias"),
        *("kernel_initializer", "recurrent_initializer", "bias_initializer"),
        *("return_sequences", "return_state", "go_backwards", "stateful"),
        *("zero_output_for_mask", "dropout", "recurrent_dropout", "seed"),
    )

    def __init__(
        self,
        units: int,
        activation: Any = "tanh",
        use_bias: bool = True,
        *,
        kernel_initializer: initializers.AnyInitializer = "glorot_uniform",
        recurrent_initializer: initializers.AnyInitializer = "orthogonal",
        bias_initializer: initializers.AnyInitializer = "zeros",
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        stateful: bool = False,
        unroll: bool = False,
        zero_output_for_mask: bool = False,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        seed: int | None = None,
        name: str | None = None,
        dtype: str = "float32",
    ) -> None:
        super().__init__(name=name, dtype=dtype)
        self.units = whole_number(units, "units", 1)
        self.activation = kernel_activation(activation, "activation")
        self.use_bias = flag(use_bias, "use_bias")
        self.kernel_initializer = initializers.get(kernel_initializer, "kernel_initializer")
        self.recurrent_initializer = initializers.get(
            recurrent_initializer, "recurrent_initializer"
        )
        self.bias_initializer = initializers.get(bias_initializer, "bias_initializer")
        self.return_sequences = flag(return_sequences, "return_sequences")
        self.return_state = flag(return_state, "return_state")
        self.go_backwards = flag(go_backwards, "go_backwards")
        self.stateful = flag(stateful, "stateful")
        flag(unroll, "unroll")  # taken because Keras has it; there is nothing to unroll
        self.zero_output_for_mask = flag(zero_output_for_mask, "zero_output_for_mask")
        self.dropout = rate(dropout, "dropout")
        self.recurrent_dropout = rate(recurrent_dropout, "recurrent_dropout")
        self.seed = None if seed is None else whole_number(seed, "seed", 0)
        self.states: tuple[Array, ...] | None = None
        self._packed: tuple[Any, Array] | None = None

    def build(self, input_shape: Shape) -> None:
        """Make the weights; see `Layer`."""
        features = _features(input_shape)
        columns = self._gates * self.units
        self.add_weight((features, columns), initializer=self.kernel_initializer, name="kernel")
        self.add_weight(
            (self.units, columns), initializer=self.recurrent_initializer, name="recurrent_kernel"
        )
        if self.use_bias:
            self.add_weight(self._bias_shape(), initializer=self._first_bias, name="bias")

    @property
    def kernel(self) -> Array:
        """The input weights, read-only; `set_weights` changes them."""
        return self._weight(0)

    @property
    def recurrent_kernel(self) -> Array:
        """The weights of the state, read-only; `set_weights` changes them."""
        return self._weight(1)

    @property
    def bias(self) -> Array | None:
        """The bias, read-only; `set_weights` changes it. None without `use_bias`."""
        return self._weight(2) if self.use_bias else None

    def call(
        self, inputs: Any, initial_state: Any = None, mask: Any = None, training: bool = False
    ) -> Any:
        """Run over the valid steps; see the class."""
        if training and (self.dropout or self.recurrent_dropout):
            raise ValueError(
                f"dropout of layer {self.name!r} must be 0 for training=True: only inference, "
                "which drops nothing, is supported"
            )
        x = real_array(inputs, "inputs", self._dtype)
        packed = self._packed_weights()
        self._check_inputs(x)
        output, states = forward(
            self._cell,
            x,
            None if mask is None else fitting_mask(mask, x.shape, f"the input of {self.name!r}"),
            packed,
            self._initial(initial_state, len(x)),
            self._settings(),
            self.return_sequences,
            self.go_backwards,
            self.zero_output_for_mask,
        )
        if self.stateful:
            self.states = tuple(state.copy() for state in states)
        return (output, *states) if self.return_state else output

    def reset_state(self) -> None:
        """Forget the states that a stateful layer keeps from batch to batch."""
        self.states = None

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:  # noqa: ARG002
        """The mask, reversed for `go_backwards`, where the output is a sequence."""
        if not self.return_sequences:
            mask = None
        elif mask is not None and self.go_backwards:
            mask = np.asarray(mask)[:, ::-1]
        return [mask] + [None] * self._states if self.return_state else mask

    def compute_output_shape(self, input_shape: Shape) -> Any:
        """See `Layer`."""
        batch, time = input_shape[:2]
        output = (batch, time, self.units) if self.return_sequences else (batch, self.units)
        if not self.return_state:
            return output
        return [output] + [(batch, self.units)] * self._states

    def _settings(self) -> tuple[Any, ...]:
        """What the kernel takes between the states and the options."""
        return (self.activation,)

    def _bias_shape(self) -> tuple[int, ...]:
        return (self._gates * self.units,)

    def _first_bias(self, shape: tuple[int, ...], dtype: Any) -> Array:
        return self.bias_initializer(shape, dtype)

    def _weight(self, number: int) -> Array:
        if not self.built:
            raise AttributeError(f"layer {self.name!r} has no weights before it is built")
        view = self._weights[number].value.view()
        view.flags.writeable = False
        return view

    def _packed_weights(self) -> Array:
        """The weights as the kernels read them, packed on first use and then kept."""
        column = kernels()
        known = self._packed
        if known is None or known[0] != column.__name__:
            kernel, recurrent, *bias = (weight.value for weight in self._weights)
            if not bias:
                bias = [np.zeros(self._bias_shape(), self._dtype)]
            known = (column.__name__, pack(self._cell, kernel, recurrent, bias[0]))
            self._packed = known
        return known[1]

    def _weights_changed(self) -> None:
        self._packed = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_packed": None}  # a copy packs its own

    def _check_inputs(self, x: Array) -> None:
        if x.ndim != 3:
            raise ValueError(
                f"inputs of layer {self.name!r} must have shape (batch, time, features), "
                f"not {x.shape}"
            )
        features = len(self._weights[0].value)
        if x.shape[2] != features:
            raise ValueError(
                f"inputs of layer {self.name!r} must have {features} features, "
                f"not {x.shape[2]} (shape {x.shape})"
            )

    def _initial(self, given: Any, batch: int) -> Any:
        if self.stateful and self.states is not None:
            kept = len(self.states[0])
            if kept != batch:
                raise ValueError(
                    f"inputs of layer {self.name!r} must have batch size {kept}, not {batch}: it "
                    "is stateful and keeps the states of the last batch until reset_state()"
                )
            if given is None:
                given = self.states
        return initial_states(given, self._states, batch, self.units, self._dtype)


def kernel_activation(identifier: Any, name: str) -> str:
    """The name of an activation that the kernels know.

    Raises:
        ValueError: they do not.
        TypeError: it is not an activation at all.
    """
    return choice(name_of(identifier, name), name, ACTIVATIONS)


def _features(input_shape: Shape) -> int:
    shape = tuple(input_shape)
    if len(shape) != 3 or shape[2] is None:
        raise ValueError(f"input_shape must be (batch, time, features), not {shape}")
    return whole_number(shape[2], "features", 0)
