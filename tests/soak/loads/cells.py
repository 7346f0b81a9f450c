"""Kernels of cells made from formulas: vectors, sums of sums, normalization."""

from __future__ import annotations

from typing import Any

import fastmask as fm
from fastmask_kernels import cpu, reference

from ...cases import MASK_KINDS, SAVING, CellCase
from ..cases import expected_of, flag, pick
from ..problem import Problem, Random, load
from .kernels import MOST_THREADS

CELLS = (fm.cells.peephole_lstm, fm.cells.layer_norm_lstm)  # each takes some seconds to compile
SIZES = (12, 9, 20, 40)  # B, T, F, H; the reference takes a millisecond a step


def _case(random: Random) -> CellCase:
    batch, time, features, units = (int(random.integers(1, most + 1)) for most in SIZES)
    return CellCase(
        *(batch, time, features, units),
        own=pick(random, CELLS),
        kind=pick(random, MASK_KINDS),
        seed=int(random.integers(2**32)),
        reverse=flag(random),
        zero_masked=flag(random),
    )


@load
def formula_forward(random: Random) -> Problem:
    """Output, last states, and the states of each step."""
    case, threads = _case(random), int(random.integers(1, MOST_THREADS))
    return Problem(
        lambda: case.run(cpu, threads, save="states")[:5],
        *expected_of(case, lambda one: one.run(reference, dtype="float64", save="states")[:5]),
    )


@load
def formula_backward(random: Random) -> Problem:
    """Every gradient."""
    case, threads = _case(random), int(random.integers(1, MOST_THREADS))
    options: dict[str, Any] = {"save": pick(random, SAVING[1:])}
    return Problem(
        lambda: case.run_backward(cpu, threads, **options)[:-1],
        *expected_of(
            case, lambda one: one.run_backward(reference, dtype="float64", **options)[:-1]
        ),
    )
