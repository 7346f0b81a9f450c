"""Quantized weights at inference: the part of a layer that handles them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np

from .._checks import choice
from ._weights import Weights

FORMS = "bfloat16", "int8"


class Quantizing:
    """Base of layers, some of which can compute with quantized weights."""

    name: str
    _dtype: np.dtype[Any]
    _weights: Weights
    _quantizable: ClassVar[bool] = False  # whether its own weights can be quantized
    _quantization: str | None = None

    def _all_layers(self) -> Iterator[Any]:
        raise NotImplementedError

    def quantize(self, mode: str) -> None:
        """Compute with quantized weights from now on: faster, for inference only.

        Recurrent layers, `Dense` and `Embedding`, and those inside this layer, use them; other
        layers stay as they are. The weights themselves stay as they are, too: `get_weights`
        returns them, and changes by `set_weights` or a file take effect.

        Args:
            mode: "bfloat16" keeps 8 bits of each number's 24. "int8" makes whole numbers, with a
                scale for each column of weights, and for each row that they are multiplied with.
                Sums, states and outputs stay float32. Recurrent layers compute with arrays on a
                GPU with "bfloat16" alone, and round only recurrent weights there.

        Raises:
            ValueError: there is no such mode, or a layer that would use it computes in float64.
                Calls raise it in training, and for weights that are not finite.

        Source:
            Keras: `keras.layers.Layer.quantize`, which replaces the weights.

        Examples:
            >>> import numpy as np
            >>> import fastmask as fm
            >>> model = fm.Sequential([fm.Input((None, 8)), fm.layers.LSTM(16), fm.layers.Dense(2)])
            >>> exact = model(np.ones((1, 5, 8)))
            >>> model.quantize("int8")
            >>> bool(abs(model(np.ones((1, 5, 8))) - exact).max() < 0.05)
            True
        """
        form = choice(mode, "mode", FORMS)
        layers = [layer for layer in self._all_layers() if layer._quantizable]
        for layer in layers:
            if layer._dtype != np.float32:
                raise ValueError(
                    f"layer {layer.name!r} computes in {layer._dtype}: quantize needs float32"
                )
        for layer in layers:
            layer._weights.seal()
            layer._quantization = form

    def _check_not_quantized(self) -> None:
        """Check that nothing is quantized in a training call.

        Raises:
            ValueError: a layer is.
        """
        for layer in self._all_layers():
            if layer._quantization is not None:
                raise ValueError(
                    f"layer {layer.name!r} cannot be trained with training=True: quantize("
                    f"{layer._quantization!r}) has made it one for inference"
                )
