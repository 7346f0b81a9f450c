"""docs/from-torch.md, from the first line to the last: code and commands as written."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fastmask import cli

PAGE = Path(__file__).parent.parent / "docs" / "from-torch.md"
BLOCKS = re.findall(r"(?ms)^```(python|sh)\n(.*?)^```", PAGE.read_text("utf-8"))


@pytest.mark.optional
def test_as_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch")
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    assert [kind for kind, _ in BLOCKS] == ["python"] * 5 + ["sh"] + ["python"] * 4
    for kind, block in BLOCKS:
        if kind == "python":
            exec(compile(block, str(PAGE), "exec"), names)
            continue
        for line in block.splitlines():
            assert cli.main(shlex.split(line)[1:]) == 0
    classes = names["production"](names["sentences"])[:, 0].round()
    assert (classes == [1, 0, 1, 0, 1, 0]).all()
    rows = [json.loads(line) for line in (tmp_path / "scored.jsonl").read_text().splitlines()]
    assert [row["who"] for row in rows] == ["Ada", "Bob"]
    expected = names["production"](["The film was good", "dull"])[:, 0]
    np.testing.assert_allclose([row["prediction"] for row in rows], expected, atol=1e-6)
    assert rows[0]["prediction"] > 0.5 > rows[1]["prediction"]
