"""The time loops that all cells share, one row and one step at a time.

A cell gives its step forward,

    step(x_t, states) -> new states, gates

and its step backward,

    step(p, x_t, states before, states after, d states after) -> d states before, dx_t, d weights

where the states are h and, for an LSTM, c, and p is the step's row in the saved arrays.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]
Ints = NDArray[np.int64]
States = tuple[Array, ...]
Forward = Callable[[Array, States], tuple[States, Array]]
Backward = Callable[[int, Array, States, States, States], tuple[States, Array, tuple[Array, ...]]]


RAGGED = -1  # instead of T, where rows are concatenated without padding


class Walk(NamedTuple):
    """Which steps exist, and in which direction to go through them."""

    time: int
    offsets: Ints
    steps: Ints
    reverse: bool

    def span(self, b: int) -> tuple[int, int]:
        """Flat positions of a row's first step, and of its end."""
        if self.time == RAGGED:
            return int(self.offsets[b]), int(self.offsets[b + 1])
        return b * self.time, (b + 1) * self.time

    def row(self, b: int) -> Iterator[tuple[int, int, int | None]]:
        """Position in the output, in the input, and in `steps` (None if masked), as processed."""
        start, end = self.span(b)
        saved_at = {
            int(self.steps[p]) - start: p for p in range(self.offsets[b], self.offsets[b + 1])
        }
        times = range(end - start)
        for position, t in enumerate(reversed(times) if self.reverse else times):
            yield position, t, saved_at.get(t)


def run_forward(
    step: Forward,
    walk: Walk,
    out: Array,
    last: Sequence[Array],
    states_saved: Sequence[Array],
    gates: Array,
    x: Array,
    first: Sequence[Array],
    zero_masked: bool,
) -> None:
    """Run all rows; outputs of length 0 are not wanted."""
    walk, rows = _of_rows(walk, x)
    inputs, outputs = _of_steps(x), _of_steps(out)
    for b in range(rows):
        start, _ = walk.span(b)
        states = tuple(state[b] for state in first)
        output = np.zeros_like(states[0])
        for position, t, p in walk.row(b):
            if p is not None:
                states, activated = step(inputs[start + t], states)
                output = states[0]
                for saved, state in zip(states_saved, states, strict=True):
                    if len(saved):
                        saved[p] = state
                if len(gates):
                    gates[p] = activated
            elif zero_masked:
                output = np.zeros_like(output)
            if out.shape[1]:
                outputs[start + position] = output
        for array, state in zip(last, states, strict=True):
            array[b] = state


def _of_rows(walk: Walk, x: Array) -> tuple[Walk, int]:
    """The walk, RAGGED if x is, and the number of rows."""
    rows = len(walk.offsets) - 1
    return walk if len(x) == rows else walk._replace(time=RAGGED), rows


def _of_steps(array: Array) -> Array:
    """(B, T, F) as (B * T, F): the steps of all rows."""
    batch, time, size = array.shape
    return array.reshape(batch * time, size)


def run_backward(
    step: Backward,
    walk: Walk,
    dx: Array,
    dweights: Sequence[Array],
    dfirst: Sequence[Array],
    dout: Array,
    dlast: Sequence[Array],
    x: Array,
    first: Sequence[Array],
    states_saved: Sequence[Array],
    zero_masked: bool,
) -> None:
    """Run all rows, each from its last step to its first; dx and dout may have no steps."""
    dx[:] = 0
    for dweight in dweights:
        dweight[:] = 0
    walk, rows = _of_rows(walk, x)
    inputs, dinputs, doutputs = _of_steps(x), _of_steps(dx), _of_steps(dout)
    for b in range(rows):
        (start, _), visited = walk.span(b), list(walk.row(b))
        before = _states_before(visited, [s[b] for s in first], states_saved)
        dstates = tuple(d[b] for d in dlast)
        repeated = np.zeros_like(dstates[0])  # gradient of the masked steps that repeat an output
        for position, t, p in reversed(visited):
            dy = doutputs[start + position] if dout.shape[1] else np.zeros_like(repeated)
            if p is None:
                if not zero_masked:
                    repeated = repeated + dy
                continue
            dstates = (dstates[0] + dy + repeated, *dstates[1:])
            repeated = np.zeros_like(repeated)
            after = tuple(s[p] for s in states_saved)
            dstates, dx_t, contributions = step(p, inputs[start + t], before[p], after, dstates)
            if dx.shape[1]:
                dinputs[start + t] = dx_t
            for dweight, contribution in zip(dweights, contributions, strict=True):
                dweight += contribution
        for array, d in zip(dfirst, dstates, strict=True):
            array[b] = d


def _states_before(
    visited: list[tuple[int, int, int | None]],
    first: list[Array],
    states_saved: Sequence[Array],
) -> dict[int, States]:
    """The states before each valid step of a row, by position in `steps`."""
    before = {}
    states = tuple(first)
    for _, _, p in visited:
        if p is not None:
            before[p] = states
            states = tuple(s[p] for s in states_saved)
    return before
