"""Weights that change while other threads compute with them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ...cases import RecurrentCase
from ..cases import expected_of, forward, recurrent
from ..problem import Array, Problem, Random, load
from .layers import layer_of, weights_of

ROUNDS = 3
CALLS = 8  # of the other thread; bounded, so that it ends even if the problem is interrupted


def beside(call: Callable[[], Any], change: Callable[[], None]) -> Any:
    """The result of `call` after `change`, while another thread calls it, too."""

    def calls() -> None:
        for _ in range(CALLS):
            call()

    other = threading.Thread(target=calls, daemon=True)
    other.start()
    change()
    result = call()
    other.join()
    return result


@load
def set_weights(random: Random) -> Problem:
    """After `set_weights` has returned each call uses the new ones."""
    case = recurrent(random)
    layer = layer_of(case, return_sequences=True)
    versions = [case, *(_changed(case, random) for _ in range(ROUNDS - 1))]
    pairs = [expected_of(one, forward) for one in versions]

    def call() -> Any:
        return layer(case.x, mask=case.valid, initial_state=case.states)

    def compute() -> Sequence[Any]:
        results = []
        for one in versions:
            result = beside(call, lambda one=one: layer.set_weights(weights_of(one)))
            results.append(getattr(result, "data", result))
        return results

    return Problem(compute, [e[0] for e, _ in pairs], [t[0] for _, t in pairs], signals=False)


def _changed(case: RecurrentCase, random: Random) -> RecurrentCase:
    weights: list[Array] = [
        np.asarray(w * random.uniform(0.3, 1.5), case.dtype) for w in case.weights
    ]
    return case.with_inputs([case.x, *weights, *case.states])
