"""The tables of quantized layers."""

from __future__ import annotations

from benchmarks import quantized
from benchmarks.cases import Case


def test_smoke_quantized() -> None:
    row = quantized.row_of(Case(2, 5, 16, 16), threads=1, seconds=0.01)
    assert len(row) in (4, 5)


def test_smoke_accuracy() -> None:
    exact, *others = (float(row[1].removesuffix(" %")) for row in quantized.accuracies())
    assert exact > 96
    assert all(abs(other - exact) <= 0.5 for other in others)
