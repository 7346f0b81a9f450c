"""Where the tests of the CUDA backend run.

Those of its kernels run in Numba's simulator, in processes of their own that test_simulated.py
starts, or on a GPU where there is one. Others look at what the kernels compile to.
"""

from __future__ import annotations

import os
from importlib.util import find_spec

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
    collect_ignore = list(ANYWHERE)
elif not on_gpu():
    collect_ignore_glob = [
        path.name
        for path in os.scandir(os.path.dirname(__file__))
        if path.name.startswith("test_") and path.name not in ANYWHERE
    ]
