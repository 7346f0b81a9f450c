"""Folders of Parquet files, and checks of what `fastmask predict` writes for them."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import numpy as np

import fastmask as fm
from fastmask import layers as L

WORDS = 50


def make_model(path: Path, units: int = 3) -> Any:
    model = fm.Sequential([L.Embedding(WORDS, 3, mask_zero=True), L.LSTM(units), L.Dense(1)])
    model.build((None, None))
    random = np.random.default_rng(7)
    model.set_weights([random.normal(size=weight.shape) for weight in model.weights])
    fm.save_model(model, path)
    return model


def make_folder(folder: Path, files: int, rows: int, most: int = 12) -> dict[str, list[list[int]]]:
    """Write files of `rows` rows each, in three row groups; returns the ids by file."""
    pa, pq = (importlib.import_module(name) for name in ("pyarrow", "pyarrow.parquet"))
    random, made = np.random.default_rng(8), {}
    for number in range(files):
        path = folder / ("deeper" if number == 1 else "") / f"f{number}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        ids = [random.integers(1, WORDS, random.integers(0, most)).tolist() for _ in range(rows)]
        row = np.arange(number * rows, (number + 1) * rows)
        when = pa.array(1000 * row, pa.timestamp("ms"))
        who = pa.array([f"é{i}" for i in row]).dictionary_encode()
        column = pa.array(ids, pa.list_(pa.int32()))
        table = pa.table({"row": row, "ids": column, "when": when, "who": who})
        pq.write_table(table, path, row_group_size=-(-rows // 3))
        made[str(path.relative_to(folder))] = ids
    return made


def assert_whole(
    source: Path, output: Path, model: Any, made: dict[str, list[list[int]]], split: bool = False
) -> None:
    """Check that every row is there once, in order, with its other columns and its prediction."""
    pa, pq = (importlib.import_module(name) for name in ("pyarrow", "pyarrow.parquet"))
    left = {path for path in output.rglob("*") if path.is_file()}
    for name, ids in made.items():
        whole = output / name
        paths = sorted(whole.parent.glob(f"{whole.stem}-*{whole.suffix}")) if split else [whole]
        found = pa.concat_tables([pq.read_table(path) for path in paths])
        assert found.drop_columns(["prediction"]).equals(pq.read_table(source / name))
        expected = model.predict(ids, verbose=0)[:, 0]
        np.testing.assert_allclose(found["prediction"].to_numpy(), expected, atol=1e-5)
        left -= set(paths)
    assert not left
