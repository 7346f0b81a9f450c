"""The layers of fastmask's own file in which classes of some are unknown."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from ...models.config import deserialize
from ...models.known_classes import known_classes
from ...models.known_part import described_layers, is_known, known_part
from ..description import Row

_MINE = "the class is not known; load_model(path, custom_objects={{{!r}: {}}}) takes it"
_DAMAGED = (TypeError, ValueError, AttributeError, LookupError, OverflowError)


def known_model(described: dict[str, Any]) -> Any:
    """A model of the layers that can be made; None if there are none, or they are damaged."""
    with suppress(*_DAMAGED):
        part = known_part(described, known_classes())
        return None if part is None else deserialize(part, known_classes())
    return None


def rows_of(described: dict[str, Any], known: list[Row], count: int) -> list[Row]:
    """The rows of a model, without those around layers that are wholly known.

    Args:
        described: the model.
        known: the rows of `known_model`.
        count: the number of the model's parameters.
    """
    name, kind = str(described["config"].get("name")), str(described["class"])
    outermost = Row(name, kind, "?", count, "?", _support(kind))
    return [outermost, *_rows_inside(described, "", known)]


def _rows_inside(described: dict[str, Any], around: str, known: list[Row]) -> Iterator[Row]:
    for one in described_layers(described["config"]):
        name, kind = f"{around}{one['config'].get('name')}", str(one["class"])
        if not is_known(one, known_classes()):
            yield Row(name, kind, "?", None, "?", _support(kind))
            yield from _rows_inside(one, f"{name}/", known)
            continue
        own = [row for row in known if f"{row.layer}/".startswith(f"{name}/")]
        yield from own or [Row(name, kind, "?", _parameters(one), "?", "yes")]


def _support(kind: str) -> str:
    return "yes" if kind in known_classes() else _MINE.format(kind, kind)


def _parameters(described: dict[str, Any]) -> int | None:
    """The number of a layer's parameters; None if it is damaged."""
    with suppress(*_DAMAGED):
        return int(deserialize(described, known_classes()).count_params())
    return None
