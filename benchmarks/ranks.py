"""How evenly the processes of data-parallel training are kept busy, by steps and by time."""

from __future__ import annotations

import time
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

import numpy as np

from benchmarks.markdown import table

ROWS, BATCH, UNITS = 20_000, 32, 128
REPLICAS = (2, 8, 64)
TIMED = 24  # batches of all processes that are computed


def lengths_of(count: int) -> Any:
    """Lengths like those of sentences and sessions: many short ones, and a long tail."""
    random = np.random.default_rng(0)
    return np.clip(random.lognormal(3.5, 0.8, count).astype(int), 1, 500)


def by_rows(lengths: Any, replicas: int) -> list[list[list[int]]]:
    """Batches with equal numbers of rows for each process, like torch's DistributedSampler."""
    order = np.random.default_rng(0).permutation(len(lengths))
    own = [order[rank::replicas] for rank in range(replicas)]
    count = len(lengths) // (replicas * BATCH)
    return [[list(rows[i * BATCH : (i + 1) * BATCH]) for i in range(count)] for rows in own]


def by_steps(lengths: Any, replicas: int) -> list[list[list[int]]]:
    """Batches with equal numbers of valid steps for each process."""
    from fastmask.torch import StepsBatchSampler

    steps = int(lengths.mean() * BATCH)
    return [list(StepsBatchSampler(lengths, steps, replicas, rank)) for rank in range(replicas)]


def imbalance(work: Sequence[Sequence[float]]) -> float:
    """How much longer batches take, as all wait for the slowest process, than with even work."""
    each = np.asarray(work)
    return float(each.max(0).sum() / each.mean(0).sum())


def step_times(lengths: Any, batches: list[list[list[int]]]) -> list[list[float]]:
    """Seconds of each process's step, forward and back, one after the other on one thread."""
    import torch

    from fastmask.torch import LSTM

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    lstm = LSTM(64, UNITS)

    def once(rows: list[int]) -> float:
        offsets = torch.tensor([0, *lengths[rows]]).cumsum(0)
        values = torch.ones(int(offsets[-1]), 64, requires_grad=True)
        x = torch.nested.nested_tensor_from_jagged(values, offsets)
        begin = time.perf_counter()
        lstm(x)[0].values().sum().backward()
        return time.perf_counter() - begin

    once(batches[0][0])
    found = [[min(once(rows) for _ in range(3)) for rows in own[:TIMED]] for own in batches]
    torch.set_num_threads(threads)
    return found


def measure() -> dict[str, Any]:
    """Imbalance by steps and by time; empty without torch."""
    if find_spec("torch") is None:
        return {}
    lengths = lengths_of(ROWS)
    found = {}
    for replicas in REPLICAS:
        both = {}
        for name, make in (("rows", by_rows), ("steps", by_steps)):
            batches = make(lengths, replicas)
            work = [[int(lengths[rows].sum()) for rows in own] for own in batches]
            both[name] = {"steps": imbalance(work)}
            if replicas <= 8:
                both[name]["time"] = imbalance(step_times(lengths, batches))
        found[str(replicas)] = both
    return found


def table_of(found: dict[str, Any]) -> str:
    """How much longer a step takes than with even work."""
    if not found:
        return "torch is not installed."
    titles = [
        *("processes", "equal rows, by valid steps", "by time"),
        *("`StepsBatchSampler`, by valid steps", "by time", "so much faster"),
    ]
    lines = []
    for replicas, both in found.items():
        cells = [both[name].get(kind) for name in ("rows", "steps") for kind in ("steps", "time")]
        kind = "time" if "time" in both["rows"] else "steps"
        gain = both["rows"][kind] / both["steps"][kind]
        shown = [f"{one:.3f}" if one else "" for one in cells]
        lines.append([replicas, *shown, f"{gain:.2f} times (by {kind})"])
    return table(titles, lines)
