"""fm.ops.lstm, gru and rnn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import fastmask as fm

from ..cases import expected_of, flag, forward, pick, recurrent
from ..problem import Array, Problem, Random, load


@load
def operators(random: Random) -> Problem:
    case = recurrent(random)
    sequences = flag(random)
    function = getattr(fm.ops, case.cell)
    masks: list[Any] = [
        *(case.valid, case.valid[:, :, None], case.valid.astype(int), fm.Mask(case.valid)),
        *([None] if case.kind == "full" else []),
    ]
    options: dict[str, Any] = {
        "mask": pick(random, masks),
        "initial_state": case.states,
        "return_sequences": sequences,
        "go_backwards": case.reverse,
        "zero_output_for_mask": case.zero_masked,
        "activation": case.activation,
    }
    if case.cell != "rnn":
        options["recurrent_activation"] = case.recurrent_activation
    weights = list(case.weights)
    if case.cell == "gru":
        options["reset_after"] = case.reset_after
        if not case.reset_after:  # the operator takes one row; the kernels add two
            weights[2] = weights[2].sum(axis=0)

    def compute() -> Sequence[Any]:
        out, last = function(case.x, *weights, **options)
        return [out, *last]

    def run(one: Any) -> list[Array]:
        out, *last = forward(one)
        return [out if sequences else out[:, -1], *last]

    return Problem(compute, *expected_of(case, run))
