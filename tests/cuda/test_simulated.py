"""Runs the tests of the CUDA kernels, and the example, in Numba's simulator, a process per file."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest

from .conftest import ANYWHERE

HERE = Path(__file__).parent
EXAMPLE = HERE.parents[1] / "examples" / "test_in_the_simulator.py"
SLOW = "test_barriers.py"
FILES = sorted(path for path in HERE.glob("test_*.py") if path.name not in ANYWHERE)


def _simulated(path: Path) -> list[pytest.MarkDecorator]:
    # The host's kernels, which the example calls too, need not be compiled for this.
    backend = {"FASTMASK_KERNELS": "reference"} if path == EXAMPLE else {}
    own_process = pytest.mark.own_process(str(path), NUMBA_ENABLE_CUDASIM="1", **backend)
    return [own_process, pytest.mark.slow] if path.name == SLOW else [own_process]


@pytest.mark.skipif(
    find_spec("numba_cuda") is None, reason='needs numba-cuda: pip install "fastmask-rnn[test]"'
)
@pytest.mark.parametrize(
    "file", [pytest.param(path.name, marks=_simulated(path)) for path in [*FILES, EXAMPLE]]
)
def test_in_the_simulator(file: str, own_process: str) -> None:
    assert " passed" in own_process, file
