"""Layers that drop numbers in training and pass their inputs on otherwise."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from .._checks import whole_number
from .._typing import Array, Unpack
from ._keras_arguments import LayerArguments
from ._layer import is_training
from ._noise import Noise, below_one

_ALPHA, _SCALE = 1.6732632423543772, 1.0507009873554805  # of selu


class Dropout(Noise):
    """In training, sets a share of the inputs to zero and scales up the rest; passes masks on.

    Args:
        rate: the share, 0 to 1.
        noise_shape: shape of the random numbers, which are broadcast to the inputs; None in it
            stands for the inputs' size, None for their shape. (None, 1, None) drops whole features.
        seed: seed of the random numbers.
        **layer_args: `name`, `dtype` and others; see `Layer`.

    Called with
        inputs: array of any shape.
        training: whether to drop anything.

    Returns:
        An array of the same shape.

    Raises:
        TypeError: an argument is of a wrong kind.
        ValueError: an argument is out of range, or the inputs do not fit `noise_shape`.

    Source:
        Keras: `keras.layers.Dropout`.

    Examples:
        >>> import numpy as np
        >>> import fastmask as fm
        >>> y = fm.layers.Dropout(0.5, seed=1)(np.ones((100, 100)), training=True)
        >>> sorted(set(y.ravel().tolist()))
        [0.0, 2.0]
    """

    _options: ClassVar[tuple[str, ...]] = ("rate", "noise_shape", "seed")

    def __init__(
        self,
        rate: float,
        noise_shape: Sequence[int | None] | None = None,
        seed: int | None = None,
        **layer_args: Unpack[LayerArguments],
    ) -> None:
        super().__init__(rate, seed, **layer_args)
        self.noise_shape = _noise_shape(noise_shape)

    def _ragged_way(self, ndim: int) -> str:  # noqa: ARG002 - the signature of `Layer`
        return _way_of(self.noise_shape)

    def _drawn_shape(self, x: Array) -> tuple[int, ...]:
        return _shape_of_noise(self.noise_shape, x.shape, self.name)

    def _disturb(self, x: Array) -> Array:
        if self.rate == 1.0:
            return np.zeros_like(x)
        kept = self._kept(self._drawn_shape(x))
        y: Array = np.where(kept, x / x.dtype.type(1 - self.rate), x.dtype.type(0))
        return y


class SpatialDropout1D(Dropout):
    """In training, drops whole features of a sequence; passes masks on.

    Args:
        rate: the share, 0 to 1.
        seed: seed of the random numbers.
        **layer_args: `name`, `dtype` and others; see `Layer`.

    Called with
        inputs: (B, T, F).
        training: whether to drop anything.

    Returns:
        (B, T, F).

    Raises:
        TypeError: an argument is of a wrong kind.
        ValueError: an argument is out of range, or the inputs have another number of axes.

    Source:
        Keras: `keras.layers.SpatialDropout1D`.

    Examples:
        >>> import numpy as np
        >>> import fastmask as fm
        >>> y = fm.layers.SpatialDropout1D(0.5, seed=1)(np.ones((2, 4, 3)), training=True)
        >>> bool((y == y[:, :1]).all())
        True
    """

    _input_axes = 3
    _options = ("rate", "seed")

    def __init__(
        self,
        rate: float,
        seed: int | None = None,
        **layer_args: Unpack[LayerArguments],
    ) -> None:
        super().__init__(rate, (None, 1, None), seed, **layer_args)


class AlphaDropout(Noise):
    """Dropout that keeps mean and variance of selu's outputs; passes masks on.

    Args:
        rate: the share that is dropped in training; 0 to less than 1.
        noise_shape: see `Dropout`.
        seed: seed of the random numbers.
        **layer_args: `name`, `dtype` and others; see `Layer`.

    Called with
        inputs: array of any shape.
        training: whether to drop anything.

    Returns:
        An array of the same shape.

    Raises:
        TypeError: an argument is of a wrong kind.
        ValueError: an argument is out of range, or the inputs do not fit `noise_shape`.

    Source:
        Keras: `keras.layers.AlphaDropout`; Klambauer et al., 2017.

    Examples:
        >>> import fastmask as fm
        >>> fm.layers.AlphaDropout(0.5)([[1.0, 2.0]])
        array([[1., 2.]], dtype=float32)
    """

    _options = ("rate", "noise_shape", "seed")

    def __init__(
        self,
        rate: float,
        noise_shape: Sequence[int | None] | None = None,
        seed: int | None = None,
        **layer_args: Unpack[LayerArguments],
    ) -> None:
        super().__init__(below_one(rate), seed, **layer_args)
        self.noise_shape = _noise_shape(noise_shape)

    def _ragged_way(self, ndim: int) -> str:  # noqa: ARG002 - the signature of `Layer`
        return _way_of(self.noise_shape)

    def _disturb(self, x: Array) -> Array:
        kept = self._kept(_shape_of_noise(self.noise_shape, x.shape, self.name))
        dropped = -_ALPHA * _SCALE
        a = ((1 - self.rate) * (1 + self.rate * dropped**2)) ** -0.5
        y: Array = a * np.where(kept, x, x.dtype.type(dropped)) - a * dropped * self.rate
        return y


def _way_of(noise_shape: list[int | None] | None) -> str:
    """How the noise handles a `Ragged`: if steps share it, the batch must be padded."""
    return "steps" if noise_shape is None or not is_training() else "padded"


def _noise_shape(value: object) -> list[int | None] | None:
    if value is None:
        return None
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise TypeError(f"noise_shape must be a list of sizes, not {value!r}")
    return [None if n is None else whole_number(n, "a size in noise_shape", 1) for n in value]


def _shape_of_noise(
    given: list[int | None] | None, shape: tuple[int, ...], layer: str
) -> tuple[int, ...]:
    if given is None:
        return shape
    if len(given) == len(shape):
        filled = tuple(own if n is None else n for n, own in zip(given, shape, strict=True))
        if all(n in (1, own) for n, own in zip(filled, shape, strict=True)):
            return filled
    raise ValueError(
        f"inputs of layer {layer!r} have shape {shape}, to which its noise of shape "
        f"{tuple(given)} cannot be broadcast"
    )
