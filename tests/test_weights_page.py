"""The code of docs/weights.md transfers weights: both sides compute the same."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

PAGE = Path(__file__).parent.parent / "docs" / "weights.md"
BLOCKS = re.findall(r"(?ms)^```python\n(.*?)^```", PAGE.read_text("utf-8"))


def run(*needed: str) -> dict[str, Any]:
    """The names defined by the blocks that contain these words."""
    blocks = [block for block in BLOCKS if any(word in block for word in needed)]
    assert len(blocks) == len(needed)
    names: dict[str, Any] = {}
    for block in blocks:
        exec(compile(block, str(PAGE), "exec"), names)
    return names


def test_all_blocks_are_tested() -> None:
    assert len(BLOCKS) == 5


@pytest.mark.optional
def test_keras(tmp_path: Path) -> None:
    if not all(map(importlib.util.find_spec, ("keras", "torch"))):
        pytest.skip("needs the extras keras and torch")
    program = "\n".join(
        [
            *(block for block in BLOCKS if "theirs =" in block or "ours =" in block),
            "ids = np.array([[4, 9, 0, 0], [7, 1, 2, 0]])",
            "expected = keras.ops.convert_to_numpy(theirs(ids))",
            "np.testing.assert_allclose(ours(ids), expected, atol=1e-5)",
            "np.testing.assert_array_equal(fm.load_model('model.npz')(ids), ours(ids))",
        ]
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program],
        env=os.environ | {"KERAS_BACKEND": "torch", "CUDA_VISIBLE_DEVICES": ""},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.optional
@pytest.mark.parametrize("kind", ["lstm", "gru"])
def test_torch(kind: str) -> None:
    torch = pytest.importorskip("torch")
    names = run(f"{kind}_there =")
    x = np.random.default_rng(3).normal(size=(2, 5, 8)).astype(np.float32)
    with torch.no_grad():
        expected = names[f"{kind}_there"](torch.from_numpy(x))[0].numpy()
    np.testing.assert_allclose(names[kind](x), expected, atol=1e-5)


def test_onnx() -> None:
    names = run("lstm_of_onnx =")
    w, r, b = (names[name][0].astype(np.float32) for name in "WRB")
    x = np.random.default_rng(4).normal(size=(2, 3, 8)).astype(np.float32)

    def sigmoid(z: Any) -> Any:
        return 1 / (1 + np.exp(-z))

    h = c = np.zeros((2, 16))
    for step in range(3):  # as in the ONNX specification
        z = x[:, step] @ w.T + h @ r.T + b[:64] + b[64:]
        i, o, f, g = np.split(z, 4, axis=1)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
    np.testing.assert_allclose(names["lstm_of_onnx"](x), h, atol=1e-5)
