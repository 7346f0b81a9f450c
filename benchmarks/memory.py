"""How much memory a training step takes at its peak, beyond what was in use before it.

Each contender of `training` runs in a process of its own:

    python -m benchmarks.memory '{"batch": 64, ...}' "PyTorch packed" 2

It takes steps of a tiny batch first, so that libraries are loaded and kernels compiled, then
builds the inputs, and then does one step. What counts is the peak of its resident memory over what
was resident before that step: outputs, gradients, what is kept for backward, and work space.
"""

from __future__ import annotations

import gc
import json
import resource
import sys
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

from benchmarks.cases import Case, make_problem
from benchmarks.new_process import measured
from benchmarks.peers import checked_error
from benchmarks.training import TRAINERS

SHAPE = (64, 200, 128, 256)
TINY = (4, 6, 16, 32)
STACK = 3  # layers
WARM_STEPS = 3


def memory_cases(quick: bool = False) -> list[Case]:
    """The LSTM at full and half fill, the other cells at half; stacks of LSTM and GRU."""
    cases = [
        *(Case(*SHAPE, fill) for fill in (1.0, 0.5)),
        *(Case(*SHAPE, 0.5, cell=cell) for cell in ("gru", "rnn")),
        *(Case(*SHAPE, 0.5, cell=cell, layers=STACK) for cell in ("lstm", "gru")),
    ]
    return cases[:1] if quick else cases


def peak_growth(case: Case, contender: str, threads: int) -> int:
    """Bytes by which one step of a contender, in a new process, adds to its peak memory."""
    arguments = [json.dumps(asdict(case)), contender, str(threads)]
    return int(measured("benchmarks.memory", *arguments))


def measure_here(case: Case, contender: str, threads: int) -> int:
    """The same for this process, which should be new."""
    (peer,) = (peer for peer in TRAINERS if peer.name == contender)
    tiny = Case(*TINY, case.fill, cell=case.cell, layers=case.layers)
    warm = peer.prepare(make_problem(tiny), threads)
    for _ in range(WARM_STEPS):
        warm.call()
    problem = make_problem(case)
    step = peer.prepare(problem, threads)
    gc.collect()
    before = restarted_peak()
    step.call()
    growth = peak() - before
    checked_error(contender, step, problem)
    return growth


def restarted_peak() -> int:
    """The peak after Linux was told to reset it: what is resident now.

    Elsewhere the peak so far, which is not much more as long as only imports have happened.
    """
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
    return peak()


def peak() -> int:
    """The peak of resident memory so far, in bytes."""
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


if __name__ == "__main__":
    print(measure_here(Case(**json.loads(sys.argv[1])), sys.argv[2], int(sys.argv[3])))
