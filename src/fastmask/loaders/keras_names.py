"""The names that Keras 3 gives to layers in its HDF5 files.

They are those of the attributes that lead to a layer; and in lists of layers, of which a model has
one named layers, those of classes, with a number from the second one on: `layers/lstm_1/cell`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

from ..layers import Layer
from ..models.graph_model import GraphModel


def layers_by_name(model: Layer) -> dict[str, Any]:
    """The layers that have weights of their own, by their paths, each once."""
    return dict(_inside(model, "", set()))


def snake_case(name: str) -> str:
    """The name of a class as Keras writes it: simple_rnn for SimpleRNN."""
    name = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", re.sub(r"\W+", "", name))
    return re.sub("([a-z])([A-Z])", r"\1_\2", name).lower()


def _inside(layer: Layer, path: str, seen: set[int]) -> Iterator[tuple[str, Any]]:
    if id(layer) in seen:
        return
    seen.add(id(layer))
    if layer._weights:
        yield path, layer
    if isinstance(layer, GraphModel):
        yield from _listed(layer.layers, f"{path}/layers".lstrip("/"), seen)
    for name, value in vars(layer).items():
        inner = f"{path}/{name}".lstrip("/")
        if isinstance(value, Layer) and not name.startswith("_"):
            yield from _inside(value, inner, seen)
        elif isinstance(value, (list, tuple, dict)) and not name.startswith("_"):
            yield from _listed(value.values() if isinstance(value, dict) else value, inner, seen)


def _listed(layers: Iterable[Any], path: str, seen: set[int]) -> Iterator[tuple[str, Any]]:
    used: dict[str, int] = {}
    for layer in layers:
        if isinstance(layer, Layer):
            name = snake_case(type(layer).__name__)
            number = used[name] = used.get(name, -1) + 1
            yield from _inside(layer, f"{path}/{name}{f'_{number}' if number else ''}", seen)
