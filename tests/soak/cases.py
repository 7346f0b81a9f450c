"""Random recurrent problems, their exact results, and tolerances for rounding."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from fastmask_kernels import reference

from ..cases import CASES, MASK_KINDS, RecurrentCase
from .problem import Array, Random

CELLS = tuple(CASES)
# B, T, F, H: small ones, many rows, many steps, steps of long rows that threads share
SIZES: tuple[tuple[int, int, int, int], ...] = (
    *((12, 9, 20, 40), (12, 9, 20, 40), (40, 4, 10, 70)),
    *((90, 8, 12, 24), (3, 90, 8, 24), (2, 60, 16, 130)),
)
SMOOTH = ("tanh", "sigmoid")
BOUNDED = (*SMOOTH, "hard_sigmoid")
ROUNDINGS = 16  # the tolerance, in units of the effect of one rounding of the inputs


def pick(random: Random, choices: Any) -> Any:
    """One of the choices."""
    return choices[random.integers(len(choices))]


def flag(random: Random) -> bool:
    return bool(random.random() < 0.5)


def recurrent(random: Random, cell: str | None = None, smooth: bool = False, **fixed: Any) -> Any:
    """A random case of a cell; `smooth` leaves out activations with kinks."""
    cell = cell or pick(random, CELLS)
    most = pick(random, SIZES)
    sizes = dict(
        zip(
            ("batch", "time", "features", "units"),
            (
                int(random.integers(low, high + 1))
                for low, high in zip((0, 1, 0, 1), most, strict=True)
            ),
            strict=True,
        )
    )
    inner, outer = (pick(random, SMOOTH if smooth else BOUNDED) for _ in range(2))
    if flag(random):
        inner, outer = "sigmoid", "tanh"
    options = {
        "kind": pick(random, MASK_KINDS),
        "seed": int(random.integers(2**32)),
        "dtype": pick(random, ("float32", "float32", "float64")),
        "activation": outer,
        "recurrent_activation": inner,
        "reverse": flag(random),
        "zero_masked": flag(random),
    }
    if cell == "gru":
        options["reset_after"] = flag(random)
    return CASES[cell](**sizes | options | fixed)


def expected_of(
    case: RecurrentCase, run: Callable[[RecurrentCase], list[Array]]
) -> tuple[list[Array], list[float]]:
    """The results of `run` in double precision, and the tolerances for the case's own dtype."""
    return scaled(lambda inputs: run(case.with_inputs(inputs)), case.inputs, case.dtype, case.seed)


def scaled(
    run: Callable[[list[Array]], list[Array]], inputs: list[Array], dtype: str, seed: int
) -> tuple[list[Array], list[float]]:
    """The results of `run`, and the tolerances for computing in `dtype`.

    Rounding acts like small changes of the inputs, so the effect of such a change on the results
    gives their tolerances.
    """
    expected = run([a.astype(np.float64) for a in inputs])
    eps = float(np.finfo(dtype).eps)
    random = np.random.default_rng(seed)
    moved = [a * (1 + eps * random.choice([-1.0, 1.0], a.shape)) for a in inputs]
    tolerances = [
        ROUNDINGS * (_largest(a - b) + eps * max(1.0, _largest(b)))
        for a, b in zip(run(moved), expected, strict=True)
    ]
    return expected, tolerances


def forward(case: RecurrentCase) -> list[Array]:
    """The output and the last states, by the reference."""
    return case.run(reference, dtype="float64")


def _largest(array: Array) -> float:
    return float(np.abs(np.nan_to_num(array)).max(initial=0.0))
