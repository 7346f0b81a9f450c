"""Layers as plain dictionaries, and back; only known classes are ever made."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ._checks import whole_number
from .layers import LSTM, Activation, Dense, Embedding, Layer, Masking

_BUILT_IN: dict[str, type[Layer]] = {
    cls.__name__: cls for cls in (LSTM, Activation, Dense, Embedding, Masking)
}


def known_classes(custom: Mapping[str, type[Layer]] | None = None) -> dict[str, type[Layer]]:
    """The classes that `deserialize` may make, by name."""
    from .models import Sequential  # which itself imports this module

    return {**_BUILT_IN, "Sequential": Sequential, **(custom or {})}


def serialize(layer: Layer) -> dict[str, Any]:
    """Class, arguments and build shape of a layer, ready for JSON."""
    return {
        "class": type(layer).__name__,
        "config": layer.get_config(),
        "build_shape": _without_batch(layer._build_shape),
    }


def deserialize(data: Any, classes: Mapping[str, type[Layer]]) -> Any:
    """The layer that `serialize` described.

    Raises:
        TypeError: an argument is unknown or of a wrong kind.
        ValueError: the description is not one, or names an unknown class.
    """
    if not isinstance(data, dict) or set(data) != {"class", "config", "build_shape"}:
        raise ValueError("a layer must be described by class, config and build_shape")
    name, config = data["class"], data["config"]
    if not isinstance(name, str) or name not in classes:
        raise ValueError(f"unknown layer class {name!r}")
    if not isinstance(config, dict):
        raise ValueError(f"config of a {name} must be a dictionary, not {config!r}")
    cls = classes[name]
    if isinstance(config.get("layers"), list):
        config = {**config, "layers": [deserialize(one, classes) for one in config["layers"]]}
    layer = cls.from_config(config)
    if data["build_shape"] is not None:
        layer.build(_shape(data["build_shape"]))
    return layer


def _without_batch(shape: Any) -> Any:
    if shape is None:
        return None
    if any(isinstance(size, (list, tuple)) for size in shape):
        return [_without_batch(one) for one in shape]
    return [None, *shape[1:]]


def _shape(data: Any) -> Any:
    if not isinstance(data, list) or len(data) > 64:
        raise ValueError(f"build_shape must be a list of sizes, not {data!r}")
    if any(isinstance(size, list) for size in data):
        return [_shape(one) for one in data]
    return tuple(None if n is None else whole_number(n, "a size in build_shape", 0) for n in data)
