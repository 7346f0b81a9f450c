"""`fastmask inspect`: what is in a model's file."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

from ..loaders.description import Description, Row, describe, not_supported
from .table import table


class Report(NamedTuple):
    """What is in a file."""

    text: str  # lines for people
    supported: bool  # all of it


def report(path: Path) -> Report:
    """A report on what is in a file.

    Raises:
        OSError: it cannot be read.
        ValueError: it is of no known kind, or damaged.
    """
    found = describe(path)
    faults = [*_reasons(found.rows), *found.faults]
    return Report("\n".join(_lines(found, faults)), not faults)


def _lines(found: Description, faults: list[str]) -> list[str]:
    headings = ("layer", "type", "shapes", "parameters", "mask", "supported")
    rows = [(*map(_cell, row[:-1]), "yes" if row.support == "yes" else "no") for row in found.rows]
    wrong = sum(row.support != "yes" for row in found.rows)
    said = [not_supported(wrong, len(rows))] if wrong else []
    head = filter(None, (found.title, found.inputs, found.outputs))
    return [*head, table(headings, rows, right=[3]), *faults, *found.notes, *said]


def _cell(value: str | int | None) -> str:
    return "?" if value is None else f"{value:,}" if isinstance(value, int) else value


def _reasons(rows: list[Row]) -> list[str]:
    """Why layers are not supported; those with the same reason together."""
    layers: dict[str, list[str]] = defaultdict(list)
    for row in rows:
        if row.support != "yes":
            layers[row.support].append(row.layer)
    return [f"{', '.join(names)}: {reason}" for reason, names in layers.items()]
