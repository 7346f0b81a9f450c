"""What the contenders must compute, in float64 with NumPy, for some rows of a batch.

Rows are independent, so a few stand for all. Gradients of weights are sums over rows: for the
check only the chosen rows get an upstream gradient.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import numpy as np

from benchmarks.cases import Case, Floats, Problem, make_problem, reference
from benchmarks.cells import Array, sigmoid
from benchmarks.training import upstream

Results = dict[str, Array]

MOST_UNITS = 512  # with more, a row takes long on the host


def chosen_rows(problem: Problem) -> list[int]:
    """The full row, the shortest one and, unless the layer is large, two more."""
    lengths = problem.lengths
    rows = [0, int(lengths.argmin())]
    if problem.case.units <= MOST_UNITS:
        rows += [len(lengths) // 3, len(lengths) - 1]
    return sorted(set(rows))


def rows_of(problem: Problem, rows: list[int]) -> Problem:
    """The same layer on some rows of the batch."""
    return replace(
        problem,
        case=replace(problem.case, batch=len(rows)),
        x=problem.x[rows],
        valid=problem.valid[rows],
        lengths=problem.lengths[rows],
    )


def upstream_of(problem: Problem, rows: list[int] | None = None) -> Floats:
    """The gradient of the output, zero except in `rows` if they are given."""
    gradient = upstream(problem)
    if rows is not None:
        others = np.setdiff1d(np.arange(problem.case.batch), rows)
        gradient[others] = 0.0
    return gradient


# The contenders of a case run one after another, and need the same problem.
cached_problem = lru_cache(maxsize=1)(make_problem)


@lru_cache(maxsize=1)
def wanted_output(case: Case) -> Array:
    """The output of the chosen rows."""
    problem = cached_problem(case)
    return reference(rows_of(problem, chosen_rows(problem)))


@lru_cache(maxsize=1)
def wanted_gradients(case: Case) -> Results:
    """All gradients, if only the chosen rows get an upstream gradient."""
    problem = cached_problem(case)
    rows = chosen_rows(problem)
    return gradients(rows_of(problem, rows), upstream_of(problem, rows)[rows])


def error(problem: Problem, training: bool, found: Results) -> float:
    """The largest absolute error; for a gradient, relative to its largest number.

    NaN if any number of any row is not finite, masked steps aside.
    """
    every = ("dx", "out")
    if not all(np.isfinite(a[problem.valid] if n in every else a).all() for n, a in found.items()):
        return float("nan")
    rows = chosen_rows(problem)
    found = {name: array[rows] if name in every else array for name, array in found.items()}
    if not training:
        valid = problem.valid[rows]
        difference = found["out"][valid] - wanted_output(problem.case)[valid]
        return float(np.abs(difference).max(initial=0.0))
    return max(
        float(np.abs(found[name] - array).max() / np.abs(array).max())
        for name, array in wanted_gradients(problem.case).items()
    )


def gradients(problem: Problem, dout: Floats) -> Results:
    """Gradients of an LSTM by backpropagation through time, masked steps left out."""
    batch, time, _, units = problem.case.shape
    x, kernel, recurrent_kernel = (
        array.astype(np.float64) for array in (problem.x, problem.kernel, problem.recurrent_kernel)
    )
    projected = x @ kernel + problem.bias
    h, c = np.zeros((2, batch, units))
    walked = []
    for t in range(time):
        i, f, g, o = np.split(projected[:, t] + h @ recurrent_kernel, 4, axis=1)
        i, f, g, o = sigmoid(i), sigmoid(f), np.tanh(g), sigmoid(o)
        new_c = f * c + i * g
        valid = problem.valid[:, t, None]
        walked.append((i, f, g, o, c, h, np.tanh(new_c)))
        h, c = np.where(valid, o * np.tanh(new_c), h), np.where(valid, new_c, c)
    dz, h_before = np.zeros_like(projected), np.zeros((batch, time, units))
    dh, dc = np.zeros((2, batch, units))
    for t in reversed(range(time)):
        i, f, g, o, c, h_before[:, t], tanh_c = walked[t]
        valid = problem.valid[:, t, None]
        dh_step = dh + dout[:, t]
        dc_step = dc + dh_step * o * (1 - tanh_c**2)
        parts = (
            *(dc_step * g * i * (1 - i), dc_step * c * f * (1 - f)),
            *(dc_step * i * (1 - g**2), dh_step * tanh_c * o * (1 - o)),
        )
        dz[:, t] = np.where(valid, np.concatenate(parts, axis=1), 0.0)
        dh = np.where(valid, dz[:, t] @ recurrent_kernel.T, dh)
        dc = np.where(valid, dc_step * f, dc)
    flat = dz.reshape(-1, 4 * units)
    return {
        "dx": dz @ kernel.T,
        "dkernel": x.reshape(-1, x.shape[2]).T @ flat,
        "drecurrent_kernel": h_before.reshape(-1, units).T @ flat,
        "dbias": flat.sum(0),
    }
