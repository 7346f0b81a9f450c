"""From a Parquet file to predictions: that the measurement runs."""

from __future__ import annotations

import pytest

from benchmarks import files


def test_smoke_files() -> None:
    pytest.importorskip("pyarrow")
    found = files.measure(rows=300, steps=10, units=16, spread=0.6)
    assert found["rows"] == 300
    assert 0 < found["kernels"] < found["seconds"]
    assert found["bytes"] > 1e7
