"""Runs the tests of the CUDA kernels in Numba's simulator, one process for each file."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest

from .conftest import ANYWHERE

HERE = Path(__file__).parent
FILES = sorted(path.name for path in HERE.glob("test_*.py") if path.name not in ANYWHERE)


def _simulated(name: str) -> pytest.MarkDecorator:
    return pytest.mark.own_process(str(HERE / name), NUMBA_ENABLE_CUDASIM="1")


@pytest.mark.skipif(
    find_spec("numba_cuda") is None, reason='needs numba-cuda: pip install "fastmask-rnn[test]"'
)
@pytest.mark.parametrize("file", [pytest.param(name, marks=_simulated(name)) for name in FILES])
def test_in_the_simulator(file: str, own_process: str) -> None:
    assert " passed" in own_process, file
