"""The report from tiny cases: it is not the numbers that are tested, but that it comes out."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path

import pytest

from benchmarks import measure, picture, report
from benchmarks.cases import Case
from benchmarks.padding import PaddingCase

TINY = (4, 6, 5, 8)


def test_smoke_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kinds = (Case(*TINY, 0.5, "right"), Case(*TINY, 0.5, "left"), Case(*TINY, 0.5, "holes"))
    monkeypatch.setattr(measure, "lstm_cases", lambda _: [Case(*TINY), Case(*TINY, 0.5)])
    monkeypatch.setattr(measure, "kind_cases", lambda _: [kinds])
    monkeypatch.setattr(measure, "padding_cases", lambda: [PaddingCase("lists", "ints", rows=20)])
    monkeypatch.setattr(picture, "PICTURE_SHAPES", (TINY,))
    report.main(["--only", "lstm,padding", "--seconds", "0.01", "--out", str(tmp_path)])
    page = (tmp_path / "benchmarks.md").read_text()
    assert "| 4 x 6, 5 -> 8 | 0.5 |" in page
    assert (tmp_path / "benchmarks.svg").exists() == (find_spec("matplotlib") is not None)
    assert "| ints from lists | end |" in page
    assert set(json.loads((tmp_path / "benchmarks.json").read_text())) == {"lstm", "padding"}
    report.main(["--only", "none", "--out", str(tmp_path)])
    assert (tmp_path / "benchmarks.md").read_text() == page
