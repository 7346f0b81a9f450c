"""The limit: one float32 matrix product over the valid steps, into memory that is already there.

An LSTM over N valid steps multiplies (N, F + H) by (F + H, 4H); here no step waits for another, no
activation is computed and nothing is allocated. NumPy's BLAS and PyTorch's both do it, and the
faster one counts.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable

import numpy as np

from benchmarks.cases import Problem

PEAK_SIZE = 2048  # a square product of this size runs at the machine's best rate


def limit_calls(problem: Problem, threads: int) -> dict[str, Callable[[], object]]:
    """The limit of `problem`, by each library that can compute it."""
    _, _, features, units = problem.case.shape
    return sgemm_calls(problem.steps, features + units, 4 * units, threads)


def peak_calls(threads: int) -> dict[str, Callable[[], object]]:
    """A large square product, to find the machine's rate."""
    return sgemm_calls(PEAK_SIZE, PEAK_SIZE, PEAK_SIZE, threads)


def is_limit(name: str) -> bool:
    """Whether a contender's name is one of those given here."""
    return name.startswith("sgemm")


def sgemm_calls(
    rows: int, inner: int, columns: int, threads: int
) -> dict[str, Callable[[], object]]:
    """Products (rows, inner) x (inner, columns) by NumPy and, if installed, PyTorch."""
    rng = np.random.default_rng(0)
    a = rng.standard_normal((rows, inner), dtype=np.float32)
    b = rng.standard_normal((inner, columns), dtype=np.float32)
    out = np.empty((rows, columns), np.float32)
    limit_numpy_threads(threads)
    calls: dict[str, Callable[[], object]] = {"sgemm, NumPy": lambda: np.matmul(a, b, out=out)}
    if importlib.util.find_spec("torch"):
        import torch

        torch.set_num_threads(threads)
        ta, tb, tout = (torch.from_numpy(array) for array in (a, b, np.empty_like(out)))
        calls["sgemm, PyTorch"] = lambda: torch.mm(ta, tb, out=tout)
    return calls


def limit_numpy_threads(threads: int) -> None:
    """Hold NumPy's BLAS to `threads`; without threadpoolctl it uses all cores."""
    if importlib.util.find_spec("threadpoolctl"):
        import threadpoolctl

        threadpoolctl.threadpool_limits(threads, user_api="blas")
