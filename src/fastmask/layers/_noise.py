"""What layers share that draw random numbers in training.

Each layer has its own generator, made from its seed. The numbers are NumPy's, so the same seed
gives other numbers than in Keras.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .._checks import rate as checked_rate
from .._checks import whole_number
from .._typing import Array, ArrayLike, Unpack
from ..backends.dispatch import real_array
from ._elementwise import SameShape
from ._keras_arguments import LayerArguments


class Noise(SameShape):
    """Base of the layers that draw in training; a subclass defines how to disturb an array."""

    step_by_step = True
    _word = "rate"  # name of the argument for the strength of the noise
    rate: float

    def __init__(
        self,
        strength: float,
        seed: int | None,
        **layer_args: Unpack[LayerArguments],
    ) -> None:
        super().__init__(**layer_args)
        setattr(self, self._word, checked_rate(strength, self._word))
        self.seed = None if seed is None else whole_number(seed, "seed", 0)
        self._generator = np.random.default_rng(self.seed)

    def call(self, inputs: ArrayLike, training: bool = False) -> Any:
        if not training or not getattr(self, self._word):
            return inputs
        x = real_array(inputs, "inputs", self._dtype)
        return self._disturb(x).astype(self._dtype, copy=False)

    def _disturb(self, x: Array) -> Array:
        raise NotImplementedError

    def _kept(self, shape: tuple[int, ...]) -> Array:
        return self._generator.random(shape, np.float32) >= self.rate


def below_one(value: float) -> float:
    """A rate that is less than 1.

    Raises:
        TypeError: it is not a number.
        ValueError: it is out of range.
    """
    number = checked_rate(value, "rate")
    if number == 1.0:
        raise ValueError("rate must be less than 1: at 1 the noise has no finite variance")
    return number
