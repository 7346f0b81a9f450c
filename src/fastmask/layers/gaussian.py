"""Layers that add or multiply normal noise in training, and pass their inputs on otherwise."""

from __future__ import annotations

import numpy as np

from .._typing import Array, Unpack
from ._keras_arguments import LayerArguments
from ._noise import Noise, below_one


class GaussianDropout(Noise):
    """In training, multiplies by normal noise of mean 1; passes masks on.

    Args:
        rate: the noise has the variance rate / (1 - rate); 0 to less than 1.
        seed: seed of the random numbers.
        **layer_args: `name`, `dtype` and others; see `Layer`.

    Called with
        inputs: array of any shape.
        training: whether to disturb anything.

    Returns:
        An array of the same shape.

    Raises:
        TypeError: an argument is of a wrong kind.
        ValueError: an argument is out of range.

    Source:
        Keras: `keras.layers.GaussianDropout`.

    Examples:
        >>> import fastmask as fm
        >>> fm.layers.GaussianDropout(0.5)([[1.0, 2.0]])
        array([[1., 2.]], dtype=float32)
    """

    _options = ("rate", "seed")

    def __init__(
        self,
        rate: float,
        seed: int | None = None,
        **layer_args: Unpack[LayerArguments],
    ) -> None:
        super().__init__(below_one(rate), seed, **layer_args)

    def _disturb(self, x: Array) -> Array:
        spread = np.sqrt(self.rate / (1.0 - self.rate))
        y: Array = x * self._generator.normal(1.0, spread, x.shape).astype(x.dtype)
        return y


class GaussianNoise(Noise):
    """In training, adds normal noise of mean 0; passes masks on.

    Args:
        stddev: standard deviation of the noise, 0 to 1.
        seed: seed of the random numbers.
        **layer_args: `name`, `dtype` and others; see `Layer`.

    Called with
        inputs: array of any shape.
        training: whether to disturb anything.

    Returns:
        An array of the same shape.

    Raises:
        TypeError: an argument is of a wrong kind.
        ValueError: an argument is out of range.

    Source:
        Keras: `keras.layers.GaussianNoise`.

    Examples:
        >>> import fastmask as fm
        >>> fm.layers.GaussianNoise(0.5)([[1.0, 2.0]])
        array([[1., 2.]], dtype=float32)
    """

    _options = ("stddev", "seed")
    _word = "stddev"
    stddev: float

    def __init__(
        self,
        stddev: float,
        seed: int | None = None,
        **layer_args: Unpack[LayerArguments],
    ) -> None:
        super().__init__(stddev, seed, **layer_args)

    def _disturb(self, x: Array) -> Array:
        y: Array = x + self._generator.normal(0.0, self.stddev, x.shape).astype(x.dtype)
        return y
