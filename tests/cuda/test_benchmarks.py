"""The whole of `python -m benchmarks.cuda`, on tiny sizes in the simulator."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from benchmarks.cuda import process

from fastmask_kernels.cuda.runtime import device as _device


@pytest.mark.skipif(not _device.SIMULATED, reason="tests the simulator's run")
def test_the_whole_program(tmp_path: Path) -> None:
    out = tmp_path / "simulated.json"
    command = ("--simulate", "--only", "timings", "--seconds", "0.001", "--out", str(out))
    code, said = process.run((sys.executable, "-m", "benchmarks.cuda", *command), 300)
    assert code == 0, said
    section = json.loads(out.read_text())["timings"]
    assert all(group["errors"]["fastmask"] < 1e-5 for group in section["groups"])
    assert {group["training"] for group in section["groups"]} == {False, True}
    assert not any("error" in cost for cost in section["costs"].values())
    assert not section["left_out"]
    assert "Made in the simulator" in out.with_suffix(".md").read_text()
