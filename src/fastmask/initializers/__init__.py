"""First values of weights: Keras's initializers, with its names, defaults and distributions.

The random numbers themselves are NumPy's, so a seed gives other numbers here than in Keras.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from fastmask_kernels.names import dir_of

from .._checks import closest, shown
from .._names import no_such_name, snake_case
from .._typing import Array
from .fixed import Constant, Given, Identity, Initializer, Ones, Zeros
from .random import (
    GlorotNormal,
    GlorotUniform,
    HeNormal,
    HeUniform,
    LecunNormal,
    LecunUniform,
    Orthogonal,
    RandomNormal,
    RandomUniform,
    TruncatedNormal,
    VarianceScaling,
)

__all__ = [
    "AnyInitializer",
    "Constant",
    "GlorotNormal",
    "GlorotUniform",
    "HeNormal",
    "HeUniform",
    "Identity",
    "Initializer",
    "LecunNormal",
    "LecunUniform",
    "Ones",
    "Orthogonal",
    "RandomNormal",
    "RandomUniform",
    "TruncatedNormal",
    "VarianceScaling",
    "Zeros",
    "get",
]

__dir__ = dir_of(__name__)

_CLASSES: dict[str, type[Initializer]] = {
    cls.__name__: cls
    for cls in (
        *(Zeros, Ones, Constant, Identity, Orthogonal),
        *(RandomUniform, RandomNormal, TruncatedNormal, VarianceScaling),
        *(GlorotUniform, GlorotNormal, HeUniform, HeNormal, LecunUniform, LecunNormal),
    )
}
_SNAKE_CASE = {snake_case(name): cls for name, cls in _CLASSES.items()}
_ALIASES: dict[str, type[Initializer]] = {
    "zero": Zeros,
    "one": Ones,
    "uniform": RandomUniform,
    "normal": RandomNormal,
    "IdentityInitializer": Identity,
    "OrthogonalInitializer": Orthogonal,
}
_NAMES = {**_SNAKE_CASE, **_CLASSES, **_ALIASES}

AnyInitializer = (
    str | Initializer | type[Initializer] | dict[str, Any] | Array | Callable[..., Array] | None
)


def get(identifier: AnyInitializer, name: str = "initializer") -> Callable[..., Array]:
    """Find an initializer.

    Args:
        identifier: a name such as "glorot_uniform" or "GlorotUniform", which None means too; an
            `Initializer`, its class, its `get_config()` or what Keras writes for one; the values
            themselves in an array; or any function of shape and dtype.
        name: the argument's name, for the error message.

    Returns:
        A function of shape and dtype that returns an array.

    Raises:
        ValueError: there is no such initializer.
        TypeError: it is not one, or was given wrong options.

    Source:
        Keras: `keras.initializers.get`.

    Examples:
        >>> from fastmask import initializers
        >>> initializers.get("ones")((2,), "float32")
        array([1., 1.], dtype=float32)
        >>> initializers.get({"class_name": "Constant", "config": {"value": 3}})((2,))
        array([3., 3.], dtype=float32)
    """
    if identifier is None:
        return GlorotUniform()
    if isinstance(identifier, str):
        return _class_named(identifier, name)()
    if isinstance(identifier, dict):
        return _from_config(identifier, name)
    if isinstance(identifier, np.ndarray):
        return Given(identifier)
    made: Any = identifier() if isinstance(identifier, type) else identifier
    if not callable(made):
        raise TypeError(f"{name} must be a name or a function, not {identifier!r}")
    function: Callable[..., Array] = made
    return function


def _class_named(identifier: object, name: str) -> type[Initializer]:
    if not isinstance(identifier, str) or identifier not in _NAMES:
        known = ", ".join(_SNAKE_CASE)
        meant = closest(identifier, _SNAKE_CASE)
        raise ValueError(f"{name} must be one of {known}, not {shown(identifier)}{meant}")
    return _NAMES[identifier]


def _from_config(config: dict[str, Any], name: str) -> Initializer:
    """The initializer described by a config, ours or Keras's."""
    if "class_name" in config:
        made_from, options = config["class_name"], config.get("config")
        if not isinstance(options, dict):
            raise TypeError(f"config of {name} must be a dictionary, not {shown(options)}")
        options = {key: _plain(value) for key, value in options.items()}
    else:
        options = dict(config)
        made_from = options.pop("class", None)
    return _class_named(made_from, name)(**options)


def _plain(value: object) -> Any:
    """An option as Keras writes it: arrays and generators of seeds are described, too."""
    if not isinstance(value, dict) or not isinstance(value.get("config"), dict):
        return value
    inner = value["config"]
    if value.get("class_name") == "SeedGenerator":
        return inner.get("seed")
    if value.get("class_name") in ("__numpy__", "__tensor__"):
        return np.asarray(inner.get("value"))
    return value


def __getattr__(name: str) -> type[Initializer]:
    """Keras's names in lower case, such as `he_normal`, for the classes."""
    if name not in _SNAKE_CASE:
        no_such_name(__name__, name)
    return _SNAKE_CASE[name]
