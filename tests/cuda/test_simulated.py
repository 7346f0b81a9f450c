"""Runs the tests of the CUDA kernels in Numba's simulator, one process for each file."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from .conftest import ANYWHERE

HERE = Path(__file__).parent
FILES = sorted(path.name for path in HERE.glob("test_*.py") if path.name not in ANYWHERE)


@pytest.mark.skipif(
    find_spec("numba_cuda") is None, reason='needs numba-cuda: pip install "fastmask-rnn[test]"'
)
@pytest.mark.parametrize("file", FILES)
def test_in_the_simulator(file: str) -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--durations=5"]
    run = subprocess.run(
        [*command, str(HERE / file)],
        env={**os.environ, "NUMBA_ENABLE_CUDASIM": "1"},
        capture_output=True,
        text=True,
        cwd=HERE.parents[1],
        check=False,
        timeout=600,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    print(run.stdout)
