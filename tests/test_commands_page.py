"""The program in docs/commands.md, as written."""

from __future__ import annotations

import json
import re
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import fastmask as fm

from .keras_files import MODELS, Scale

PAGE = Path(__file__).parent.parent / "docs" / "commands.md"


def test_layers_of_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (block,) = re.findall(r"(?ms)^```python\n(.*?)^```", PAGE.read_text("utf-8"))
    ids = [[4, 9, 2], [], [7]]
    shutil.copy(MODELS / "custom_layer.keras", tmp_path / "model.keras")
    lines = [json.dumps({"who": "é", "ids": row}) + "\n" for row in ids]
    (tmp_path / "reviews.jsonl").write_text("".join(lines), "utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "my_layers", SimpleNamespace(Scale=Scale))
    exec(compile(block, str(PAGE), "exec"), {})
    scored = (tmp_path / "scored.jsonl").read_text("utf-8").splitlines()
    found = [json.loads(line) for line in scored]
    assert [(row["who"], row["ids"]) for row in found] == [("é", row) for row in ids]
    model = fm.load_model("model.keras", {"Scale": Scale})
    expected = [model([row or [0]])[0] for row in ids]
    np.testing.assert_allclose([row["prediction"] for row in found], expected, atol=1e-6)
