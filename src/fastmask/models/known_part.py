"""The part of a described model that can be made although classes of other layers are unknown."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from itertools import takewhile
from typing import Any

from .._typing import TypeIs
from .config import DESCRIPTION, PARTS

_Description = dict[str, Any]


def described_layers(data: Any) -> Iterator[_Description]:
    """The descriptions in `data` that are in no other one."""
    if _is_description(data):
        yield data
    else:
        for one in _values(data):
            yield from described_layers(one)


def unknown_layers(data: Any, classes: Collection[str]) -> set[int]:
    """The `id` of each description in `data` whose class, or that of a layer in it, is unknown."""
    found: set[int] = set()

    def visit(data: Any) -> bool:
        unknown = True in [visit(one) for one in _values(data)]
        if _is_description(data):
            unknown = unknown or data["class"] not in classes
            found.update({id(data)} if unknown else ())
        return unknown

    visit(data)
    return found


def _is_description(data: Any) -> TypeIs[_Description]:
    return isinstance(data, dict) and set(data) == DESCRIPTION and isinstance(data["config"], dict)


def _values(data: Any) -> Iterable[Any]:
    return data.values() if isinstance(data, dict) else data if isinstance(data, list) else ()


def known_part(described: _Description, unknown: Collection[int]) -> _Description | None:
    """The description of a model of the layers whose inputs are known; None if there are none.

    Args:
        described: the model.
        unknown: its layers that cannot be made, see `unknown_layers`.

    Raises:
        TypeError: the description is damaged.
        ValueError: the description is damaged.
        LookupError: the description is damaged.
    """
    config = described["config"]
    if described["class"] == "Sequential":
        kept = list(takewhile(lambda one: id(one) not in unknown, config["layers"]))
        return described | {"config": config | {"layers": kept}} if kept else None
    if described["class"] == "Functional":
        return _functional(described, [id(one) not in unknown for one in config["layers"]])
    return None


def _functional(described: _Description, known: list[bool]) -> _Description | None:
    """The steps of known layers on known values, which are numbered anew."""
    config = described["config"]
    values = {number: number for number in range(len(config["inputs"]))}
    layers: dict[int, int] = {}
    steps = []
    for step in config["steps"]:
        if not known[step["layer"]]:
            continue
        try:
            given, options = (_renumbered(step[key], values) for key in ("inputs", "options"))
        except KeyError:  # it needs a value that is not known
            continue
        layer = layers.setdefault(step["layer"], len(layers))
        outputs = range(len(values), len(values) + len(step["outputs"]))
        values |= dict(zip(step["outputs"], outputs, strict=True))
        steps.append(
            {"layer": layer, "inputs": given, "options": options, "outputs": list(outputs)}
        )
    if not steps:
        return None
    config = {key: value for key, value in config.items() if key != "output_keys"} | {
        "layers": [config["layers"][number] for number in layers],
        "steps": steps,
        "outputs": [{"value": number} for number in values.values()],
    }
    return described | {"config": config}


def _renumbered(data: Any, values: dict[int, int]) -> Any:
    """A step's arguments; a KeyError if they have a value that is not known."""
    if isinstance(data, list):
        return [_renumbered(one, values) for one in data]
    if isinstance(data, dict) and set(data) <= set(PARTS):
        return {part: values[number] for part, number in data.items()}
    return data
