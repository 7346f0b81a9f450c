"""A layer for every step of a sequence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .._typing import Array, ArrayLike, Bools, Shape, Unpack
from ..backends.dispatch import as_array, is_array
from ..masks.mask import Mask, fitting_mask
from ..masks.masked import Masked
from ._call_graph import CallGraph
from ._keras_arguments import LayerArguments
from ._layer import Layer, is_training
from ._rows import rows_alone
from .bidirectional import Bidirectional
from .pooling import GlobalPooling
from .rnn import RNN
from .softmax import Softmax

_MASKS_OF_SEQUENCES = (RNN, Bidirectional, GlobalPooling, Softmax, CallGraph)


def _wants_sequences(layer: Layer) -> bool:
    """Whether a layer takes masks of sequences, as some layers and all models do."""
    return isinstance(layer, _MASKS_OF_SEQUENCES)


class TimeDistributed(Layer):
    """Applies a layer to every step, with the mask of that step, and passes masks on.

    With a mask (B, T, W), such as one of words in the sentences of documents, the layer gets the
    mask (B, W) of each step, as if it were called on that step. The output has a mask (B, T, W) if
    the layer passes its mask on, else (B, T): a step without any valid part is masked. With a mask
    (B, T) each step has one flag: a layer that takes a mask gets (B,), but layers that need a mask
    of sequences, such as LSTM, get none.

    If the layer computes each row by itself, as recurrent layers do and models of such layers, all
    steps are one batch, and masked steps cost nothing. Other layers are called step by step.

    Args:
        layer: the layer.
        **layer_args: `name`, `dtype` and others; see `Layer`.

    Called with
        inputs: (B, T, ...).
        mask: (B, T), or (B, T, W) and more axes, instead of the one that the inputs carry; but a
            mask (B, T) does not replace a mask (B, T, W): then both apply.
        training: passed on to the layer.

    Returns:
        (B, T, ...), what the layer makes of each step.

    Raises:
        TypeError: `layer` is not a layer.
        ValueError: the inputs have fewer than three axes.

    Source:
        Keras: `keras.layers.TimeDistributed`, which passes a mask (B, T, W) on as it is, so that no
        recurrent layer can follow. A mask that the layer itself makes for each step is lost, with
        a warning.

    Examples:
        >>> import numpy as np
        >>> import fastmask as fm
        >>> layer = fm.layers.TimeDistributed(fm.layers.Flatten())
        >>> layer(np.ones((2, 5, 3, 4))).shape
        (2, 5, 12)
    """

    _takes_lists = False
    supports_masking = True
    _casts_inputs = False
    _options = ("layer",)

    def __init__(
        self,
        layer: Layer,
        **layer_args: Unpack[LayerArguments],
    ) -> None:
        if not isinstance(layer, Layer):
            raise TypeError(f"layer must be a fastmask Layer, not {layer!r}")
        super().__init__(**layer_args)
        self.layer = layer

    def build(self, input_shape: Shape) -> None:
        """Make the weights of the layer; see `Layer`."""
        step_shape = self._step_shape(input_shape)
        try:
            self.layer.build(step_shape)
        except ValueError as error:
            raise self._at_each_step(input_shape, error) from error

    def call(self, inputs: ArrayLike, training: bool = False, mask: Bools | None = None) -> Any:
        x = as_array(inputs, "inputs")
        self._step_shape(x.shape)
        if not x.shape[1]:
            shape = self.compute_output_shape(x.shape)
            return np.zeros_like(x, self._dtype, shape=[n or 0 for n in shape])
        inner = None
        if mask is not None and mask.ndim > 2:
            inner = fitting_mask(mask, x.shape, "the input of layer %r", self.name)
        try:
            if not (training and self._draws()) and rows_alone(self.layer):
                y, of_steps = self._of_rows(x, inner, training)
            else:
                y, of_steps = self._step_by_step(x, mask, inner, training)
        except ValueError as error:
            raise self._at_each_step(x.shape, error) from error
        if inner is None:
            return y
        return Masked._of(y, _joined(inner, of_steps))

    def compute_mask(self, inputs: Array, mask: Bools | None = None) -> Any:
        """The mask; for one with more axes than (B, T), what the layer makes of it."""
        if mask is None or np.ndim(mask) == 2:
            return mask
        shape = np.shape(inputs)
        known = fitting_mask(mask, shape, "the input of layer %r", self.name)
        layer, made = self.layer, None
        spec = layer._spec()
        if spec.makes_masks or layer.supports_masking:
            rows = layer._cast(inputs.reshape(shape[0] * shape[1], *shape[2:]))
            made = layer.compute_mask(rows, known.of_steps.valid)
        if made is not None:
            made = fitting_mask(made, np.shape(made), "the steps")
        return _joined(known, made).valid

    def _at_each_step(self, shape: Shape, error: ValueError) -> ValueError:
        """The layer's error about one step, with the shape that the caller passed."""
        return ValueError(
            f"inputs of layer {self.name!r}, of shape {tuple(shape)}, do not fit at each step: "
            f"{error}"
        )

    def _check_input_shape(self, shape: Shape) -> None:
        self.layer._check_input_shape(self._step_shape(shape))

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        output = self.layer.compute_output_shape(self._step_shape(input_shape))
        return (output[0], input_shape[1], *output[1:])

    def _ragged_way(self, ndim: int) -> str:  # noqa: ARG002 - the signature of `Layer`
        alone = not (is_training() and self._draws()) and rows_alone(self.layer)
        return "steps" if alone else "padded"

    def _draws(self) -> bool:
        """Whether the layer draws in training, for each step by itself."""
        spec = self.layer._spec()
        return spec.training or isinstance(self.layer, CallGraph)

    def _of_rows(self, x: Array, inner: Mask | None, training: bool) -> tuple[Array, Mask | None]:
        """The outputs of all steps, and the masks (B * T, ...) that they carry."""
        batch, time = x.shape[:2]
        rows = x.reshape(batch * time, *x.shape[2:])
        output = self._called(rows, None if inner is None else inner.of_steps, training)
        y, of_steps = self._taken_apart(output, inner is not None)
        return y.reshape(batch, time, *y.shape[1:]), of_steps

    def _step_by_step(
        self, x: Array, mask: Bools | None, inner: Mask | None, training: bool
    ) -> tuple[Array, Mask | None]:
        """Like `_of_rows`, with a call of the layer for every step."""
        layer = self.layer
        spec = layer._spec()
        takes_flags = spec.mask and inner is None and not _wants_sequences(layer)
        flags = mask if takes_flags else None
        parts = []
        for t in range(x.shape[1]):
            if flags is not None:
                options: dict[str, Any] = {spec.mask: flags[:, t]}
                if spec.training:
                    options["training"] = training
                output = layer.call(layer._cast(x[:, t]), **options)
            else:
                own = None if inner is None else Mask._of(inner.valid[:, t].copy())
                output = self._called(x[:, t], own, training)
            parts.append(self._taken_apart(output, inner is not None))
        outputs, masks = zip(*parts, strict=True)
        return np.stack(outputs, axis=1), _stacked(masks)

    def _called(self, x: Array, mask: Mask | None, training: bool) -> Any:
        layer = self.layer
        if mask is not None:
            return layer(Masked._of(x, mask), training=training)
        spec = layer._spec()
        if spec.makes_masks:  # a mask that it makes comes with its output
            return layer(x, training=training)
        x = layer._cast(x)
        return layer.call(x, training=training) if spec.training else layer.call(x)

    def _taken_apart(self, output: Any, goes_on: bool) -> tuple[Any, Mask | None]:
        """The array and the mask of an output; a mask that goes no further is lost."""
        mask = None
        if isinstance(output, Masked):
            output, mask = output.data, output.mask
            if not goes_on:
                self._warn_of_loss(None)
        if not is_array(output):
            raise TypeError(
                f"layer {self.layer.name!r} in {self.name!r} must return one array, "
                f"not {type(output).__name__}"
            )
        return output, mask

    def _how_lost(self) -> str:
        return (
            f"will destroy the mask that its layer {self.layer.name!r} makes for each step, as in "
            "Keras. Make the mask before it, of three axes or more, as Embedding(mask_zero=True) "
            "does of ids (batch, steps, words): then each step gets its own, and it goes on."
        )

    def _step_shape(self, shape: Shape) -> Shape:
        if len(shape) < 3:
            raise ValueError(
                f"inputs of layer {self.name!r} must have shape (batch, time, ...) with three "
                f"axes or more, not {tuple(shape)}"
            )
        return (shape[0], *shape[2:])


def _joined(inner: Mask, of_steps: Mask | None) -> Mask:
    """The mask of outputs whose steps have the masks `of_steps`, or none of their own.

    Args:
        inner: the mask of the inputs, (B, T, W).
        of_steps: (B * T, W), or other axes after the first one.
    """
    if of_steps is inner.of_steps:
        return inner
    if of_steps is None:
        words: Any = inner.valid
        return Mask._of(words.any(axis=tuple(range(2, inner.ndim))))
    return Mask._of(of_steps.valid.reshape(*inner.shape[:2], *of_steps.shape[1:]))


def _stacked(masks: Sequence[Mask | None]) -> Mask | None:
    """The masks of all steps, (B, W) each, as one, (B * T, W)."""
    known = [mask for mask in masks if mask is not None]
    if not known:
        return None
    steps = np.stack([mask.valid for mask in known], axis=1)
    batch, time, *inner = steps.shape
    return Mask._of(steps.reshape(batch * time, *inner))
