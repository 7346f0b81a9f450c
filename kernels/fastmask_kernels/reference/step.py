"""One step in place: the rows that are valid run as a batch of sequences of length one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..checks import checked
from .gru import gru_fwd
from .lstm import lstm_fwd
from .rnn import rnn_fwd

Array = NDArray[np.floating]
Bools = NDArray[np.bool_]


@checked
def lstm_step(
    h: Array,
    c: Array,
    x: Array,
    valid: Bools,
    packed: Array,
    activation: str,
    recurrent_activation: str,
    threads: int,
) -> None:
    """See `spec`."""
    settings = activation, recurrent_activation
    run_step(lstm_fwd, (h, c), (1, 1, 4), x, valid, packed, settings, threads)


@checked
def gru_step(
    h: Array,
    x: Array,
    valid: Bools,
    packed: Array,
    activation: str,
    recurrent_activation: str,
    reset_after: bool,
    threads: int,
) -> None:
    """See `spec`."""
    settings = activation, recurrent_activation, reset_after
    run_step(gru_fwd, (h,), (1, 4), x, valid, packed, settings, threads)


@checked
def rnn_step(
    h: Array, x: Array, valid: Bools, packed: Array, activation: str, threads: int
) -> None:
    """See `spec`."""
    run_step(rnn_fwd, (h,), (1,), x, valid, packed, (activation,), threads)


def run_step(
    forward: Callable[..., None],
    states: tuple[Array, ...],
    saved: tuple[int, ...],
    x: Array,
    valid: Bools,
    packed: Array,
    settings: tuple[Any, ...],
    threads: int,
) -> None:
    """Run one step; `saved` has the widths, in H, of the saved arrays, which stay empty here."""
    rows = np.flatnonzero(valid) if len(valid) else np.arange(len(x))
    units, count = states[0].shape[1], len(rows)
    before = [state[rows] for state in states]
    after = [np.empty_like(state) for state in before]
    forward(
        np.empty((count, 0, units), x.dtype),
        *after,
        *(np.empty((0, width * units), x.dtype) for width in saved),
        x[rows, np.newaxis],
        *(np.arange(count + 1), np.arange(count), np.arange(count)),
        packed,
        *before,
        *settings,
        *(False, False, threads),
    )
    for state, new in zip(states, after, strict=True):
        state[rows] = new
