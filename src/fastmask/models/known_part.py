"""The part of a described model that can be made although classes of other layers are unknown."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from itertools import takewhile
from typing import Any

from .config import DESCRIPTION, PARTS

_Description = dict[str, Any]


def described_layers(data: Any) -> Iterator[_Description]:
    """The descriptions in `data` that are in no other one."""
    if isinstance(data, list):
        for one in data:
            yield from described_layers(one)
    elif isinstance(data, dict):
        if set(data) == DESCRIPTION and isinstance(data["config"], dict):
            yield data
        else:
            yield from described_layers(list(data.values()))


def is_known(described: _Description, classes: Collection[str]) -> bool:
    """Whether the classes of a layer, and of all layers in it, are known."""
    inner = described_layers(described["config"])
    return described["class"] in classes and all(is_known(one, classes) for one in inner)


def known_part(described: _Description, classes: Collection[str]) -> _Description | None:
    """The description of a model of the layers whose inputs are known; None if there are none.

    Raises:
        TypeError: the model is not described as it must be.
        ValueError: so is this.
        LookupError: and this.
    """
    config = described["config"]
    if described["class"] == "Sequential":
        kept = list(takewhile(lambda one: is_known(one, classes), config["layers"]))
        return described | {"config": config | {"layers": kept}} if kept else None
    if described["class"] == "Functional":
        return _functional(described, [is_known(one, classes) for one in config["layers"]])
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
