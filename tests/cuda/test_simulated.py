"""Runs the tests of the CUDA kernels, and the example, in Numba's simulator."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest

from .conftest import ANYWHERE

HERE = Path(__file__).parent
EXAMPLE = HERE.parents[1] / "examples" / "test_in_the_simulator.py"
SLOW = "test_barriers.py"
FILES = sorted(path for path in HERE.glob("test_*.py") if path.name not in ANYWHERE)
# A process for each file that takes long, and one for the others, which take less than its start.
LONG = (
    *(SLOW, "test_benchmarks.py", "test_cells.py", "test_own_cells.py"),
    *("test_own_gradients.py", "test_recurrent.py", "test_tensor_cores.py"),
)
RUNS = {path.name: [path] for path in FILES if path.name in LONG} | {
    "others": [path for path in FILES if path.name not in LONG],
    EXAMPLE.name: [EXAMPLE],
}


def _simulated(name: str) -> list[pytest.MarkDecorator]:
    # The host's kernels, which the example calls too, need not be compiled for this.
    backend = {"FASTMASK_KERNELS": "reference"} if name == EXAMPLE.name else {}
    chosen = ["-m", "slow"] if name == SLOW else []
    own_process = pytest.mark.own_process(
        *map(str, RUNS[name]), *chosen, NUMBA_ENABLE_CUDASIM="1", **backend
    )
    return [own_process, pytest.mark.slow] if name == SLOW else [own_process]


@pytest.mark.skipif(
    find_spec("numba_cuda") is None, reason="needs numba-cuda: pip install numba-cuda"
)
@pytest.mark.parametrize("files", [pytest.param(name, marks=_simulated(name)) for name in RUNS])
def test_in_the_simulator(files: str, own_process: str) -> None:
    assert " passed" in own_process, files
