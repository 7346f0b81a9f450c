"""Weights that Keras saves: .weights.h5, and the files that a .weights.json names."""

from __future__ import annotations

import math
from collections import defaultdict
from pathlib import Path

from ...models.known_classes import known_classes
from .._reading import Reader
from ..description import Description, Row, effect_on_masks
from ..hdf5 import ArrayInfo, Hdf5
from ..keras_arrays import arrays_in
from ..keras_names import snake_case
from ..weights.keras import files_of


def describe(file: Reader) -> Description:
    """What is in a file, and in those that it names."""
    groups: dict[str, dict[str, ArrayInfo]] = defaultdict(dict)
    with files_of(file) as files:
        for one in files:
            for path in arrays_in(one):
                group, _, number = path.rpartition("/")
                groups[group][number] = one.info(path)
        rows = [
            _row(group, infos, next(filter(None, (_name(one, group) for one in files)), ""))
            for group, infos in groups.items()
        ]
    total = sum(row.parameters or 0 for row in rows)
    title = f"{Path(file.name).name}: {total:,} parameters"
    note = "weights alone: build the model, and give it the file with model.load_weights"
    return Description(title, rows, [note])


def _name(file: Hdf5, group: str) -> str:
    """The layer's own name, which a group of weights may have as an attribute."""
    try:
        return file.text(group, "name") or ""
    except ValueError:
        return ""


def _row(group: str, infos: dict[str, ArrayInfo], name: str) -> Row:
    path = group.removesuffix("/vars")
    known = {snake_case(one): one for one in known_classes()}
    words = [name, *reversed(path.split("/"))]
    kind = next((known[w] for w in map(_without_number, words) if w in known), "?")
    shapes = ", ".join(str(infos[number].shape) for number in sorted(infos, key=_natural))
    count = sum(math.prod(info.shape) for info in infos.values())
    support = "yes" if kind != "?" else "no layer has such a name; it may be one of yours"
    return Row(path, kind, shapes, count, effect_on_masks(kind), support)


def _without_number(word: str) -> str:
    """The name of a class, from a name with a number after it."""
    stem, _, number = word.rpartition("_")
    return stem if number.isdecimal() else word


def _natural(number: str) -> tuple[int, str]:
    return len(number), number
