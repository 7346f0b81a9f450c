"""Initializers that draw; see `initializers`."""

from __future__ import annotations

import math
import operator
from collections.abc import Iterable
from typing import Any

import numpy as np

from .._checks import choice, real_number, whole_number
from .._typing import Array, DTypeLike
from .fixed import Initializer

_MODES = ("fan_in", "fan_out", "fan_avg")
_DISTRIBUTIONS = ("truncated_normal", "untruncated_normal", "uniform")
_TRUNCATED = 0.87962566103423978  # standard deviation of a normal cut off at 2 of them


class Random(Initializer):
    """An initializer that draws random numbers; with a `seed`, the same ones every time."""

    _options: tuple[str, ...] = ("seed",)

    def __init__(self, seed: int | None = None) -> None:
        self.seed = None if seed is None else whole_number(seed, "seed", 0)

    def _generator(self) -> np.random.Generator:
        return np.random.default_rng(self.seed)


class RandomUniform(Random):
    """Uniform from `minval` to `maxval`."""

    _options = ("minval", "maxval", "seed")

    def __init__(
        self, minval: float = -0.05, maxval: float = 0.05, seed: int | None = None
    ) -> None:
        super().__init__(seed)
        self.minval = real_number(minval, "minval")
        self.maxval = real_number(maxval, "maxval")

    def __call__(self, shape: tuple[int, ...], dtype: DTypeLike = "float32") -> Array:
        return self._generator().uniform(self.minval, self.maxval, shape).astype(dtype)


class RandomNormal(Random):
    """Normal with the given mean and standard deviation."""

    _options = ("mean", "stddev", "seed")

    def __init__(self, mean: float = 0.0, stddev: float = 0.05, seed: int | None = None) -> None:
        super().__init__(seed)
        self.mean = real_number(mean, "mean")
        self.stddev = real_number(stddev, "stddev")

    def __call__(self, shape: tuple[int, ...], dtype: DTypeLike = "float32") -> Array:
        return self._generator().normal(self.mean, self.stddev, shape).astype(dtype)


class TruncatedNormal(RandomNormal):
    """Normal, with what is further than 2 standard deviations from the mean drawn again."""

    def __call__(self, shape: tuple[int, ...], dtype: DTypeLike = "float32") -> Array:
        drawn = _truncated(self._generator(), shape)
        return (self.mean + self.stddev * drawn).astype(dtype)


class VarianceScaling(Random):
    """Random numbers of mean 0 and variance `scale` / n, where `mode` chooses n.

    Args:
        scale: a positive number.
        mode: "fan_in", the number of inputs; "fan_out", that of outputs; or "fan_avg", their mean.
        distribution: "truncated_normal", "untruncated_normal" or "uniform".
        seed: with one the same numbers are drawn every time.
        input_axes: the axes of the weight that make up the inputs; with `output_axes` only.
        output_axes: the axes that make up the outputs.
    """

    _options: tuple[str, ...] = (
        "scale",
        "mode",
        "distribution",
        "seed",
        "input_axes",
        "output_axes",
    )

    def __init__(
        self,
        scale: float = 1.0,
        mode: str = "fan_in",
        distribution: Any = "truncated_normal",
        seed: int | None = None,
        input_axes: Iterable[int] | None = None,
        output_axes: Iterable[int] | None = None,
    ) -> None:
        super().__init__(seed)
        self.scale = real_number(scale, "scale")
        if not self.scale > 0:
            raise ValueError(f"scale must be positive, not {scale!r}")
        self.mode = choice(mode, "mode", _MODES)
        known = distribution.lower() if isinstance(distribution, str) else distribution
        known = "truncated_normal" if known == "normal" else known
        self.distribution = choice(known, "distribution", _DISTRIBUTIONS)
        self.input_axes = _axes(input_axes, "input_axes")
        self.output_axes = _axes(output_axes, "output_axes")

    def __call__(self, shape: tuple[int, ...], dtype: DTypeLike = "float32") -> Array:
        fans = _fans(shape, self.input_axes, self.output_axes)
        count = {"fan_in": fans[0], "fan_out": fans[1], "fan_avg": sum(fans) / 2}[self.mode]
        stddev = math.sqrt(self.scale / max(1.0, count))
        generator = self._generator()
        if self.distribution == "truncated_normal":
            values = stddev / _TRUNCATED * _truncated(generator, shape)
        elif self.distribution == "untruncated_normal":
            values = generator.normal(0.0, stddev, shape)
        else:
            limit = math.sqrt(3.0) * stddev
            values = generator.uniform(-limit, limit, shape)
        return values.astype(dtype)


