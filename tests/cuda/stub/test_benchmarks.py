"""`python -m benchmarks.cuda --dry-run`: every part starts, ends and writes its file."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest
from benchmarks.cuda import host, process

SANITIZER = """#!/bin/sh
echo "$2" >>"$0.log"
echo "========= ERROR SUMMARY: 0 errors"
echo "========= RACECHECK SUMMARY: 0 hazards displayed (0 errors, 0 warnings)"
"""
TOOLS = ["memcheck", "racecheck", "synccheck", "initcheck"]


@pytest.mark.timeout(400)
def test_a_dry_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts alone, and added to the results of an earlier run."""
    out, sanitizer = tmp_path / "stub.json", tmp_path / "compute-sanitizer"
    sanitizer.write_text(SANITIZER)
    sanitizer.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")

    def run(*options: str) -> Any:
        given = ("--dry-run", "--seconds", "0.001", "--out", str(out), *options)
        code, said = process.run((sys.executable, "-m", "benchmarks.cuda", *given), 300)
        assert code == 0, said
        assert "DRY RUN" in said
        return json.loads(out.read_text())

    report = run("--only", "compile")
    done = report["compile"]["done"]
    assert any("bf16" in title for title in done)
    assert any("training" in title for title in done)
    report = run("--resume")
    assert report["compile"]["done"] == done, "nothing is done again"
    assert report["tests"]["files"]["test_ptx.py"]["failed"] > 0, "no kernel runs"
    assert not report["timings"]["left_out"]
    assert all("fastmask" in group["seconds"] for group in report["timings"]["groups"])
    assert report["sanitizer"]["program"] == str(sanitizer)
    assert all(found["clean"] for found in report["sanitizer"]["tools"].values())
    page = out.with_suffix(".md").read_text()
    assert "DRY RUN" in page.split("Every figure")[0]
    assert all(f"## {part}" in page for part in ("Compiled", "Tests", "Machine"))
    for part in ("timings", "sanitizer"):
        assert run("--resume", "--only", part)[part] == report[part]
    assert Path(f"{sanitizer}.log").read_text().split() == TOOLS, "once each"


def test_what_the_host_needs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(host, "ROUNDS", 1)
    monkeypatch.setattr(host, "PROCESSES", 1)
    monkeypatch.setenv("STUB_LOG", os.environ["STUB_LOG"])  # which the program removes
    host.main()
    said = capsys.readouterr().out.splitlines()
    assert [line.partition(":")[0] for line in said[:2]] == ["a launch, arguments"] * 2
    assert len(said) == 4
