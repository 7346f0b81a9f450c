"""The names that Keras 3 gives to layers in its HDF5 files.

A path is made of the attributes that lead to a layer. In lists of layers, such as a model's
`layers`, names are those of classes, numbered from the second one on: `layers/lstm_1/cell`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from ..layers import Layer
from ..models.graph_model import GraphModel
from ..models.model import Model

Children = Callable[[Layer], "list[Layer] | None"]  # the layers of a model, in Keras's order


def children_of(layer: Layer) -> list[Layer] | None:
    """The layers of a model; None for a layer that is no model."""
    return layer.layers if isinstance(layer, GraphModel) else None


def _kind(layer: Layer) -> str:
    return type(layer).__name__


def layers_by_name(
    model: Layer, children: Children = children_of, kind: Callable[[Layer], str] = _kind
) -> dict[str, Any]:
    """The layers that have weights of their own, by their paths; see `every_layer_by_name`."""
    found = every_layer_by_name(model, children, kind)
    return {path: layer for path, layer in found.items() if layer._weights}


def every_layer_by_name(
    model: Layer, children: Children = children_of, kind: Callable[[Layer], str] = _kind
) -> dict[str, Any]:
    """All layers by their paths, each once.

    Args:
        model: the model.
        children: the layers of a model, in Keras's order; None for a layer that is no model.
        kind: the name that Keras has for the class of a layer.
    """
    result: dict[str, Any] = {}
    seen: set[int] = set()

    def visit(layer: Any, path: str) -> None:
        if id(layer) in seen:
            return
        seen.add(id(layer))
        result[path] = layer
        inner = children(layer)
        if inner is not None:
            contained(inner, f"{path}/layers".lstrip("/"))
            return
        attributes = dict(vars(layer))
        if isinstance(layer, Model):
            attributes["layers"] = layer.layers  # Keras reads it in its place among the names
        for name, value in sorted(attributes.items(), key=_private_last):
            attribute(value, f"{path}/{name}".lstrip("/"))

    def attribute(value: Any, path: str) -> None:
        if isinstance(value, Layer):
            visit(value, path)
        elif isinstance(value, (list, tuple, dict)):
            contained(list(value.values() if isinstance(value, dict) else value), path)

    def contained(values: list[Any], path: str) -> None:
        layers = [one for one in values if isinstance(one, Layer)]
        for one, name in zip(layers, counted(map(snake_case, map(kind, layers))), strict=True):
            visit(one, f"{path}/{name}")

    visit(model, "")
    return result


def snake_case(name: str) -> str:
    """The name of a class as Keras writes it: simple_rnn for SimpleRNN."""
    name = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", re.sub(r"\W+", "", name))
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()


def counted(names: Iterable[str]) -> Iterator[str]:
    """The names, with numbers appended to repeated ones."""
    used: dict[str, int] = {}
    for name in names:
        number = used.get(name)
        used[name] = 0 if number is None else number + 1
        yield name if number is None else f"{name}_{number + 1}"


def _private_last(item: tuple[str, Any]) -> str:
    return f"~{item[0]}" if item[0].startswith("_") else item[0]
