"""The code of docs/cells.md runs, block after block, and its assertions hold."""

from __future__ import annotations

import linecache
import re
from pathlib import Path
from typing import Any

import pytest

PAGE = Path(__file__).parent.parent / "docs" / "cells.md"
BLOCKS = re.findall(r"(?ms)^```python\n(.*?)^```", PAGE.read_text("utf-8"))
OF_TORCH = [block for block in BLOCKS if "torch" in block]


def run(blocks: list[str]) -> None:
    names: dict[str, Any] = {"__name__": "__main__"}
    for number, block in enumerate(blocks):
        file = f"<block {number} of {PAGE.name}>"
        linecache.cache[file] = len(block), None, block.splitlines(True), file
        exec(compile(block, file, "exec"), names)


@pytest.mark.slow
def test_without_torch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert (len(BLOCKS), len(OF_TORCH)) == (10, 2)
    run([block for block in BLOCKS if block not in OF_TORCH])


@pytest.mark.optional
def test_with_torch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch", reason="torch is not installed")
    monkeypatch.chdir(tmp_path)
    needed = BLOCKS[0], next(block for block in BLOCKS if "def peephole" in block)
    run([*needed, *OF_TORCH])
