"""The soak program finds a planted fault, and says how to reproduce it."""

from __future__ import annotations

import faulthandler
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fastmask_kernels import cpu

from .soak.__main__ import main

SHORT = ["--minutes", "0.02", "--seed", "1", "--loads", "gather", "softmax"]  # quick to compile
SHORT += ["--ways", "plainly", "interrupted"]
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="it forks processes")


@pytest.fixture(autouse=True)
def _own_process_state(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "1")  # which the program sets
    yield
    faulthandler.cancel_dump_traceback_later()  # which the program leaves to its end


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["soak", *arguments])
    return main()


def test_nothing_fails(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(monkeypatch, *SHORT) == 0
    out = capsys.readouterr().out
    assert "0 failed" in out
    assert re.search(r"^gather +[1-9]", out, re.MULTILINE)


def test_a_planted_fault_is_found(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    right = cpu.gather_rows.unchecked  # type: ignore[attr-defined]  # see `checked`

    def wrong(out: Any, *others: Any) -> None:
        right(out, *others)
        out[-1:] *= 1 + 1e-6

    with monkeypatch.context() as patch:
        patch.setattr(cpu.gather_rows, "unchecked", wrong)
        assert run(monkeypatch, *SHORT) == 1
        said = re.findall(r"repeat it: python -m tests.soak (.*)", capsys.readouterr().err)
        assert said
        assert run(monkeypatch, *said[0].split()) == 1
        assert "FAILED" in capsys.readouterr().err
    assert run(monkeypatch, *said[0].split()) == 0
