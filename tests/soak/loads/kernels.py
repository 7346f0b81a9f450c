"""The kernels of recurrent layers, called directly from `fastmask_kernels`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from fastmask_kernels import cpu, reference

from ...cases import SAVING, RecurrentCase
from ..cases import expected_of, flag, pick, recurrent
from ..problem import Array, Problem, Random, load

MOST_THREADS = 5


@load
def forward_kernels(random: Random) -> Problem:
    """With what is saved for the backward pass."""
    case, save = recurrent(random), pick(random, SAVING)
    threads = int(random.integers(1, MOST_THREADS))
    return Problem(
        lambda: case.run(cpu, threads, save=save),
        *expected_of(case, lambda one: one.run(reference, dtype="float64", save=save)),
    )


@load
def backward_kernels(random: Random) -> Problem:
    """Without kinks, at which rounding could change the gradient."""
    case = recurrent(random, smooth=True)
    options: dict[str, Any] = {"save": pick(random, SAVING[1:]), "want_dx": flag(random)}
    threads = int(random.integers(1, MOST_THREADS))
    return Problem(
        lambda: case.run_backward(cpu, threads, **options),
        *expected_of(case, lambda one: one.run_backward(reference, dtype="float64", **options)),
    )


@load
def step_kernels(random: Random) -> Problem:
    """One step in place; rows without an event are NaN and stay so."""
    case = recurrent(random, time=1)
    threads = int(random.integers(1, MOST_THREADS))
    valid = case.valid[:, 0]

    def compute() -> Sequence[Any]:
        return [np.where(valid[:, None], a, 0) for a in _stepped(case, threads)]

    def run(one: RecurrentCase) -> list[Array]:
        last = one.run(reference, dtype="float64")[1:]
        return [np.where(valid[:, None], a, 0) for a in last]

    return Problem(compute, *expected_of(case, run))


def _stepped(case: RecurrentCase, threads: int) -> list[Array]:
    size = getattr(cpu, f"{case.cell}_packed_size")(case.features, case.units, np.dtype(case.dtype))
    packed = np.full(size, np.nan, case.dtype)
    getattr(cpu, f"{case.cell}_pack")(packed, *case.weights, *case.pack_options)
    states = [np.where(case.valid, a, a.dtype.type(np.nan)) for a in case.states]
    getattr(cpu, f"{case.cell}_step")(
        *(*states, np.ascontiguousarray(case.x[:, 0]), case.valid[:, 0].copy(), packed),
        *(*case.options, threads),
    )
    for state in states:
        assert np.isnan(state[~case.valid[:, 0]]).all()
    return states
