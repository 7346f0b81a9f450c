"""`fastmask inspect`: what is in a model's file."""

from __future__ import annotations

from pathlib import Path

from ..loaders.description import Description, describe
from .table import table


def report(path: Path) -> str:
    """The lines of a report, for people, on what is in a file.

    Raises:
        OSError: it cannot be read.
        ValueError: it is of no known kind, or damaged.
    """
    return _lines(describe(path))


def _lines(found: Description) -> str:
    headings = ("layer", "type", "shapes", "parameters", "mask", "supported")
    rows = [
        tuple(
            "?" if cell is None else f"{cell:,}" if isinstance(cell, int) else cell for cell in row
        )
        for row in found.rows
    ]
    faults = sum(row.support != "yes" for row in found.rows)
    said = [f"{faults} of {len(rows)} are not supported"] if faults else []
    head = [found.title, found.inputs] if found.inputs else [found.title]
    return "\n".join([*head, table(headings, rows, right=[3]), *found.notes, *said])
