"""Costs that the design of the kernels relies on: a launch, a barrier, a step; and two ceilings."""

from __future__ import annotations

import time
from functools import cache, partial
from typing import Any

import numpy as np

from benchmarks.cases import Case
from benchmarks.cuda.cases import OURS_BF16, OURS_TF32, UNITS
from benchmarks.cuda.clock import measure
from benchmarks.cuda.contenders import CONTENDERS, checked
from benchmarks.cuda.expected import cached_problem
from benchmarks.cuda.system import SIMULATED, is_dry, torch_device

TINY = SIMULATED or is_dry()
MEETINGS = 2 if TINY else 2000
THREADS = 32 if TINY else 256
BLOCKS = (2,) if TINY else (16, 64, 128)
STEPS = (1, 2) if TINY else (256, 1024)
ESTIMATED = () if TINY else (64, 128, 768)  # units for tf32 and bf16 weights
GROUP = 4  # sequences that the kernels run at a time
GEMM_SIZE = 4096
COPY_BYTES = 2**30
LAUNCHES = 2 if TINY else 200  # fewer than fill the launch queue


def names() -> list[str]:
    """All costs, the cheap ones first."""
    steps = [f"step, fastmask, H = {units}" for units in ((2,) if TINY else UNITS)]
    steps += [f"step, {who}, H = {n}" for n in ESTIMATED for who in (OURS_BF16, OURS_TF32)]
    return [
        *("launch, 1 argument", "launch, 16 arguments"),
        *(f"barrier, {blocks} blocks" for blocks in BLOCKS),
        *(() if TINY else ("copy", "float32 product", "bf16 product")),
        *steps,
    ]


def cost(name: str, seconds: float) -> dict[str, Any]:
    """One of `names`: {"value": ..., "unit": ...}.

    Raises:
        LookupError: it cannot be measured here.
    """
    kind, *rest = name.split(", ")
    if kind == "launch":
        return {"value": 1e6 * launch_seconds(int(rest[0].split()[0])), "unit": "us"}
    if kind == "barrier":
        blocks = int(rest[0].split()[0])
        return {"value": 1e6 * barrier_seconds(blocks, seconds), "unit": "us"}
    if kind == "step":
        units = int(rest[1].partition(" = ")[2])
        return {"value": 1e6 * step_seconds(rest[0], units, seconds), "unit": "us"}
    return ceiling(name, seconds)


@cache
def kernels() -> Any:
    """The kernels of this file; a function, so that Numba is imported only when they are used."""
    from fastmask_kernels.cuda.rnn.grid import arrive, wait
    from fastmask_kernels.cuda.runtime.kernel import int64, kernel, pointer, uint32

    words = pointer(uint32)

    @kernel(words)
    def one(_: Any) -> None:
        """Nothing."""

    @kernel(*(words,) * 8, *(int64,) * 8)
    def sixteen(
        p0: Any, p1: Any, p2: Any, p3: Any, p4: Any, p5: Any, p6: Any, p7: Any,
        n0: int, n1: int, n2: int, n3: int, n4: int, n5: int, n6: int, n7: int,
    ) -> None:  # fmt: skip
        """Nothing."""

    @kernel(words)
    def clear(word: Any) -> None:
        word[0] = 0

    @kernel(words, int64, int64, cooperative=True)
    def meetings(counter: Any, blocks: int, times: int) -> None:
        target = blocks
        i = times - times
        while i < times:
            arrive(counter, 0)
            wait(counter, 0, target)
            target += blocks
            i += 1

    return {"one": one, "sixteen": sixteen, "clear": clear, "meetings": meetings}


def launch_seconds(arguments: int) -> float:
    """The host's time to launch an empty kernel."""
    from fastmask_kernels.cuda.runtime.device import to_device, wait

    word = to_device(np.zeros(1, np.uint32))
    given = (word,) if arguments == 1 else (*(word,) * 8, *range(8))
    launch = partial(kernels()["one" if arguments == 1 else "sixteen"].launch, 1, 32, *given)
    found = []
    for _ in range(1 if TINY else 11):
        wait()
        begin = time.perf_counter()
        for _ in range(LAUNCHES):
            launch()
        found.append((time.perf_counter() - begin) / LAUNCHES)
    wait()
    return float(np.median(found))


def barrier_seconds(blocks: int, seconds: float) -> float:
    """A barrier of the grid: the time of a launch with many minus a launch with one."""
    from fastmask_kernels.cuda.runtime.device import to_device, to_host

    made, counter = kernels(), to_device(np.zeros(1, np.uint32))

    def call(times: int) -> None:
        made["clear"].launch(1, 1, counter)
        made["meetings"].launch(blocks, THREADS, counter, blocks, times)

    many, one = (measure(partial(call, n), seconds).median for n in (MEETINGS, 1))
    call(MEETINGS)
    if to_host(counter)[0] != blocks * MEETINGS:
        raise AssertionError(f"{to_host(counter)[0]} blocks met, not {blocks * MEETINGS}")
    return (many - one) / (MEETINGS - 1)


def step_seconds(who: str, units: int, seconds: float) -> float:
    """A step of one group of sequences: the time of long sequences minus shorter ones."""
    contender = CONTENDERS[who]
    if reason := contender.missing():
        raise LookupError(reason)
    found = []
    with contender.settings():
        for time_steps in STEPS:
            problem = cached_problem(Case(GROUP, time_steps, min(units, 32), units))
            prepared = contender.prepare(problem, False)
            checked(contender.tolerance, prepared, problem, False)
            found.append(measure(prepared.call, seconds).median)
    return (found[1] - found[0]) / (STEPS[1] - STEPS[0])


def ceiling(name: str, seconds: float) -> dict[str, Any]:
    """What PyTorch reaches: bytes read and written by a large copy, operations of a product."""
    if torch_device() != "cuda":
        raise LookupError("PyTorch with CUDA is not installed")
    import torch

    if name == "copy":
        source = torch.rand(COPY_BYTES // 4, device="cuda")
        target = torch.empty_like(source)
        took = measure(lambda: target.copy_(source), seconds).median
        return {"value": 2 * COPY_BYTES / took / 1e9, "unit": "GB/s"}
    torch.backends.cuda.matmul.allow_tf32 = False
    dtype = torch.float32 if name.startswith("float32") else torch.bfloat16
    a, b = (torch.randn(GEMM_SIZE, GEMM_SIZE, device="cuda").to(dtype) for _ in range(2))
    out = torch.empty_like(a)
    took = measure(lambda: torch.mm(a, b, out=out), seconds).median
    return {"value": 2 * GEMM_SIZE**3 / took / 1e12, "unit": "Tflop/s"}
