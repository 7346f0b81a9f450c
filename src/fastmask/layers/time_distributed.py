"""A layer for every step of a sequence."""

from __future__ import annotations

from typing import Any

import numpy as np

from .._dispatch import as_array
from .._gpu import on_gpu
from .._mask import Masked
from .._typing import Array, DTypeLike, Shape, Unpack
from ._elementwise import SameShape
from ._layer import Layer
from ._of_training import OfTraining
from .activation import Activation
from .bidirectional import Bidirectional
from .dense import Dense
from .pooling import GlobalPooling
from .rnn import RNN
from .softmax import Softmax

# What these do to a row does not depend on the others, so that all steps can be one batch.
_ROW_BY_ROW = (Dense, Activation, SameShape)
_MASKS_OF_SEQUENCES = (RNN, Bidirectional, GlobalPooling, Softmax)


def _wants_sequences(layer: Layer) -> bool:
    """Whether the masks that a layer takes are of sequences: of some layers, and of models."""
    return isinstance(layer, _MASKS_OF_SEQUENCES) or hasattr(layer, "_flow")


class TimeDistributed(Layer):
    """Applies a layer to every step; passes masks on.

    A layer that takes a mask gets that of the step, (B,). Layers that want one of sequences,
    such as LSTM, get none.

    Args:
        layer: the layer.
        name: see `Layer`.
        dtype: see `Layer`.
        **of_training: see `Layer`.

    Called with
        inputs: (B, T, ...).
        mask: (B, T), instead of the one that the inputs carry.
        training: passed on to the layer.

    Returns:
        (B, T, ...), what the layer makes of each step.

    Raises:
        TypeError: `layer` is not a layer.
        ValueError: the inputs have less than three axes.

    Source:
        Keras: `keras.layers.TimeDistributed`.

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
        *,
        name: str | None = None,
        dtype: DTypeLike | None = None,
        **of_training: Unpack[OfTraining],
    ) -> None:
        if not isinstance(layer, Layer):
            raise TypeError(f"layer must be a fastmask Layer, not {layer!r}")
        super().__init__(name=name, dtype=dtype, **of_training)
        self.layer = layer

    def build(self, input_shape: Shape) -> None:
        """Make the weights of the layer; see `Layer`."""
        self.layer.build(self._step_shape(input_shape))

    def call(self, inputs: Any, training: bool = False, mask: Any = None) -> Array:
        """See the class."""
        x = as_array(inputs, "inputs")
        batch, time = self._step_shape(x.shape)[0], x.shape[1]
        layer = self.layer
        spec = layer._call_spec or layer._read_call_spec()
        if isinstance(layer, _ROW_BY_ROW) and not (spec.mask or (spec.training and training)):
            rows = x.reshape(batch * time, *x.shape[2:])
            y: Array = layer.call(layer._cast(rows))
            return y.reshape(batch, time, *y.shape[1:])
        if not time:
            shape = self.compute_output_shape(x.shape)
            return np.zeros_like(x, self._dtype, shape=[n or 0 for n in shape])
        takes_mask = spec.mask and mask is not None and not _wants_sequences(layer)
        outputs = []
        for t in range(time):
            options: dict[str, Any] = {spec.mask: mask[:, t]} if takes_mask else {}
            if spec.training:
                options["training"] = training
            outputs.append(self._plain(layer.call(layer._cast(x[:, t]), **options)))
        return np.stack(outputs, axis=1)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """See `Layer`."""
        output = self.layer.compute_output_shape(self._step_shape(input_shape))
        return (output[0], input_shape[1], *output[1:])

    def _plain(self, output: Any) -> Any:
        """The output of a step; a mask that it carries for axes inside the step is lost."""
        if isinstance(output, Masked):
            self.layer._warn_of_loss(None)
            return output.data
        if not (isinstance(output, np.ndarray) or on_gpu(output)):
            raise TypeError(
                f"layer {self.layer.name!r} in {self.name!r} must return one array, "
                f"not {type(output).__name__}"
            )
        return output

    def _step_shape(self, shape: Any) -> Any:
        if len(shape) < 3:
            raise ValueError(
                f"inputs of layer {self.name!r} must have shape (batch, time, ...) with three "
                f"axes or more, not {tuple(shape)}"
            )
        return (shape[0], *shape[2:])
