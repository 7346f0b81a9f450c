"""The table of batches with and without padding."""

from __future__ import annotations

from benchmarks import ragged


def test_smoke_ragged() -> None:
    (row,) = ragged.rows(1, 0.01, (3, 8), (0.5,))
    assert row[0] == "50%"
