"""Host time of a launch, and of the first one in a process: Python alone, without a GPU.

    python -m tests.cuda.stub python -m benchmarks.cuda.host

It runs on the driver stub, which runs no kernel and answers at once. A launch is timed beside
`cuda.core.launch` of the same kernel; the first launches of a process are timed after its imports,
with kernels that were compiled before.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.cuda import system

ROUNDS, CALLS = 200, 100
PROCESSES = 5

FIRST = """
import json, time
moments = [time.perf_counter()]
import numpy as np
import fastmask as fm
import fastmask_kernels.cuda
from numba import cuda
moments.append(time.perf_counter())
x, lengths, valid = np.zeros((4, 5, 3), "f4"), np.array([1, 2, 3, 5]), np.zeros((4, 5), bool)
x, lengths, valid = map(cuda.to_device, (x, lengths, valid))
fastmask_kernels.cuda.mask_from_lengths(valid, lengths, False)
moments.append(time.perf_counter())
fm.layers.LSTM(64, recurrent_initializer="zeros")(x, mask=valid)
moments.append(time.perf_counter())
print(json.dumps(np.diff(moments).tolist()))
"""


def main() -> None:
    """The command."""
    system.require_device()
    os.environ.pop("STUB_LOG", None)  # writing the log takes longer than a launch
    for arguments in (1, 16):
        ours, core = launch_seconds(arguments)
        print(
            f"a launch, arguments: {arguments}: {1e6 * ours:.1f} us, "
            f"of which cuda.core.launch takes {1e6 * core:.1f} us"
        )
    imports, first, layer = first_seconds()
    print(f"a process whose kernels were compiled before: imports {imports:.2f} s,")
    print(f"    the first launch {first:.2f} s, then the first call of an LSTM {layer:.2f} s")


def launch_seconds(arguments: int) -> tuple[float, float]:
    """Seconds of a launch, and of cuda.core's part in it."""
    from cuda.core import launch as core_launch

    from benchmarks.cuda.costs import kernels
    from fastmask_kernels.cuda.runtime import driver
    from fastmask_kernels.cuda.runtime.device import to_device

    run = kernels()["one" if arguments == 1 else "sixteen"]
    word = to_device(np.zeros(1, np.uint32))
    given = (word,) if arguments == 1 else (*(word,) * 8, *range(8))
    run.launch(1, 32, *given)
    ((config, loaded),) = run._ready.values()
    values = [c(a) for c, a in zip(run._converters, given, strict=True)]
    stream = driver.stream_on(0, 0)
    with driver.on_device(0):
        ways: list[Callable[[], Any]] = [
            lambda: run.launch(1, 32, *given),
            lambda: core_launch(stream, config, loaded, *values),
        ]
        ours, core = (min(times) for times in zip(*map(_times, [ways] * ROUNDS), strict=True))
    return ours, core


def _times(ways: list[Callable[[], Any]]) -> list[float]:
    """Seconds per call of each way, in turn."""
    found = []
    for way in ways:
        begin = time.perf_counter()
        for _ in range(CALLS):
            way()
        found.append((time.perf_counter() - begin) / CALLS)
    return found


def first_seconds() -> list[float]:
    """The shortest times of fresh processes: imports, the first launch, the first layer."""
    found = []
    for _ in range(PROCESSES + 1):
        command = [sys.executable, "-c", FIRST]
        run = subprocess.run(command, capture_output=True, text=True, check=False)
        if run.returncode:
            raise RuntimeError(run.stderr)
        found.append(json.loads(run.stdout))
    shortest: list[float] = np.min(found[1:], axis=0).tolist()  # the first process compiles
    return shortest


if __name__ == "__main__":
    sys.exit(system.status(main))
