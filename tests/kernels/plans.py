"""Invalid plans for three rows of five steps, and what is wrong with each."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

ROWS, TIME = 3, 5
OFFSETS, STEPS, ORDER = [0, 3, 3, 6], [0, 1, 2, 10, 12, 14], [0, 2, 1]  # valid
_OFFSETS = "offsets must begin with 0, not decrease, and end within steps"
_ORDER = "order must name every row once"
_LENGTHS = "order must name rows with more valid steps first"
_STEPS = r"steps\[offsets\[b\]:offsets\[b \+ 1\]\] must ascend within b \* T"
_WRONG = {
    "it begins late": ([1, 3, 3, 6], STEPS, ORDER, _OFFSETS),
    "a negative offset": ([-1, 3, 3, 6], STEPS, ORDER, _OFFSETS),
    "offsets decrease": ([0, 3, 1, 6], STEPS, ORDER, _OFFSETS),
    "an offset too many": ([0, 3, 3, 7], STEPS, ORDER, _OFFSETS),
    "a huge offset": ([0, 3, 3, 2**62], STEPS, ORDER, _OFFSETS),
    "steps are missing": (OFFSETS, STEPS[:2], ORDER, _OFFSETS),
    "a row that does not exist": (OFFSETS, STEPS, [0, 7, 1], _ORDER),
    "a negative row": (OFFSETS, STEPS, [0, -1, 1], _ORDER),
    "a row twice": (OFFSETS, STEPS, [0, 0, 1], _ORDER),
    "short rows first": (OFFSETS, STEPS, [1, 0, 2], _LENGTHS),
    "a step after the last": (OFFSETS, [0, 1, 2, 10, 12, 15], ORDER, _STEPS),
    "a negative step": (OFFSETS, [-1, 1, 2, 10, 12, 14], ORDER, _STEPS),
    "a huge step": (OFFSETS, [0, 1, 2, 10, 12, 2**62], ORDER, _STEPS),
    "a step of another row": (OFFSETS, [0, 1, 11, 12, 13, 14], ORDER, _STEPS),
    "steps that descend": (OFFSETS, STEPS[::-1], ORDER, _STEPS),
    "a step twice": (OFFSETS, [0, 1, 1, 10, 12, 14], ORDER, _STEPS),
    "of rows of two steps": ([0, 2, 4, 6], [0, 1, 2, 3, 4, 5], [0, 1, 2], _STEPS),
    "of rows of nine steps": ([0, 2, 4, 6], [0, 1, 9, 10, 18, 19], [0, 1, 2], _STEPS),
}
EACH_WRONG_PLAN = pytest.mark.parametrize(
    ("offsets", "steps", "order", "words"), _WRONG.values(), ids=_WRONG
)


def run(backend: Any, offsets: list[int], steps: list[int], order: list[int]) -> list[np.ndarray]:
    """The outputs of a SimpleRNN with these arrays as its plan, forward and backward."""
    random = np.random.default_rng(5)
    x, h = random.normal(size=(ROWS, TIME, 2)), random.normal(size=(ROWS, 4))
    weights = [random.normal(size=shape) for shape in ((2, 4), (4, 4), (4,))]
    packed = np.empty(backend.rnn_packed_size(2, 4, x.dtype))
    backend.rnn_pack(packed, *weights)
    plan, count = [np.array(a, np.int64) for a in (offsets, steps, order)], len(steps)
    settings = "tanh", False, False, 1
    outputs = [np.zeros(shape) for shape in ((ROWS, TIME, 4), (ROWS, 4), (count, 4))]
    backend.rnn_fwd(*outputs, x, *plan, packed, h, *settings)
    out, _, h_steps = outputs
    gradients = [np.zeros_like(a) for a in (x, *weights, h, h_steps)]
    backend.rnn_bwd(*gradients, out, h, x, *plan, *weights, h, h_steps, *settings)
    return outputs + gradients