class _Scaled(VarianceScaling):
    """Variance scaling with scale, mode and distribution fixed."""

    _options = ("seed", "input_axes", "output_axes")
    _fixed: tuple[float, str, str]

    def __init__(
        self,
        seed: int | None = None,
        input_axes: Iterable[int] | None = None,
        output_axes: Iterable[int] | None = None,
    ) -> None:
        super().__init__(*self._fixed, seed, input_axes, output_axes)


class GlorotUniform(_Scaled):
    """Uniform within sqrt(6 / (fan_in + fan_out)) of zero (Glorot and Bengio, 2010)."""

    _fixed = 1.0, "fan_avg", "uniform"


class GlorotNormal(_Scaled):
    """Truncated normal of variance 2 / (fan_in + fan_out) (Glorot and Bengio, 2010)."""

    _fixed = 1.0, "fan_avg", "truncated_normal"


class LecunUniform(_Scaled):
    """Uniform within sqrt(3 / fan_in) of zero (Klambauer et al., 2017)."""

    _fixed = 1.0, "fan_in", "uniform"


class LecunNormal(_Scaled):
    """Truncated normal of variance 1 / fan_in (Klambauer et al., 2017)."""

    _fixed = 1.0, "fan_in", "truncated_normal"


class HeUniform(_Scaled):
    """Uniform within sqrt(6 / fan_in) of zero (He et al., 2015)."""

    _fixed = 2.0, "fan_in", "uniform"


class HeNormal(_Scaled):
    """Truncated normal of variance 2 / fan_in (He et al., 2015)."""

    _fixed = 2.0, "fan_in", "truncated_normal"


class Orthogonal(Random):
    """Orthonormal columns, or rows if there are fewer of them (Saxe et al., 2014)."""

    _options = ("gain", "seed")

    def __init__(self, gain: float = 1.0, seed: int | None = None) -> None:
        super().__init__(seed)
        self.gain = real_number(gain, "gain")

    def __call__(self, shape: tuple[int, ...], dtype: DTypeLike = "float32") -> Array:
        if len(shape) < 2:
            raise ValueError(f"an orthogonal weight must have two axes or more, not shape {shape}")
        rows, columns = math.prod(shape[:-1]), shape[-1]
        normal = self._generator().normal(size=(max(rows, columns), min(rows, columns)))
        q, r = np.linalg.qr(normal)
        q *= np.where(np.diag(r) < 0, -1.0, 1.0)  # else the distribution is not uniform
        return (self.gain * (q if rows >= columns else q.T).reshape(shape)).astype(dtype)


def _truncated(generator: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Standard normal numbers that are within 2 of zero."""
    values: Array = np.asarray(generator.standard_normal(shape))
    while (far := np.abs(values) > 2).any():
        values[far] = generator.standard_normal(int(far.sum()))
    return values


def _fans(
    shape: tuple[int, ...], inputs: list[int] | None, outputs: list[int] | None
) -> tuple[int, int]:
    """How many inputs and outputs a weight of this shape connects."""
    if inputs is not None and outputs is not None:
        try:
            return math.prod(shape[a] for a in inputs), math.prod(shape[a] for a in outputs)
        except IndexError:
            raise ValueError(
                f"input_axes and output_axes must be axes of the weight, not {inputs} and "
                f"{outputs} of shape {shape}"
            ) from None
    if len(shape) < 2:
        return (shape[0],) * 2 if shape else (1, 1)
    field = math.prod(shape[:-2])
    return shape[-2] * field, shape[-1] * field


def _axes(value: Iterable[int] | None, name: str) -> list[int] | None:
    if value is None:
        return None
    try:
        return [operator.index(axis) for axis in value]
    except TypeError:
        raise TypeError(f"{name} must be a list of integers, not {value!r}") from None
