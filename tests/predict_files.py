"""Files of rows for `fastmask predict`: written, read, and predicted with the command."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np

import fastmask as fm
from fastmask import cli

from .predictor_cases import built, reader

ENDINGS = ("jsonl", "csv", "txt")


def saved(path: Path, *layers: Any, shape: tuple[int | None, ...] = (None, None)) -> Any:
    """Save a model to a file, with the same seeded weights each time."""
    model = built(*layers, shape=shape)
    fm.save_model(model, path)
    return model


def saved_reader(folder: Path) -> Any:
    """Save the model that `run` takes."""
    model = reader()
    fm.save_model(model, folder / "m.npz")
    return model


def rows_of_ids(count: int, seed: int = 4) -> list[list[int]]:
    random = np.random.default_rng(seed)
    return [random.integers(1, 20, size=random.integers(0, 12)).tolist() for _ in range(count)]


def write(path: Path, rows: list[list[int]]) -> None:
    """Write the rows as a column ids, or text, with another column beside it."""
    with path.open("w", encoding="utf-8", newline="") as file:
        if path.suffix == ".jsonl":
            file.writelines(
                json.dumps({"who": f"é{i}", "ids": r}) + "\n" for i, r in enumerate(rows)
            )
        elif path.suffix == ".csv":
            csv.writer(file).writerows(
                [["who", "ids"], *([f"é{i}", r] for i, r in enumerate(rows))]
            )
        else:
            file.writelines(" ".join(map(str, row)) + "\n" for row in rows)


def read(path: Path, name: str = "prediction") -> list[Any]:
    with path.open(encoding="utf-8", newline="") as file:
        if path.suffix == ".jsonl":
            return [json.loads(line)[name] for line in file]
        if path.suffix == ".csv":
            return [json.loads(row[name]) for row in csv.DictReader(file)]
        return [json.loads(line.split("\t")[-1]) for line in file]


def run(folder: Path, source: str, target: str, *options: str, column: str | None = "") -> int:
    """Run the command; without --column if `column` is None."""
    if column is not None:
        known = "text" if source.endswith("txt") else "ids"
        options = "--column", column or known, *options
    given = [str(folder / "m.npz"), str(folder / source), "--output", str(folder / target)]
    return cli.main(["predict", *given, *options])
