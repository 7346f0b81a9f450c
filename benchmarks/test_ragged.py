"""The table of batches with and without padding."""

from __future__ import annotations

from benchmarks import ragged


def test_smoke_ragged() -> None:
    rows = ragged.rows(1, 0.01, 3, 8)
    assert [row[0] for row in rows] == ["10%", "25%", "50%", "100%"]
