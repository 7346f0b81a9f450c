"""Where the tests of the CUDA column run.

Those of its kernels run in Numba's simulator, in processes of their own that test_simulated.py
starts, or on a GPU where there is one. Others look at what the kernels compile to.
"""

from __future__ import annotations

import os
from importlib.util import find_spec

import pytest

SIMULATED = os.environ.get("NUMBA_ENABLE_CUDASIM") == "1"
ANYWHERE = (
    "test_simulated.py",
    "test_compiled.py",
    "test_compiled_recurrent.py",
    "test_launched.py",
    "test_imports.py",
)


def on_gpu() -> bool:
    """Whether the kernels can run on a GPU in this process."""
    if find_spec("numba_cuda") is None:
        return False
    from numba import cuda

    return bool(cuda.is_available())


if SIMULATED:
    from .simulator import install

    collect_ignore = list(ANYWHERE)
    install()
elif not on_gpu():
    collect_ignore_glob = [
        path.name
        for path in os.scandir(os.path.dirname(__file__))
        if path.name.startswith("test_") and path.name not in ANYWHERE
    ]


@pytest.fixture(autouse=SIMULATED)
def _small_launches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few threads, which the simulator takes long for, and several rounds of every loop."""
    from fastmask_kernels.cuda import _kernel

    monkeypatch.setattr(_kernel, "THREADS", 64)
    monkeypatch.setattr(_kernel, "MOST_THREADS", 64)
    monkeypatch.setattr(_kernel, "MOST_BLOCKS", 2)
    monkeypatch.setattr(_kernel, "MOST_BLOCKS_Y", 2)
