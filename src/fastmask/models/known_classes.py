"""The classes that a model file may name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .. import layers as _layers
from ..layers import Layer
from .functional import Functional
from .sequential import Sequential

# Lambda holds a function, and Layer computes nothing.
_BUILT_IN: dict[str, type[Layer]] = {
    **{n: getattr(_layers, n) for n in _layers.__all__ if n not in ("Lambda", "Layer")},
    "Functional": Functional,
    "Sequential": Sequential,
}


def known_classes(custom: Mapping[str, type[Layer]] | None = None) -> dict[str, type[Layer]]:
    """The classes that `deserialize` may make, by name.

    Args:
        custom: further ones, of the user's.

    Raises:
        TypeError: `custom` does not map names to classes of layers.
    """
    if not (custom is None or isinstance(custom, Mapping)):
        raise TypeError(f"custom_objects must be like {{'Mine': Mine}}, not {custom!r}")
    values: dict[Any, Any] = dict(custom or {})
    for key, cls in values.items():
        if not (isinstance(key, str) and isinstance(cls, type) and issubclass(cls, Layer)):
            raise TypeError(
                "custom_objects must hold classes of layers by their names, like "
                f"{{'Mine': Mine}}, not {key!r}: {cls!r}"
            )
    return {**_BUILT_IN, **(custom or {})}
