"""The layers of fastmask's own file in which classes of some are unknown."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from ...layers._operations import OF_MASKS
from ...models.config import deserialize
from ...models.known_classes import known_classes
from ...models.known_part import described_layers, known_part
from ..description import Row

_MINE = "the class is not known; load_model(path, custom_objects={{{!r}: {}}}) takes it"
_DAMAGED = (TypeError, ValueError, AttributeError, LookupError, OverflowError)


class Unknown:
    """A model that cannot be made as a whole.

    Args:
        described: the model.
        unknown: what of it cannot be made, see `unknown_layers`.
    """

    def __init__(self, described: dict[str, Any], unknown: set[int]) -> None:
        self._described, self._unknown = described, unknown

    def part(self) -> Any:
        """A model of the layers that can be made; None if there are none, or they are damaged."""
        with suppress(*_DAMAGED):
            part = known_part(self._described, self._unknown)
            return None if part is None else deserialize(part, known_classes())
        return None

    def rows(self, known: list[Row], count: int) -> Iterator[Row]:
        """The rows of all layers that are not inside one that can be made.

        Args:
            known: the rows of `part`.
            count: the number of the model's parameters.
        """
        name, kind = str(self._described["config"].get("name")), str(self._described["class"])
        yield Row(name, kind, "?", count, "?", _support(kind))
        groups: dict[str, list[Row]] = defaultdict(list)
        for row in known:
            groups[row.layer.partition("/")[0]].append(row)
        yield from self._inside(self._described, "", groups)

    def outputs(self) -> list[str]:
        """The keys of the outputs, or the names of the layers that make them; none if not known."""
        config = self._described["config"]
        with suppress(*_DAMAGED):
            if keys := config.get("output_keys"):
                return [str(key) for key in keys]
            names = [one["name"] for one in config["inputs"]]
            for step in config["steps"]:
                layer = config["layers"][step["layer"]]["config"]
                of_mask = layer.get("operation") in OF_MASKS  # of which Keras has none
                name = names[next(_values(step["inputs"]))] if of_mask else layer["name"]
                names += [name] * len(step["outputs"])
            return [str(names[number]) for number in _values(config["outputs"])]
        return []

    def _inside(
        self, described: dict[str, Any], around: str, known: dict[str, list[Row]]
    ) -> Iterator[Row]:
        for one in described_layers(described["config"]):
            name, kind = f"{around}{one['config'].get('name')}", str(one["class"])
            if id(one) in self._unknown:
                yield Row(name, kind, "?", None, "?", _support(kind))
                yield from self._inside(one, f"{name}/", known)
                continue
            yield from known.get(name) or [Row(name, kind, "?", _parameters(one), "?", "yes")]


def _values(described: Any) -> Iterator[int]:
    """The numbers of values in an argument, or in outputs."""
    if isinstance(described, list):
        for one in described:
            yield from _values(one)
    else:
        yield described["value"]


def _support(kind: str) -> str:
    return "yes" if kind in known_classes() else _MINE.format(kind, kind)


def _parameters(described: dict[str, Any]) -> int | None:
    """The number of a layer's parameters; None if it is damaged."""
    with suppress(*_DAMAGED):
        return int(deserialize(described, known_classes()).count_params())
    return None
