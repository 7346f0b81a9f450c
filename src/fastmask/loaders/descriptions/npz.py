"""fastmask's own files: of a model, or of weights alone."""

from __future__ import annotations

import math
import warnings
import zipfile
from contextlib import suppress
from pathlib import Path

from ...layers import Layer
from ...layers._weights import filling
from ...models.config import deserialize
from ...models.known_classes import known_classes
from ...models.known_part import unknown_layers
from ...models.model import Model
from ...models.needs_padding import padding_reasons
from ...models.summary import SummaryRow, inputs_of, outputs_named, summarize
from .._npy import read_header
from .._reading import Reader
from .._zips import OF_NUMPY, archive_in, check_stored
from ..description import Description, Row
from ..npz import description_in
from .unknown import Unknown


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
    with filling("shapes"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about lost masks, which the rows show
        unknown = unknown_layers(described, known_classes())
        if unknown:
            partly = Unknown(described, unknown)
            known, inputs, _ = _rows(partly.part())
            rows = list(partly.rows(known, count))
            return Description(title, rows, [], inputs, outputs_named(partly.outputs()))
        model = deserialize(described, known_classes())
        rows, inputs, outputs = _rows(model)
        return Description(title, rows, notes_on(model), inputs, outputs)


def _rows(model: Layer | None) -> tuple[list[Row], str, str]:
    """The rows of a model, and the lines about its inputs and outputs; nothing for None."""
    if model is None:
        return [], "", ""
    layers = model.layers if isinstance(model, Model) else [model]
    seen = summarize(model, layers)
    return [row_of(row) for row in seen], inputs_of(model), seen.outputs


def _shape(archive: zipfile.ZipFile, name: str) -> tuple[int, ...]:
    with archive.open(name) as stream:
        _, text, _ = read_header(stream, name)
    return tuple(int(size) for size in text.strip("()").split(",") if size.strip())


def notes_on(model: Layer) -> list[str]:
    """Which layers of a model need padding."""
    with suppress(Exception):  # a note must not make inspect fail
        return [f"needs padding: {why}" for why in padding_reasons(model)]
    return []


def row_of(row: SummaryRow) -> Row:
    """The row of an existing layer, from its row in a summary."""
    shapes = row.shape if isinstance(row.shape, list) else [row.shape]
    return Row(row.layer, row.type, ", ".join(map(str, shapes)), row.parameters, row.mask, "yes")
