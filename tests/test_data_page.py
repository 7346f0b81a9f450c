"""docs/data.md, from the first line to the last, as written."""

from __future__ import annotations

import importlib
import re
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

PAGE = Path(__file__).parent.parent / "docs" / "data.md"
BLOCKS = re.findall(r"(?ms)^```python\n(.*?)^```", PAGE.read_text("utf-8"))
ENGINES = ("ray", "dask", "pyspark")


def engine_of(block: str) -> str | None:
    return next(
        (name for name in ENGINES if re.search(rf"^(import|from) {name}\b", block, re.M)), None
    )


@pytest.fixture
def names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The names that the page's blocks define when they run in an empty folder."""
    for package in ("pyarrow", "polars", "pandas", "awkward", "torch"):
        pytest.importorskip(package)
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    for block in BLOCKS:
        if engine_of(block) is None:
            exec(compile(block, str(PAGE), "exec"), names)
    return names


@pytest.mark.optional
def test_as_written_and_on_spark(names: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Spark, which needs a JVM, is replaced by a stub of what the page calls."""
    assert len(BLOCKS) == 10
    pq = importlib.import_module("pyarrow.parquet")
    pq.write_table(names["table"], "reviews.parquet")

    class Frame:
        def __init__(self, path: str) -> None:
            self.batches = pq.read_table(path).to_batches()

        def mapInArrow(self, function: Any, _schema: str) -> list[Any]:
            found: Iterator[Any] = function(iter(self.batches))
            return list(found)

    session = types.SimpleNamespace(read=types.SimpleNamespace(parquet=Frame))
    builder = types.SimpleNamespace(getOrCreate=lambda: session)
    sql = types.SimpleNamespace(SparkSession=types.SimpleNamespace(builder=builder))
    monkeypatch.setitem(sys.modules, "pyspark", types.ModuleType("pyspark"))
    monkeypatch.setitem(sys.modules, "pyspark.sql", sql)
    (block,) = (one for one in BLOCKS if engine_of(one) == "pyspark")
    exec(compile(block, str(PAGE), "exec"), names)
    (batch,) = names["scored"]
    assert batch.equals(names["predict"](names["table"].to_batches()[0]))
