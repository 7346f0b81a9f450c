"""`import fastmask` is light: no Numba, no framework, little time."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import fastmask as fm

HEAVY = ["numba", "llvmlite", "torch", "keras", "tensorflow", "onnx", "onnxruntime", "h5py"]


def run(code: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env={**os.environ, **environment},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_imports_nothing_heavy() -> None:
    code = f"import fastmask, sys; print([m for m in {HEAVY} if m in sys.modules])"
    assert run(code) == "[]"


def test_building_a_model_needs_no_kernel() -> None:
    code = """
import sys
from pathlib import Path
import fastmask as fm
model = fm.Sequential([fm.layers.Embedding(9, 4, mask_zero=True), fm.layers.LSTM(3)])
model.build((None, None))
model.set_weights(model.get_weights())
mask = fm.Mask([[1, 0]])
mask.lengths, mask.fill
print("numba" in sys.modules)
"""
    assert run(code) == "False"


def test_is_quick(tmp_path: Path) -> None:
    code = """
import time
import numpy
start = time.perf_counter()
import fastmask
print(time.perf_counter() - start)
"""
    # The first try compiles; the machine may be busy in the others. Usually it takes 10 ms.
    environment = {"PYTHONPYCACHEPREFIX": str(tmp_path), "PYTHONDONTWRITEBYTECODE": ""}
    assert min(float(run(code, **environment)) for _ in range(4)) < 0.06


def test_all_names_exist() -> None:
    for name in fm.__all__:
        assert getattr(fm, name) is not None
    for name in fm.layers.__all__:
        assert getattr(fm.layers, name) is not None
    assert "fastmask" in fm.__name__
    assert fm.__version__
