"""The report from tiny cases: these test that it is written, not its numbers."""

from __future__ import annotations

import json
import re
import sys
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from benchmarks import claim, measure, memory, picture, rates, report, wide
from benchmarks.cases import Case
from benchmarks.machine import describe, processor
from benchmarks.padding import PaddingCase
from benchmarks.streaming import streaming_case

TINY = (4, 6, 5, 8)
MEASURED = ("lstm", "gru", "quantized", "training", "memory", "streaming", "padding", "rates")


def test_smoke_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fills(cell: str) -> list[Case]:
        return [Case(*TINY, cell=cell), Case(*TINY, 0.5, cell=cell)]

    def kinds(cell: str) -> list[tuple[Case, ...]]:
        return [tuple(Case(*TINY, 0.5, kind, cell) for kind in ("right", "left", "holes"))]

    monkeypatch.setattr(measure, "forward_cases", lambda cell, _: fills(cell))
    monkeypatch.setattr(measure, "kind_cases", lambda cell, _: kinds(cell))
    monkeypatch.setattr(measure, "quantized_cases", lambda _: [*fills("lstm"), *fills("gru")])
    monkeypatch.setattr(measure, "training_cases", lambda _: [*fills("lstm"), *fills("rnn")])
    monkeypatch.setattr(measure, "streaming_cases", lambda: [streaming_case("gru", 100)])
    monkeypatch.setattr(measure, "padding_cases", lambda: [PaddingCase("lists", "ints", rows=20)])
    monkeypatch.setattr(memory, "memory_cases", lambda _: [Case(*TINY, layers=2)])
    monkeypatch.setattr(memory, "peak_growth", lambda *_: 1_000_000)
    monkeypatch.setattr(wide, "wide_calls", lambda: [wide.WideCall("lstm", 100, 4, 8)])
    monkeypatch.setattr(wide, "THREADS", (1, 2))
    monkeypatch.setattr(rates, "SHARE_CASES", [Case(*TINY)])
    monkeypatch.setattr(rates, "STEP_CASES", [Case(1, 6, 8, 8)])
    monkeypatch.setattr(rates, "TURNS", 1)
    monkeypatch.setitem(picture.DRAWN, "lstm", ((TINY,), "One call"))
    monkeypatch.setitem(picture.DRAWN, "training", ((TINY,), "One call"))
    report.main(["--only", ",".join(MEASURED), "--seconds", "0.01", "--out", str(tmp_path)])
    page = (tmp_path / "benchmarks.md").read_text()
    assert "| 4 x 6, 5 -> 8 | 0.5 |" in page
    assert "| SimpleRNN, 4 x 6, 5 -> 8 | 0.5 |" in page
    assert "| bfloat16: largest error | at most 0.01 |" in page
    assert "| ints from lists | end |" in page
    assert all(f"\n## {title}\n" in page for title in ("GRU", "Streaming", "Rates"))
    assert "| LSTM x 2, 4 x 6, 5 -> 8 | 1 |" in page
    assert "| LSTM, 100 x 1, 4 -> 8 |" in page
    for name in report.PICTURES.values():
        assert (tmp_path / name).exists() == (find_spec("matplotlib") is not None)
    (numbers,) = (tmp_path / report.NUMBERS).iterdir()
    assert set(json.loads(numbers.read_text())) == set(MEASURED)
    report.main(["--only", "none", "--out", str(tmp_path)])
    assert (tmp_path / "benchmarks.md").read_text() == page
    assert "side by side" not in page.partition("## How it is measured")[0]
    begin, end = "<!-- speed: a command -->", "<!-- end of speed -->"
    (tmp_path / "README.md").write_text(f"before\n{begin}\nold\n{end}\nafter\n")
    mine, other = json.loads(numbers.read_text()), json.loads(numbers.read_text())
    claim.write_claim([mine], tmp_path / "README.md")
    readme = (tmp_path / "README.md").read_text()
    assert readme.startswith(f"before\n{begin}\n| times as fast as | ONNX Runtime |")
    assert readme.endswith(f"of float32 multiply-adds.\n{end}\nafter\n")
    assert " to " not in readme
    for section in other.values():
        section["about"]["cpu"] = "Another"
    for group in other["lstm"]["groups"]:
        group["seconds"]["ONNX Runtime"]["median"] *= 100
    claim.write_claim([mine, other, {"padding": {}}], tmp_path / "README.md")
    readme = (tmp_path / "README.md").read_text()
    assert re.search(r"\| LSTM, inference, no padding \| (\S+) to (?!\1)\S+ \|", readme)
    assert readme.endswith(f"of float32 multiply-adds.\n{end}\nafter\n")
    assert "; Another" in readme
    (numbers.parent / "another.json").write_text(json.dumps(other))
    report.main(["--only", "none", "--out", str(tmp_path)])
    both = (tmp_path / "benchmarks.md").read_text().partition("## Machines side by side")[2]
    assert "| LSTM, slowest case: times as fast as the best peer |" in both
    assert "| Another" in both
    assert both.partition("## How it is measured")[2] == page.partition("## How it is measured")[2]


def test_smoke_published_numbers_lie_with_the_other_results() -> None:
    options = report.parse(["--publish"])
    for machine in (options.results / report.NUMBERS).iterdir():
        measured = set(json.loads(machine.read_text()))
        assert {"lstm", "training"} <= measured <= set(report.SECTIONS)
    assert (options.out / "benchmarks.md").exists()


@pytest.mark.parametrize(
    ("about", "name"),
    [
        ({"cpu": "AMD EPYC", "family": "25 17"}, "AMD EPYC (Zen 4)"),
        ({"cpu": "AMD EPYC", "family": "99 1"}, "AMD EPYC (family 99, model 1)"),
        ({"cpu": "Another", "family": "25 17"}, "Another (family 25, model 17)"),
        ({"cpu": "Apple M4", "family": ""}, "Apple M4"),
        ({"cpu": "Apple M4"}, "Apple M4"),
    ],
)
def test_smoke_processors_are_named_with_their_generation(about: dict[str, Any], name: str) -> None:
    assert processor(about) == name


def test_smoke_the_command_names_the_program(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["scaling.py", "--rows", "7"])
    monkeypatch.setattr(sys.modules["__main__"], "__spec__", ModuleSpec("benchmarks.scaling", None))
    assert describe(1, False)["command"] == "python -m benchmarks.scaling --rows 7"
