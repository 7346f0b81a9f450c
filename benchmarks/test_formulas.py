"""The table of cells made from formulas."""

from __future__ import annotations

from benchmarks import formulas


def test_smoke_formulas() -> None:
    rows = formulas.rows(threads=1, seconds=0.01, sizes=(2, 5))
    assert [row[0] for row in rows] == [f"`{name}`" for name in formulas.NAMES]
    assert rows[0][3:5] == ["1.00", "1.00"]
