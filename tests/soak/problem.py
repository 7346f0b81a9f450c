"""A problem: something to compute, and its expected results.

A load is a function that makes a random problem; `load` registers it under its name. The expected
results are computed first, by the reference backend of the kernels, which is plain NumPy, or by
torch's own modules.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Random = np.random.Generator
Load = Callable[[Random], "Problem"]

LOADS: dict[str, Load] = {}


@dataclass
class Problem:
    """What a load makes.

    `compute` may be called repeatedly, even after an exception interrupted it, but by one thread
    at a time.
    """

    compute: Callable[[], Sequence[Any]]
    expected: Sequence[Any]
    tolerances: Sequence[float]  # of each result, absolute
    repeats: bool = True  # whether each call gives the same bits
    forks: bool = True  # whether a forked process can compute it
    signals: bool = True  # whether it starts no threads, which a signal can break in Python
    _first: list[Array] = field(default_factory=list)

    def check(self) -> None:
        """Compute, and compare with the expected results and with the bits of the first time."""
        results = [np.array(result) for result in self.compute()]
        assert len(results) == len(self.expected)
        for i, (result, wanted) in enumerate(zip(results, self.expected, strict=True)):
            np.testing.assert_allclose(
                result, wanted, rtol=0, atol=self.tolerances[i], err_msg=f"result {i}"
            )
        if not self._first:
            self._first = results
        elif self.repeats:
            for i, (result, before) in enumerate(zip(results, self._first, strict=True)):
                np.testing.assert_array_equal(result, before, f"result {i}, computed again")


def load(function: Load) -> Load:
    """Decorator: register a load under the function's name."""
    LOADS[function.__name__] = function
    return function


def exact(compute: Callable[[], Sequence[Any]], expected: Sequence[Any], **more: Any) -> Problem:
    """A problem whose results must be exact."""
    return Problem(compute, expected, [0.0] * len(expected), **more)


def make(name: str, seed: int) -> Problem:
    """The problem of a load and a seed."""
    return LOADS[name](np.random.default_rng(seed))
