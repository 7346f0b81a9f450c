"""Pooling of a sequence to one vector."""

from __future__ import annotations

from typing import Any

import numpy as np

from .._checks import choice, flag
from .._typing import Array, ArrayLike, Bools, Shape, Unpack
from ..backends.dispatch import real_array
from ..backends.rows import Rows
from ..masks.ragged import Ragged
from ._keras_arguments import LayerArguments
from ._layer import Layer


class GlobalPooling(Layer):
    """Base of the layers that reduce the time axis of inputs (B, T, F)."""

    _way = "own"
    _takes_lists = False
    _input_axes = 3
    _options = ("data_format", "keepdims")

    def __init__(
        self,
        data_format: str | None = None,
        keepdims: bool = False,
        **layer_args: Unpack[LayerArguments],
    ) -> None:
        super().__init__(**layer_args)
        self.data_format = as_data_format(data_format)
        self.keepdims = flag(keepdims, "keepdims")

    @property
    def _time(self) -> int:
        return 1 if self.data_format == "channels_last" else 2

    def _steps_of(self, shape: Any) -> Any:
        return shape if len(shape) != 3 else (shape[0], shape[self._time])

    def _sequences(self, inputs: ArrayLike) -> Array:
        x = real_array(inputs, "inputs", self._dtype)
        if x.ndim != 3:
            raise ValueError(
                f"inputs of layer {self.name!r} must have shape (batch, time, features), "
                f"not {x.shape}"
            )
        return x

    def _of_rows(self, reduce: np.ufunc, values: Array, rows: Rows) -> Array:
        """`reduce` over the steps of each row of a `Ragged`; zeros for a row without steps."""
        filled = np.flatnonzero(rows.lengths)
        whole = np.zeros((len(rows), values.shape[1]), values.dtype)
        if len(filled):
            whole[filled] = reduce.reduceat(values, rows.offsets[filled])
        return whole[:, np.newaxis] if self.keepdims else whole

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        sizes = list(input_shape)
        sizes[self._time : self._time + 1] = [1] if self.keepdims else []
        return tuple(sizes)


class GlobalAveragePooling1D(GlobalPooling):
    """The mean of the valid steps; uses the mask, and ends it.

    Args:
        data_format: "channels_last" for inputs (B, T, F), which None means too, or
            "channels_first" for (B, F, T).
        keepdims: whether the time axis stays, with size 1.
        **layer_args: `name`, `dtype` and others; see `Layer`.

    Called with
        inputs: (B, T, F), or (B, F, T) with "channels_first".
        mask: (B, T), instead of the one that the inputs carry.

    Returns:
        (B, F), or with `keepdims` the time axis as well; zeros for a row without a valid step.

    Raises:
        TypeError: an argument is of a wrong kind.
        ValueError: an argument is unknown, or the inputs have another number of axes.

    Source:
        Keras: `keras.layers.GlobalAveragePooling1D`, which gives NaN for a row without a valid
        step.

    Examples:
        >>> import fastmask as fm
        >>> x = fm.Masked([[[2.0], [4.0], [99.0]]], [[1, 1, 0]])
        >>> fm.layers.GlobalAveragePooling1D()(x)
        array([[3.]], dtype=float32)
    """

    supports_masking = True

    def _call_ragged(self, inputs: Ragged) -> Array:
        """The mean of the valid steps of each row; see `_ragged`."""
        rows = inputs._rows.of_valid
        values = self._sequences(inputs.values[np.newaxis])[0]
        if inputs.valid is not None:
            values = values[inputs.valid]
        total = self._of_rows(np.add, values, rows)
        count = np.maximum(rows.lengths, 1).astype(total.dtype)
        mean: Array = total / count.reshape(-1, *(1,) * (total.ndim - 1))
        return mean

    def call(self, inputs: ArrayLike, mask: Bools | None = None) -> Array:
        x = self._sequences(inputs)
        if mask is None:
            # The mean of no step would be NaN.
            reduce = x.mean if x.shape[self._time] else x.sum
            mean: Array = reduce(axis=self._time, keepdims=self.keepdims)
            return mean
        if mask.shape != self._steps_of(x.shape):
            raise ValueError(
                f"mask has shape {mask.shape}, but the inputs of layer {self.name!r}, of shape "
                f"{x.shape}, have (batch, time) = {self._steps_of(x.shape)}"
            )
        valid = mask[:, :, None] if self._time == 1 else mask[:, None, :]
        total = np.where(valid, x, x.dtype.type(0)).sum(axis=self._time, keepdims=self.keepdims)
        count = np.maximum(mask.sum(axis=1, dtype=x.dtype), 1)
        y: Array = total / count.reshape(-1, *(1,) * (total.ndim - 1))
        return y

    def compute_mask(self, inputs: ArrayLike, mask: Bools | None = None) -> None:  # noqa: ARG002 - Keras's form
        """None: there are no steps any more."""
        return


class GlobalMaxPooling1D(GlobalPooling):
    """The largest value of each feature over all steps, masked or not; drops masks.

    Args:
        data_format: "channels_last" for inputs (B, T, F), which None means too, or
            "channels_first" for (B, F, T).
        keepdims: whether the time axis stays, with size 1.
        **layer_args: `name`, `dtype` and others; see `Layer`.

    Called with
        inputs: (B, T, F).

    Returns:
        (B, F), or (B, 1, F) with `keepdims`.

    Raises:
        TypeError: an argument is of a wrong kind.
        ValueError: an argument is unknown, the inputs have another number of axes, or no steps.

    Source:
        Keras: `keras.layers.GlobalMaxPooling1D`, which ignores masks, too.

    Examples:
        >>> import fastmask as fm
        >>> fm.layers.GlobalMaxPooling1D()([[[2.0, 5.0], [4.0, 1.0]]])
        array([[4., 5.]], dtype=float32)
    """

    def _call_ragged(self, inputs: Ragged) -> Array:
        """The largest of the steps of each row; see `_ragged`."""
        if inputs.valid is not None:
            self._warn_of_loss(None)
        values = self._sequences(inputs.values[np.newaxis])[0]
        return self._of_rows(np.maximum, values, inputs._rows)

    def call(self, inputs: ArrayLike) -> Array:
        x = self._sequences(inputs)
        if not x.size and not len(x):  # NumPy has no maximum of no step, even for no row
            nothing: Array = x.sum(axis=self._time, keepdims=self.keepdims)
            return nothing
        if not x.shape[self._time]:
            raise ValueError(f"inputs of layer {self.name!r} have no step, but shape {x.shape}")
        y: Array = x.max(axis=self._time, keepdims=self.keepdims)
        return y


def as_data_format(value: str | None) -> str:
    """The data format; None means "channels_last"."""
    formats = ("channels_last", "channels_first")
    return choice("channels_last" if value is None else value, "data_format", formats)
