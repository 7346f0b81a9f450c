"""fastmask's own files: of a model, or of weights alone."""

from __future__ import annotations

import math
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ...layers._weights import filling
from ...models.config import DESCRIPTION, deserialize
from ...models.known_classes import known_classes
from ...models.model import Model
from ...models.summary import SummaryRow, inputs_of, summarize
from .._npy import read_header
from .._reading import Reader
from .._zips import OF_NUMPY, archive_in, check_stored
from ..description import Description, Row
from ..npz import description_in

_MINE = "no: load_model(path, custom_objects={{{!r}: {}}})"


def describe(file: Reader) -> Description:
    """What is in a file."""
    name = Path(file.name).name
    with archive_in(file) as archive:
        check_stored(archive.infolist(), file.size, OF_NUMPY)
        arrays = [one for one in archive.namelist() if one != "config.npy"]
        shapes = [_shape(archive, one) for one in arrays]
        count = sum(map(math.prod, shapes))
        title = f"{name}: {count:,} parameters"
        if "config.npy" not in archive.namelist():
            rows = [
                Row(one, "-", str(shape), math.prod(shape), "-", "yes")
                for one, shape in zip(arrays, shapes, strict=True)
            ]
            return Description(title, rows, ["weights alone: model.load_weights reads them"])
        described = description_in(archive)
    unknown = _unknown(described)
    if unknown:
        return Description(title, unknown, [])
    with filling("shapes"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about lost masks, which the rows show
        model = deserialize(described, known_classes())
        layers = model.layers if isinstance(model, Model) else [model]
        return Description(
            title, [row_of(row) for row in summarize(model, layers)], [], inputs_of(model)
        )


def _shape(archive: zipfile.ZipFile, name: str) -> tuple[int, ...]:
    with archive.open(name) as stream:
        _, text, _ = read_header(stream, name)
    return tuple(int(size) for size in text.strip("()").split(",") if size.strip())


def row_of(row: SummaryRow) -> Row:
    """The row of an existing layer, from its row in a summary."""
    shapes = row.shape if isinstance(row.shape, list) else [row.shape]
    return Row(row.layer, row.type, ", ".join(map(str, shapes)), row.parameters, row.mask, "yes")


def _unknown(described: Any) -> list[Row]:
    """A row for each layer, if the class of one is unknown; else none."""
    known = known_classes()
    rows = [
        Row(name, kind, "?", None, "?", "yes" if kind in known else _MINE.format(kind, kind))
        for name, kind in _layers(described, "")
    ]
    return rows if any(row.support != "yes" for row in rows) else []


def _layers(described: Any, around: str) -> Iterator[tuple[str, str]]:
    """Name and class of each described layer, those inside others too."""
    if isinstance(described, list):
        for one in described:
            yield from _layers(one, around)
    elif isinstance(described, dict):
        config = described.get("config")
        if set(described) == DESCRIPTION and isinstance(config, dict):
            name = f"{around}{config.get('name')}"
            yield name, str(described["class"])
            around = f"{name}/"
        for one in described.values():
            yield from _layers(one, around)
