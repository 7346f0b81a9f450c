"""A recurrent layer in both directions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .._checks import choice
from .._typing import Array, ArrayLike, Bools, Shape, Unpack
from ..backends.dispatch import backend_of, real_array
from ..masks.mask import sequence_mask
from ..masks.ragged import Ragged
from ._cell_protocol import as_list, output_size_of
from ._keras_arguments import LayerArguments
from ._layer import Layer
from ._types import States
from .rnn import RNN

_MODES = ("concat", "sum", "mul", "ave")


class Bidirectional(Layer):
    """Runs a recurrent layer forwards, another one backwards, and merges their outputs.

    Both outputs are in the order of the inputs. With `return_sequences` the layers'
    `zero_output_for_mask` is switched on: masked steps are zeros. Otherwise it is switched off.

    Args:
        layer: `LSTM`, `GRU`, `SimpleRNN` or `RNN`; two layers with its arguments are made, the
            layer itself is not used.
        merge_mode: "concat", "sum", "mul", "ave", or None for both outputs unmerged.
        backward_layer: the layer that goes backwards, instead of one like `layer`; it may be of
            another kind and size.
        **layer_args: `name`, `dtype`, by default that of `layer`, and others; see `Layer`.

    Called with
        inputs: (B, T, F) array or `Masked`.
        mask: (B, T), instead of the one that the inputs carry.
        initial_state: the states of the forward layer, then those of the backward layer.
        training: passed on to the layers.

    Returns:
        (B, 2H), or the sizes of both added, or (B, H) for the other modes; (B, T, ...) with
        `return_sequences` of the layers, which carries the mask on; a tuple of two of these
        where `merge_mode` is None.
        With `return_state` of the layers, a tuple that continues with the states of the forward
        layer, then those of the backward layer.

    Raises:
        TypeError: an argument is of a wrong kind.
        ValueError: the two layers do not fit together, or the inputs do not fit.

    Source:
        Keras: `keras.layers.Bidirectional`. Weights: those of the forward layer, then those of
        the backward layer.

    Examples:
        >>> import numpy as np
        >>> import fastmask as fm
        >>> layer = fm.layers.Bidirectional(fm.layers.GRU(8, return_sequences=True))
        >>> y = layer(np.ones((2, 5, 3)), mask=[[1, 1, 0, 0, 0], [1, 1, 1, 1, 1]])
        >>> y.shape, y.mask.lengths
        ((2, 5, 16), array([2, 5]))
    """

    supports_masking = True
    _takes_gpu = True
    _takes_lists = False
    _options = ("merge_mode",)

    def __init__(
        self,
        layer: RNN,
        merge_mode: str | None = "concat",
        *,
        backward_layer: RNN | None = None,
        **layer_args: Unpack[LayerArguments],
    ) -> None:
        for word, one in (("layer", layer), ("backward_layer", backward_layer or layer)):
            if not isinstance(one, RNN):
                raise TypeError(f"{word} must be an LSTM, GRU, SimpleRNN or RNN, not {one!r}")
        if layer_args.get("dtype") is None:
            layer_args["dtype"] = layer.dtype
        super().__init__(**layer_args)
        self.merge_mode = None if merge_mode is None else choice(merge_mode, "merge_mode", _MODES)
        base = layer.name.removeprefix("forward_")
        self.forward_layer: RNN = layer._anew(name=f"forward_{base}")
        self.backward_layer: RNN = backward_layer or layer._anew(
            name=f"backward_{base}", go_backwards=not layer.go_backwards
        )
        _check_pair(self.forward_layer, self.backward_layer, self.merge_mode)
        for one in (self.forward_layer, self.backward_layer):
            one.zero_output_for_mask = one.return_sequences

    @property
    def return_sequences(self) -> bool:
        """Whether the layers return the outputs of all steps."""
        return self.forward_layer.return_sequences

    @property
    def return_state(self) -> bool:
        """Whether the layers return their states."""
        return self.forward_layer.return_state

    @property
    def _quantization(self) -> str | None:  # type: ignore[override]  # that of both layers
        forms = {layer._quantization for layer in self._both}
        return forms.pop() if len(forms) == 1 else None

    @property
    def stateful(self) -> bool:
        """Whether the layers keep their states from batch to batch."""
        return self.forward_layer.stateful

    @property
    def states(self) -> tuple[Any, ...] | None:
        """The states that stateful layers keep, forward before backward; None before a call."""
        forward, backward = self.forward_layer.states, self.backward_layer.states
        return None if forward is None or backward is None else (*forward, *backward)

    def build(self, input_shape: Shape) -> None:
        """Make the weights of both layers; see `Layer`."""
        for layer in self._both:
            layer._check_axes(tuple(input_shape), self.name)
            layer.build(input_shape)

    def call(
        self,
        inputs: Array,
        initial_state: States | None = None,
        mask: Bools | None = None,
        training: bool = False,
    ) -> Any:
        """Run both layers over the valid steps; see the class."""
        known = mask
        if mask is not None:  # one plan serves both
            known = sequence_mask(mask, np.shape(inputs), "the input of %r", self.name).valid

        def run(layer: RNN, state: States | None) -> Any:
            return layer.call(inputs, state, known, training)

        def turn(y: Array) -> Array:
            return backend_of(y).reversed_in_time(y)

        return self._merged(run, turn, initial_state, len(inputs))

    def _merged(
        self,
        run: Callable[[RNN, States | None], Any],
        turn: Callable[[Array], Array],
        initial_state: States | None,
        batch: int,
    ) -> Any:
        """What `run` returns for both layers, given their states, merged."""
        states = self._halves(initial_state)
        try:
            (y, *first), (back, *second) = (
                as_list(run(layer, state)) for layer, state in zip(self._both, states, strict=True)
            )
        except (TypeError, ValueError):
            self._check_states(states, batch)
            raise
        if self.return_sequences:
            y, back = (turn(y), back) if self.forward_layer.go_backwards else (y, turn(back))
        halves = [self._as_outputs(y), self._as_outputs(back)]
        merged = tuple(halves) if self.merge_mode is None else self._computed(self._merge, halves)
        if not self.return_state:
            return merged
        return (*(merged if self.merge_mode is None else (merged,)), *first, *second)

    def _ragged_way(self, ndim: int) -> str:
        ways = {layer._ragged_way(ndim) for layer in self._both}
        return ways.pop() if len(ways) == 1 else "padded"

    def _call_ragged(self, inputs: Ragged, initial_state: States | None = None) -> Any:
        """Run both layers over the steps of each row; see `_ragged`."""
        rows = inputs._rows

        def run(layer: RNN, state: States | None) -> Any:
            return layer._over_rows(inputs, state)

        result = self._merged(run, lambda y: y[rows.turned], initial_state, len(rows))
        if not self.return_sequences:
            return result
        outputs, count = as_list(result), 2 if self.merge_mode is None else 1
        outputs[:count] = [Ragged._of(y, rows) for y in outputs[:count]]
        return tuple(outputs) if isinstance(result, tuple) else outputs[0]

    def reset_state(self) -> None:
        """Forget the states that stateful layers keep from batch to batch."""
        self.forward_layer.reset_state()
        self.backward_layer.reset_state()

    reset_states = reset_state  # Keras has both

    def compute_mask(self, inputs: ArrayLike, mask: Bools | None = None) -> Any:  # noqa: ARG002 - Keras's form
        """The mask, where the output is a sequence."""
        kept = mask if self.return_sequences else None
        if self.merge_mode is not None and not self.return_state:
            return kept
        outputs = [kept] * (2 if self.merge_mode is None else 1)
        return outputs + [None] * (sum(self._counts) if self.return_state else 0)

    def _check_input_shape(self, shape: Shape) -> None:
        self.forward_layer._check_input_shape(shape)

    def compute_output_shape(self, input_shape: Shape) -> Any:
        both = (self.forward_layer, self.backward_layer)
        known = [layer.compute_output_shape(input_shape) for layer in both]
        (y, *first), (back, *second) = known if self.return_state else [[one] for one in known]
        if self.merge_mode is None:
            return [y, back, *first, *second]
        if self.merge_mode == "concat":
            y = (*y[:-1], y[-1] + back[-1])
        return [y, *first, *second] if self.return_state else y

    def get_config(self) -> dict[str, Any]:
        layers = {
            "layer": self.forward_layer._anew(),
            "backward_layer": self.backward_layer._anew(),
        }
        return {**super().get_config(), **layers}

    @property
    def _both(self) -> tuple[RNN, RNN]:
        return self.forward_layer, self.backward_layer

    @property
    def _counts(self) -> tuple[int, int]:
        """How many states the two layers have."""
        forward, backward = self.forward_layer, self.backward_layer
        return len(forward.get_initial_state(0)), len(backward.get_initial_state(0))

    def _halves(self, given: States | None) -> tuple[Any, Any]:
        """The initial states of the two layers."""
        if given is None:
            return None, None
        first, second = self._counts
        if not isinstance(given, (list, tuple)):
            raise TypeError(f"initial_state must be a list of arrays, not {type(given).__name__}")
        if len(given) != first + second:
            raise ValueError(
                f"initial_state must have {first + second} arrays, {first} for the forward layer "
                f"and {second} for the backward layer, not {len(given)}"
            )
        return given[:first], given[first:]

    def _check_states(self, states: tuple[Any, Any], batch: int) -> None:
        """Check that the initial states fit; messages count those of both layers."""
        start = 0
        for layer, state, count in zip(self._both, states, self._counts, strict=True):
            layer._split(state, batch, "initial_state", start)
            start += count

    def _as_outputs(self, half: Array) -> Array:
        """One layer's output in this layer's dtype, contiguous where it is not merged."""
        if self.merge_mode and half.dtype == self._dtype:
            return half
        backend = backend_of(half)
        own: Array = backend.own(*backend.views(real_array(half, "outputs", self._dtype)))[0]
        return own

    def _merge(self, y: Array, back: Array) -> Any:
        mode = self.merge_mode
        if mode == "concat":
            return np.concatenate([y, back], axis=-1)
        if mode == "mul":
            return y * back
        return y + back if mode == "sum" else (y + back) / 2


def _check_pair(forward: RNN, backward: RNN, merge_mode: str | None) -> None:
    if forward.go_backwards == backward.go_backwards:
        raise ValueError(
            "layer and backward_layer must differ in go_backwards, "
            f"but it is {forward.go_backwards} for both"
        )
    for option in ("stateful", "return_sequences", "return_state"):
        one, other = getattr(forward, option), getattr(backward, option)
        if one != other:
            raise ValueError(
                f"layer and backward_layer must have the same {option}, not {one} and {other}"
            )
    sizes = [output_size_of(layer._cells[-1]) for layer in (forward, backward)]
    if merge_mode in ("sum", "mul", "ave") and sizes[0] != sizes[1]:
        raise ValueError(
            f"layer and backward_layer must have outputs of the same size for merge_mode "
            f"{merge_mode!r}, not {sizes[0]} and {sizes[1]}"
        )
