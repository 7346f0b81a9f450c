"""First values of weights: Keras's initialisers, with its names, defaults and distributions.

The random numbers themselves are NumPy's, so a seed gives other numbers here than in Keras.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ._checks import real_number, whole_number
from ._typing import Array


class Initializer:
    """What fills a new weight: called with its shape and dtype, it returns the values."""

    _options: tuple[str, ...] = ()

    def __call__(self, shape: tuple[int, ...], dtype: Any = "float32") -> Array:
        """The first values, of `shape` and `dtype`."""
        raise NotImplementedError

    def get_config(self) -> dict[str, Any]:
        """What `get` needs to make this initialiser again."""
        options = {option: getattr(self, option) for option in self._options}
        return {"class": type(self).__name__, **options}


class Zeros(Initializer):
    """Zeros."""

    def __call__(self, shape: tuple[int, ...], dtype: Any = "float32") -> Array:
        """See `Initializer`."""
        return np.zeros(shape, dtype)


class Ones(Initializer):
    """Ones."""

    def __call__(self, shape: tuple[int, ...], dtype: Any = "float32") -> Array:
        """See `Initializer`."""
        return np.ones(shape, dtype)


class Constant(Initializer):
    """`value` everywhere."""

    _options = ("value",)

    def __init__(self, value: float = 0.0) -> None:
        self.value = real_number(value, "value")

    def __call__(self, shape: tuple[int, ...], dtype: Any = "float32") -> Array:
        """See `Initializer`."""
        return np.full(shape, self.value, dtype)


class _Random(Initializer):
    """An initialiser that draws; with a `seed` it draws the same numbers every time."""

    def __init__(self, seed: int | None) -> None:
        self.seed = None if seed is None else whole_number(seed, "seed", 0)

    def _generator(self) -> np.random.Generator:
        return np.random.default_rng(self.seed)


class RandomUniform(_Random):
    """Uniform from `minval` to `maxval`."""

    _options = ("minval", "maxval", "seed")

    def __init__(
        self, minval: float = -0.05, maxval: float = 0.05, seed: int | None = None
    ) -> None:
        super().__init__(seed)
        self.minval = real_number(minval, "minval")
        self.maxval = real_number(maxval, "maxval")

    def __call__(self, shape: tuple[int, ...], dtype: Any = "float32") -> Array:
        """See `Initializer`."""
        return self._generator().uniform(self.minval, self.maxval, shape).astype(dtype)


class RandomNormal(_Random):
    """Normal with the given mean and standard deviation."""

    _options = ("mean", "stddev", "seed")

    def __init__(self, mean: float = 0.0, stddev: float = 0.05, seed: int | None = None) -> None:
        super().__init__(seed)
        self.mean = real_number(mean, "mean")
        self.stddev = real_number(stddev, "stddev")

    def __call__(self, shape: tuple[int, ...], dtype: Any = "float32") -> Array:
        """See `Initializer`."""
        return self._generator().normal(self.mean, self.stddev, shape).astype(dtype)


class GlorotUniform(_Random):
    """Uniform within sqrt(6 / (fan_in + fan_out)) of zero (Glorot and Bengio, 2010)."""

    _options = ("seed",)

    def __init__(self, seed: int | None = None) -> None:
        super().__init__(seed)

    def __call__(self, shape: tuple[int, ...], dtype: Any = "float32") -> Array:
        """See `Initializer`."""
        fan_in, fan_out = _fans(shape)
        limit = np.sqrt(6.0 / max(2.0, fan_in + fan_out))
        return self._generator().uniform(-limit, limit, shape).astype(dtype)


class Orthogonal(_Random):
    """Orthonormal columns, or rows where there are fewer of these (Saxe et al., 2014)."""

    _options = ("gain", "seed")

    def __init__(self, gain: float = 1.0, seed: int | None = None) -> None:
        super().__init__(seed)
        self.gain = real_number(gain, "gain")

    def __call__(self, shape: tuple[int, ...], dtype: Any = "float32") -> Array:
        """See `Initializer`."""
        if len(shape) < 2:
            raise ValueError(f"an orthogonal weight must have two axes or more, not shape {shape}")
        rows, columns = int(np.prod(shape[:-1])), shape[-1]
        normal = self._generator().normal(size=(max(rows, columns), min(rows, columns)))
        q, r = np.linalg.qr(normal)
        q *= np.where(np.diag(r) < 0, -1.0, 1.0)  # else the distribution is not uniform
        return (self.gain * (q if rows >= columns else q.T).reshape(shape)).astype(dtype)


def _fans(shape: tuple[int, ...]) -> tuple[int, int]:
    if len(shape) < 2:
        return (shape[0],) * 2 if shape else (1, 1)
    field = int(np.prod(shape[:-2]))
    return shape[-2] * field, shape[-1] * field


_CLASSES = {
    cls.__name__: cls
    for cls in (Zeros, Ones, Constant, RandomUniform, RandomNormal, GlorotUniform, Orthogonal)
}
_NAMES: dict[str, type[Initializer]] = {
    "zeros": Zeros,
    "ones": Ones,
    "constant": Constant,
    "uniform": RandomUniform,
    "random_uniform": RandomUniform,
    "normal": RandomNormal,
    "random_normal": RandomNormal,
    "glorot_uniform": GlorotUniform,
    "orthogonal": Orthogonal,
    **_CLASSES,
}

AnyInitializer = str | Initializer | dict[str, Any] | Callable[..., Array]


def get(identifier: AnyInitializer, name: str = "initializer") -> Callable[..., Array]:
    """The initialiser that `identifier` means.

    Args:
        identifier: a name such as "glorot_uniform", an `Initializer`, its `get_config()`, or
            any function of shape and dtype.
        name: the argument's name, for the error message.

    Returns:
        A function of shape and dtype that returns an array.

    Raises:
        ValueError: there is no such initialiser.
        TypeError: it is not one, or was given wrong options.

    Source:
        Keras: `keras.initializers.get`.

    Examples:
        >>> from fastmask import initializers
        >>> initializers.get("ones")((2,), "float32")
        array([1., 1.], dtype=float32)
    """
    if isinstance(identifier, str):
        if identifier not in _NAMES:
            raise ValueError(f"{name} must be one of {', '.join(_NAMES)}, not {identifier!r}")
        return _NAMES[identifier]()
    if isinstance(identifier, dict):
        options = dict(identifier)
        made_from = options.pop("class", None)
        if made_from not in _CLASSES:
            raise ValueError(f"{name} must be one of {', '.join(_CLASSES)}, not {made_from!r}")
        return _CLASSES[made_from](**options)
    if not callable(identifier):
        raise TypeError(f"{name} must be a name or a function, not {identifier!r}")
    return identifier
