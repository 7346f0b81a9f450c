"""The cells that the kernels know: their weights, one step, and a whole sequence."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any, ClassVar, cast

import numpy as np

from .. import activations, initializers
from .._checks import flag, rate, whole_number
from .._typing import Array, Bools, DTypeLike, Ints, Shape, Unpack
from ..activations import Activation, kernel_activation
from ..backends import recurrent as _recurrent
from ..backends.base import ArrayBackend
from ..backends.cell import Cell
from ..backends.dispatch import backend_of, real_array
from ..backends.host import HOST, PLAIN
from ..backends.looked_up import LookedUp
from ..backends.recurrent import Settings, forward, initial_states, packed_weights, placed
from ..backends.rows import Rows
from ..masks.mask import Mask
from ._keras_arguments import KerasArguments
from ._layer import Layer
from ._looked_up import packed_with_table
from ._loop import Step, loop

# By the number of axes that are needed, and the number that was given.
_HINTS = {
    (3, 2): (
        ": one number a step needs an axis of features, x[:, :, None]; ids need an Embedding "
        "before this layer, and a recurrent layer before it needs return_sequences=True"
    ),
    (3, 4): (
        ": a sequence at every step needs TimeDistributed around this layer, and an image or the "
        "like at every step needs TimeDistributed(Flatten()) before it"
    ),
    (2, 3): ": a cell makes one step; RNN(cell) goes over time",
}

# What dropout multiplies by: one array for all gates, or one for each; None without dropout.
Kept = Sequence[Array] | None


class KernelCell(Layer):
    """Base of the cells that the kernels know.

    A cell holds the weights. `call` computes one step; layers use `_sequence`.
    """

    _takes_gpu = _quantizable = True
    _kind: ClassVar[Cell]
    _options: ClassVar[tuple[str, ...]] = (
        *("units", "activation", "use_bias"),
        *("kernel_initializer", "recurrent_initializer", "bias_initializer"),
        *("dropout", "recurrent_dropout", "seed"),
    )

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls._known = cls.call is KernelCell.call

    def __init__(
        self,
        units: int,
        activation: str | Activation | None = "tanh",
        use_bias: bool = True,
        kernel_initializer: initializers.AnyInitializer = "glorot_uniform",
        recurrent_initializer: initializers.AnyInitializer = "orthogonal",
        bias_initializer: initializers.AnyInitializer = "zeros",
        *,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        seed: int | None = None,
        name: str | None = None,
        dtype: DTypeLike | None = None,
        **layer_args: Unpack[KerasArguments],
    ) -> None:
        super().__init__(name=name, dtype=dtype, **layer_args)
        self.units = whole_number(units, "units", 1)
        self.activation = kernel_activation(activation, "activation")
        self.use_bias = flag(use_bias, "use_bias")
        self.kernel_initializer = initializers.get(kernel_initializer, "kernel_initializer")
        self.recurrent_initializer = initializers.get(
            recurrent_initializer, "recurrent_initializer"
        )
        self.bias_initializer = initializers.get(bias_initializer, "bias_initializer")
        self.dropout = rate(dropout, "dropout")
        self.recurrent_dropout = rate(recurrent_dropout, "recurrent_dropout")
        self.seed = None if seed is None else whole_number(seed, "seed", 0)
        self._generator = np.random.default_rng(self.seed)
        self._sizes = [self.units] * self._kind.states

    @property
    def state_size(self) -> int | list[int]:
        """Size of the state, or a list of sizes."""
        return self.units if self._kind.states == 1 else list(self._sizes)

    @property
    def output_size(self) -> int:
        """Size of the output."""
        return self.units

    def get_initial_state(self, batch_size: int) -> list[Array]:
        """Zeros for this many rows: an array (B, H) for each state."""
        batch = whole_number(batch_size, "batch_size", 0)
        return initial_states(None, self._sizes, batch, self._dtype)

    def build(self, input_shape: Shape) -> None:
        """Make the weights for inputs (B, F); see `Layer`."""
        shape = tuple(input_shape)
        if len(shape) != 2:
            raise unfit(shape, "batch, features", self.name)
        features = known_features(shape, self.name)
        columns = self._kind.gates * self.units
        self.add_weight((features, columns), initializer=self.kernel_initializer, name="kernel")
        self.add_weight(
            (self.units, columns), initializer=self.recurrent_initializer, name="recurrent_kernel"
        )
        if self.use_bias:
            self.add_weight(self._bias_shape(), initializer=self._first_bias, name="bias")

    @property
    def kernel(self) -> Array:
        """The input weights, read-only; `set_weights` changes them."""
        kernel: Array = self._weight("kernel")
        return kernel

    @property
    def recurrent_kernel(self) -> Array:
        """The weights of the state, read-only; `set_weights` changes them."""
        kernel: Array = self._weight("recurrent_kernel")
        return kernel

    @property
    def bias(self) -> Array | None:
        """The bias, read-only; `set_weights` changes it. None without `use_bias`."""
        bias: Array | None = self._weight("bias")
        return bias

    def call(self, inputs: Any, states: Any, training: bool = False) -> tuple[Array, list[Array]]:
        """Compute one step, with newly drawn dropout; see the class."""
        x = self._checked(inputs, "batch, features", self.name)
        before = initial_states(states, self._sizes, len(x), self._dtype, "states")
        before = placed(before, states is not None, {"inputs": x}, "states")
        if training and (self.dropout or self.recurrent_dropout):
            after = self._formula(x, before, *self._draw(len(x)))
        else:
            after = self._step(x, before)
        return after[0], after

    def _sequence(
        self,
        x: Any,
        mask: Mask | Rows | None,
        first: list[Array],
        training: bool,
        return_sequences: bool,
        go_backwards: bool,
        zero_output_for_mask: bool,
    ) -> tuple[Array, list[Array]]:
        """Run over the valid steps of a sequence; see `backends.recurrent.forward`.

        In training one draw of the dropout masks serves all steps.
        """
        options = return_sequences, go_backwards, zero_output_for_mask
        backend = backend_of(x)
        if training and (self.dropout or self.recurrent_dropout):
            if backend is not HOST:
                raise TypeError(
                    f"inputs of layer {self.name!r} must be on the host in training with dropout, "
                    "not on a GPU: fastmask.torch trains there"
                )
            inputs, recurrent = self._draw(len(x))
            if recurrent is not None:
                assert not isinstance(mask, Rows)  # see `RNN._ragged_way`
                step = self._dropping(inputs, recurrent)
                return loop(step, x, mask, first, self.units, *options)
            if inputs is not None:
                x = x * inputs[0][:, np.newaxis]
        (kind, form), settings = self._in_form(backend), self._settings()
        if type(x) is LookedUp:
            weights = self._weights, self._values, settings
            kind, table = packed_with_table(x, self._kind, self._quantization, *weights)
            return forward(backend, kind, cast(Array, x), mask, table, first, settings, *options)
        with form:
            packed = self._packed_weights(backend, kind, x)
            return forward(backend, kind, x, mask, packed, first, settings, *options)

    def _dropping(self, inputs: Kept, recurrent: Kept) -> Step:
        """One step of some rows, with the dropout masks of inputs and states given here."""

        def step(now: Array, states: list[Array], rows: Ints) -> tuple[Array, list[Array]]:
            kept = [
                None if each is None else [one[rows] for one in each]
                for each in (inputs, recurrent)
            ]
            after = self._formula(now, states, *kept)
            return after[0], after

        return step

    def _step(self, x: Array, states: Sequence[Array]) -> list[Array]:
        """The states after one step, from arrays of the right shapes; the first is the output."""
        backend = backend_of(x)
        kind, form = self._in_form(backend)
        with form:
            packed = self._packed_weights(backend, kind, x)
            return _recurrent.stepped(backend, kind, x, packed, states, self._settings())

    def _step_in_place(self, x: Array, events: Bools, states: Sequence[Array]) -> None:
        """Advance in place the rows that have an event; see `backends.recurrent.step`."""
        kind, _ = self._in_form(HOST)
        packed = self._packed_weights(HOST, kind, x)
        _recurrent.step(kind, x, events, packed, states, self._settings())

    def _formula(self, x: Array, states: list[Array], inputs: Kept, recurrent: Kept) -> list[Array]:
        """What `_step` computes, with dropout."""
        raise NotImplementedError

    def _draw(self, batch: int) -> tuple[Kept, Kept]:
        """Draw what inputs and states are multiplied by in training.

        As in Keras one array serves all gates; with `recurrent_dropout` each gate of a cell with
        gates has its own.
        """
        count = self._kind.gates if self.recurrent_dropout else 1

        def draw(share: float, width: int) -> Kept:
            if not share:
                return None
            kept = self._generator.random((count, batch, width), np.float32) >= share
            scale = 1 / (1 - share) if share < 1 else 0.0
            return list(kept * self._dtype.type(scale))

        features = len(self._weights[0].value)
        return draw(self.dropout, features), draw(self.recurrent_dropout, self.units)

    def _settings(self) -> Settings:
        """The arguments of the kernel between the states and the options."""
        return (self.activation,)

    def _bias_shape(self) -> tuple[int, ...]:
        return (self._kind.gates * self.units,)

    def _first_bias(self, shape: tuple[int, ...], dtype: DTypeLike) -> Array:
        return self.bias_initializer(shape, dtype)

    def _weight(self, name: str) -> Any:
        if not self.built:
            raise AttributeError(
                f"layer {self.name!r} has no weights before it is built: call it on some "
                "data, or call its build(input_shape)"
            )
        return next((w.value.view() for w in self._weights if w.name == name), None)

    def _values(self) -> tuple[Any, ...]:
        kernel, recurrent, *bias = (weight.value for weight in self._weights)
        return kernel, recurrent, bias[0] if bias else None

    def _in_form(self, backend: ArrayBackend[Any]) -> tuple[Cell, AbstractContextManager[None]]:
        """The cell with its quantized weights, if any; see `ArrayBackend.in_form`."""
        form = self._quantization
        return (self._kind, PLAIN) if form is None else backend.in_form(self._kind, form)

    def _packed_weights(self, backend: ArrayBackend[Any], kind: Cell, x: Array) -> Any:
        """The weights as the kernels read them for `x`, packed on first use and then kept."""
        weights = self._weights
        found = weights.made.get((kind, backend.packing(x)))
        if found is None:
            settings = self._settings()
            found = packed_weights(backend, kind, weights, self._values, settings, x)
        return found

    def _is_sealed(self) -> bool:
        return True  # subclasses too: kernels read packed copies of the weights

    def _checked(self, inputs: Any, axes: str, name: str) -> Array:
        """The inputs of layer `name`, as a kernel takes them.

        Raises:
            TypeError: they do not hold real numbers.
            ValueError: the number of axes or features is wrong.
        """
        x: Any = inputs
        if type(x) is not LookedUp:
            x = real_array(x, "inputs", self._dtype)
        self._check_shape(x.shape, axes, name)
        return x  # type: ignore[no-any-return]  # or `LookedUp`

    def _check_shape(self, shape: Shape, axes: str, name: str) -> None:
        if len(shape) != axes.count(",") + 1:
            raise unfit(shape, axes, name)
        if not self._weights:
            raise ValueError(f"layer {name!r} must be built before its call method is used")
        features = len(self._weights[0].value)
        if shape[-1] != features:
            raise ValueError(
                f"inputs of layer {name!r} must have {features} features, "
                f"not {shape[-1]} (shape {shape})"
            )


def unfit(shape: Shape, axes: str, name: str, alone: bool = False) -> ValueError:
    """The error for inputs of layer `name` that do not have the axes named in `axes`.

    `alone` if they may be a single row; for models that are built, their own error tells that.
    """
    wanted = axes.count(",") + 1
    hint = _HINTS.get((wanted, len(shape)), "")
    if alone and len(shape) == wanted - 1 and None not in shape:
        hint += "; pass a single sequence as a batch of one, x[None]"
    return ValueError(f"inputs of layer {name!r} must have shape ({axes}), not {shape}{hint}")


def known_features(shape: Shape, name: str) -> int:
    """The last size of the inputs of layer `name`.

    Raises:
        ValueError: it is None.
    """
    features = shape[-1]
    if features is None:
        raise ValueError(
            f"input_shape of layer {name!r} must have a known number of features, because there "
            f"are weights for them, not {shape}"
        )
    return features


def product(x: Array, weights: Array, kept: Kept) -> Array:
    """x @ weights, with dropout of x: `kept` for all columns of the weights, or for equal parts."""
    if kept is None:
        result: Array = x @ weights
    elif len(kept) == 1:
        result = (x * kept[0]) @ weights
    else:
        parts = np.split(weights, len(kept), axis=1)
        result = np.hstack([(x * k) @ part for k, part in zip(kept, parts, strict=True)])
    return result


def activate(name: str, x: Array) -> Array:
    """The activation `name` of x."""
    y: Array = activations.get(name)(x)
    return y
