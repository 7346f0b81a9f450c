"""docs/from-keras.md, from the first line to the last: code and commands as written."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

PAGE = Path(__file__).parent.parent / "docs" / "from-keras.md"
BLOCKS = re.findall(r"(?ms)^```(python|sh)\n(.*?)^```", PAGE.read_text("utf-8"))
COMMANDS = """
import shlex
from fastmask import cli
for line in {lines!r}:
    assert cli.main(shlex.split(line)[1:]) == 0
"""
CHECKS = """
assert (expected[:, 0].round() == [1, 0, 1, 0, 1, 0]).all()
assert (y.data.shape, array.shape) == ((2, 3, 3), (2, 3, 3))
assert y.mask.valid.tolist() == [[True, True, True], [True, False, False]]
print(json.dumps(production(["The film was good", "dull"])[:, 0].tolist()))
"""


@pytest.mark.optional
def test_as_written(tmp_path: Path) -> None:
    if not all(map(find_spec, ("keras", "torch"))):
        pytest.skip("needs the extras keras and torch")
    assert [kind for kind, _ in BLOCKS] == ["python"] * 4 + ["sh"] + ["python"] * 9
    program = "\n".join(
        block if kind == "python" else COMMANDS.format(lines=block.splitlines())
        for kind, block in BLOCKS
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", f"import json\n{program}\n{CHECKS}"],
        env=os.environ | {"KERAS_BACKEND": "torch", "OMP_NUM_THREADS": "1"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "Bidirectional" in done.stdout  # of `fastmask inspect`
    rows = [json.loads(line) for line in (tmp_path / "scored.jsonl").read_text().splitlines()]
    assert [row["who"] for row in rows] == ["Ada", "Bob"]
    expected = json.loads(done.stdout.splitlines()[-1])
    assert [row["prediction"] for row in rows] == pytest.approx(expected, abs=1e-6)
    assert rows[0]["prediction"] > 0.5 > rows[1]["prediction"]
