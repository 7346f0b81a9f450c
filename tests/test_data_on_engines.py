"""The code in docs/data.md for Ray and Dask, on the engines themselves."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.test_data_page import BLOCKS, engine_of

BEFORE = """
import pandas as pd, pyarrow as pa, fastmask as fm
model = fm.Sequential([fm.layers.Embedding(100, 8, mask_zero=True), fm.layers.LSTM(16)])
model.build((None, None))
fm.save_model(model, "model.npz")
table = pa.table({"ids": [[4, 9, 2], [7], [1, 1]]})
predict = fm.Predictor("model.npz", column="ids")
"""
BEFORE_RAY = """
import ray
ray.init(num_cpus=2, include_dashboard=False, object_store_memory=80 << 20)
"""


@pytest.mark.optional
@pytest.mark.parametrize("engine", ["ray", "dask"])
def test_as_written(engine: str, tmp_path: Path) -> None:
    for package in (engine, "pandas", "pyarrow"):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{package} is not installed")
    (block,) = (one for one in BLOCKS if engine_of(one) == engine)
    program = f"{BEFORE}{BEFORE_RAY if engine == 'ray' else ''}{block}"
    path = os.pathsep.join(filter(None, map(os.path.abspath, sys.path)))
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": path},
        timeout=170,
    )
    assert done.returncode == 0, done.stderr
