"""Start-up costs: the import, and the first LSTM call of a process.

Every number comes from a new Python process that times itself, so that the start of the interpreter
is left out. Compiled code goes to a folder of this benchmark's own: a new one for each cold start,
one that is already filled for the warm starts.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

TRIVIAL_MODULE = """
from numba import njit

@njit(cache=True)
def one_more(x):
    return x + 1
"""

PROLOGUE = """
import json, sys, time
def report(start, **more):
    print(json.dumps({"seconds": time.perf_counter() - start, **more}))
"""

IMPORT_NUMPY = """
start = time.perf_counter()
import numpy
report(start)
"""

IMPORT_FASTMASK = """
start = time.perf_counter()
import fastmask
report(start, numba="numba" in sys.modules)
"""

NUMBA_START = """
import numpy
start = time.perf_counter()
from trivial import one_more
one_more(1)
report(start)
"""

FIRST_CALL = """
import numpy as np
import fastmask as fm
x = np.ones((32, 20, 16), np.float32)
mask = np.arange(20) < np.arange(1, 33)[:, None]
start = time.perf_counter()
fm.layers.LSTM(32, return_sequences=True)(x, mask=mask)
report(start)
"""


def run_process(script: str, cache: Path) -> dict[str, Any]:
    """What `script` reports when a new process runs it with compiled code kept in `cache`."""
    (cache / "trivial.py").write_text(TRIVIAL_MODULE)
    path = os.pathsep.join([str(cache), *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run(
        [sys.executable, "-c", PROLOGUE + script],
        # An installed package has its bytecode; a checkout may write it, as Python does.
        env={
            **os.environ,
            "NUMBA_CACHE_DIR": str(cache),
            "PYTHONPATH": path,
            "PYTHONDONTWRITEBYTECODE": "",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"a startup process failed:\n{done.stderr}")
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def seconds(script: str, cache: Path) -> float:
    """The seconds that `script` reports."""
    return float(run_process(script, cache)["seconds"])


@contextmanager
def new_cache() -> Iterator[Path]:
    """An empty folder for compiled code, removed afterwards."""
    with tempfile.TemporaryDirectory(prefix="fastmask-benchmark-") as folder:
        yield Path(folder)


def imports_numba() -> bool:
    """Whether `import fastmask` imports Numba."""
    with new_cache() as cache:
        return bool(run_process(IMPORT_FASTMASK, cache)["numba"])


def cold_first_call() -> float:
    """Seconds of the first LSTM call with no compiled code on disk, Numba's import included."""
    with new_cache() as cache:
        value = seconds(FIRST_CALL, cache)
        if not any(cache.rglob("*.nbc")):
            raise RuntimeError("fastmask did not keep its compiled code in NUMBA_CACHE_DIR")
        return value


def warm_calls(cache: Path) -> dict[str, Callable[[], float]]:
    """The starts to be timed in turns, run once so that `cache` and the file cache are filled."""
    scripts = {
        "import numpy": IMPORT_NUMPY,
        "import fastmask": IMPORT_FASTMASK,
        "Numba's own start": NUMBA_START,
        "first LSTM call": FIRST_CALL,
    }

    def starter(script: str) -> Callable[[], float]:
        return lambda: seconds(script, cache)

    for script in scripts.values():
        run_process(script, cache)
    return {name: starter(script) for name, script in scripts.items()}
