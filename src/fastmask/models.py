"""Models: layers put together."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from ._checks import whole_number
from ._dispatch import as_array
from ._mask import Masked
from ._serial import serialize
from ._typing import Array
from .layers import Layer


class Model(Layer):
    """Base of models: a layer that is made of layers."""

    supports_masking = True
    _casts_inputs = False

    def predict(self, x: Any, batch_size: int = 32, verbose: int = 1) -> Any:
        """The outputs for many inputs, computed batch by batch.

        Args:
            x: array or `Masked`, (N, ...).
            batch_size: number of rows computed at once.
            verbose: 0 for silence; otherwise work of more than a second shows its progress in
                a terminal.

        Returns:
            What the model returns for all of `x` at once.

        Raises:
            TypeError: `batch_size` is not an integer.
            ValueError: `batch_size` is less than 1.

        Source:
            Keras: `keras.Model.predict`.

        Example:
            >>> import numpy as np
            >>> import fastmask as fm
            >>> model = fm.Sequential([fm.layers.LSTM(4)])
            >>> model.predict(np.ones((100, 6, 2)), verbose=0).shape
            (100, 4)
        """
        size = whole_number(batch_size, "batch_size", 1)
        if not isinstance(x, Masked):
            x = as_array(x, "x")
        starts = range(0, len(x), size) or range(1)
        batches = (_rows(x, slice(start, start + size)) for start in starts)
        shown = _progress(batches, len(starts)) if verbose else batches
        return _concatenate([self(batch) for batch in shown])


class Sequential(Model):
    """Layers called one after the other; the mask goes along.

    Args:
        layers: the layers, which `add` can continue.
        name: see `Layer`.

    Raises:
        TypeError: something else than a layer is among them.
        ValueError: two layers have the same name.

    Source:
        Keras: `keras.Sequential`.

    Example:
        >>> import fastmask as fm
        >>> model = fm.Sequential([
        ...     fm.layers.Embedding(5000, 16, mask_zero=True),
        ...     fm.layers.LSTM(32),
        ... ])
        >>> model([[711, 632, 71, 0], [73, 8, 3215, 55]]).shape
        (2, 32)
    """

    def __init__(self, layers: Iterable[Layer] | None = None, *, name: str | None = None) -> None:
        super().__init__(name=name)
        self._layers: list[Layer] = []
        for layer in layers or ():
            self.add(layer)

    @property
    def layers(self) -> list[Layer]:
        """The layers, in order."""
        return list(self._layers)

    @property
    def built(self) -> bool:  # type: ignore[override]
        """Whether all layers have their weights."""
        return all(layer.built for layer in self._layers)

    def add(self, layer: Layer) -> None:
        """Put a layer at the end.

        Args:
            layer: the layer.

        Raises:
            TypeError: it is not a layer.
            ValueError: a layer of its name is there already.
        """
        if not isinstance(layer, Layer):
            raise TypeError(f"layer must be a fastmask Layer, not {layer!r}")
        if any(layer.name == other.name for other in self._layers):
            raise ValueError(f"layer must have a name of its own, but {layer.name!r} is taken")
        self._layers.append(layer)

    def build(self, input_shape: Any) -> None:
        """Make the weights of all layers.

        Args:
            input_shape: shape of the inputs, with None for sizes that may vary.
        """
        for layer in self._layers:
            layer.build(input_shape)
            input_shape = layer.compute_output_shape(input_shape)

    def call(self, inputs: Any, mask: Any = None, training: bool = False) -> Any:
        """Call the layers; see the class."""
        outputs = inputs if mask is None else _with_mask(inputs, mask)
        for layer in self._layers:
            outputs = layer(outputs, training=training)
        return outputs

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        """The mask of the outputs, found by computing them."""
        outputs = self(inputs, mask=mask)
        return outputs.mask.valid if isinstance(outputs, Masked) else None

    def compute_output_shape(self, input_shape: Any) -> Any:
        """See `Layer`."""
        for layer in self._layers:
            input_shape = layer.compute_output_shape(input_shape)
        return input_shape

    def _carry(self, outputs: Any, inputs: Any, valid: Any) -> Any:  # noqa: ARG002
        return outputs  # the last layer has seen to its mask

    def _build_for(self, inputs: Any) -> None:
        """Nothing: each layer is built when it is called."""

    def _note_built(self, input_shape: Any) -> None:
        """Nothing: each layer remembers its own shape."""

    def get_config(self) -> dict[str, Any]:
        """See `Layer`."""
        return {"name": self.name, "layers": [serialize(layer) for layer in self._layers]}


def _with_mask(inputs: Any, mask: Any) -> Any:
    if not isinstance(inputs, list):
        return Masked(inputs, mask)
    return [
        array if one is None else Masked(array, one)
        for array, one in zip(inputs, mask, strict=True)
    ]


def _rows(x: Any, rows: slice) -> Any:
    return Masked(x.data[rows], x.mask.valid[rows]) if isinstance(x, Masked) else x[rows]


def _concatenate(batches: list[Any]) -> Any:
    first = batches[0]
    if len(batches) == 1:
        return first
    if isinstance(first, (list, tuple)):
        return type(first)(_concatenate(list(parts)) for parts in zip(*batches, strict=True))
    if not isinstance(first, Masked):
        return np.concatenate(batches)
    data: Array = np.concatenate([batch.data for batch in batches])
    return Masked(data, np.concatenate([batch.mask.valid for batch in batches]))


def _progress(batches: Iterator[Any], count: int) -> Iterator[Any]:
    """The same batches; a line on the terminal counts them where they take long."""
    start, shown = time.monotonic(), False
    for done, batch in enumerate(batches):
        if sys.stderr.isatty() and time.monotonic() - start > 1.0:
            shown = True
            sys.stderr.write(f"\rbatch {done} of {count}")
            sys.stderr.flush()
        yield batch
    if shown:
        sys.stderr.write(f"\rbatch {count} of {count}\n")
