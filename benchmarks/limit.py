"""The limit: float32 matrix products over the valid steps, into preallocated memory.

A cell of G gates over N valid steps multiplies (N, F + H) by (F + H, GH), once; its backward
needs two more products of that many operations, one for the gradients of x and h, one for those of
the weights. Here no step waits for another, no activation is computed and nothing is allocated.
NumPy's BLAS and PyTorch's both do it, and the faster one counts.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable

import numpy as np

from benchmarks.cases import Floats, Problem

PEAK_SIZE = 2048  # a square product of this size runs at the machine's best rate


FORWARD, TRAINING = 1, 3  # matrix products of the same number of operations


def limit_calls(
    problem: Problem, threads: int, products: int = FORWARD
) -> dict[str, Callable[[], object]]:
    """The limit of a call, by each library that can compute it.

    It is the first `products` matrix products of a forward and backward call, with operands
    transposed where a gradient needs them so.
    """
    steps, inner, columns = sizes(problem)
    inputs, weights = operands(steps, inner, columns)
    gradients, _ = operands(steps, columns, 1)
    every = [(inputs, weights), (gradients, weights.T), (inputs.T, gradients)]
    return sgemm_calls(every[:products], threads)


def peak_calls(threads: int) -> dict[str, Callable[[], object]]:
    """A large square product, to find the machine's rate."""
    return sgemm_calls([operands(PEAK_SIZE, PEAK_SIZE, PEAK_SIZE)], threads)


def is_limit(name: str) -> bool:
    """Whether a contender's name is one of those given by `sgemm_calls`."""
    return name.startswith("sgemm")


def sizes(problem: Problem) -> tuple[int, int, int]:
    """Rows, inner size and columns of the forward product."""
    _, _, features, units = problem.case.shape
    return problem.steps, features + units, problem.cell.gates * units


def operands(rows: int, inner: int, columns: int) -> tuple[Floats, Floats]:
    """Random matrices (rows, inner) and (inner, columns)."""
    rng = np.random.default_rng(0)
    a = rng.standard_normal((rows, inner), dtype=np.float32)
    return a, rng.standard_normal((inner, columns), dtype=np.float32)


def sgemm_calls(
    products: list[tuple[Floats, Floats]], threads: int
) -> dict[str, Callable[[], object]]:
    """All `products`, one after the other, by NumPy and, if installed, PyTorch."""
    limit_numpy_threads(threads)
    triples = [(a, b, np.empty((len(a), b.shape[1]), np.float32)) for a, b in products]

    def by_numpy() -> None:
        for a, b, out in triples:
            np.matmul(a, b, out=out)

    calls: dict[str, Callable[[], object]] = {"sgemm, NumPy": by_numpy}
    if importlib.util.find_spec("torch"):
        import torch

        torch.set_num_threads(threads)
        tensors = [tuple(map(torch.from_numpy, triple)) for triple in triples]

        def by_torch() -> None:
            for a, b, out in tensors:
                torch.mm(a, b, out=out)

        calls["sgemm, PyTorch"] = by_torch
    return calls


def limit_numpy_threads(threads: int) -> None:
    """Hold NumPy's BLAS to `threads`; without threadpoolctl it uses all cores."""
    if importlib.util.find_spec("threadpoolctl"):
        import threadpoolctl

        threadpoolctl.threadpool_limits(threads, user_api="blas")
