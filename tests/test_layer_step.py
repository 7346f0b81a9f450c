"""`layer.step`: its arguments, and that it allocates nothing per stream."""

from __future__ import annotations

import sys
import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import fastmask as fm

Array = NDArray[Any]


LAYERS = {
    "LSTM": lambda: fm.layers.LSTM(24, dtype="float64"),
    "GRU": lambda: fm.layers.GRU(24),
    "SimpleRNN": lambda: fm.layers.SimpleRNN(24),
    "stack": lambda: fm.layers.RNN([fm.layers.LSTMCell(16), fm.layers.GRUCell(24)]),
}


def flat(state: Any) -> list[Array]:
    """All arrays of a state."""
    return [state] if isinstance(state, np.ndarray) else [a for one in state for a in flat(one)]


@pytest.mark.parametrize("share", [0.05, 1.0])
@pytest.mark.parametrize("kind", LAYERS)
def test_nothing_is_allocated_for_rows(
    kind: str, share: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The peak does not grow with 10 000 streams, and the given arrays themselves are returned."""
    monkeypatch.setattr("fastmask.backends.threads._chosen", 1)
    layer, streams = LAYERS[kind](), 10_000
    x = np.ones((streams, 8), layer.dtype)
    state = layer.get_initial_state(streams)
    mask = np.random.default_rng(0).random(streams) < share if share < 1 else None
    arrays = flat(state)
    layer.step(x, state, mask=mask)
    counts = [sys.getrefcount(array) for array in arrays]
    peaks = []
    for _ in range(5):
        tracemalloc.start()
        try:
            y = layer.step(x, state, mask=mask)
            peaks.append(tracemalloc.get_traced_memory()[1])
        finally:
            tracemalloc.stop()
    assert min(peaks) < 8_000  # other threads of the process may allocate meanwhile
    assert all(one is other for one, other in zip(flat(state), arrays, strict=True))
    assert y is arrays[0 if kind != "stack" else 2]
    del y
    assert [sys.getrefcount(array) for array in arrays] == counts


@pytest.mark.parametrize("mask", [None, [1, 0, 1, 1, 0, 1]])
def test_inputs_of_other_forms(mask: Any) -> None:
    """Other dtypes, strided inputs, and inputs that are also a state."""
    layer = fm.layers.LSTM(40)  # several registers: the first are written while x is still read
    x = np.random.default_rng(0).normal(size=(6, 40)).astype(np.float32)
    wide = np.full((6, 3, 40), np.nan, np.float32)
    wide[:, 1] = x
    events = None if mask is None else np.repeat(mask, 2)[::2] == 1  # strided, too

    def after(make: Callable[[list[Array]], Any]) -> list[Array]:
        state = layer.get_initial_state(6)
        state[0][:] = x
        layer.step(make(state), state, mask=events)
        return state

    first = after(lambda _: x)
    for make in (
        lambda _: wide[:, 1],
        lambda _: x.astype(np.float64),
        lambda _: x.tolist(),
        lambda _: x.astype(">f4"),
        lambda state: state[0],
    ):
        for a, b in zip(after(make), first, strict=True):
            np.testing.assert_array_equal(a, b)


def test_rows_without_an_event_are_not_converted() -> None:
    layer = fm.layers.GRU(3)
    state = layer.get_initial_state(2)
    layer.step(np.array([[1.0], [1e300]]), state, mask=[1, 0])  # would warn of an overflow
    assert np.isfinite(state[0]).all()
    with pytest.raises(TypeError, match="x must hold real numbers, not dtype"):
        layer.step(np.ones((2, 1), complex), state, mask=[1, 0])


def test_a_cell_leaves_the_states_it_was_given() -> None:
    cell = fm.layers.LSTMCell(4)
    states = cell.get_initial_state(3)
    output, after = cell(np.ones((3, 2)), states=states)
    assert not any(state.any() for state in states)
    assert output.any()
    assert output is after[0]


@pytest.mark.parametrize(
    "layer", [fm.Sequential([]), fm.Model, fm.layers.Bidirectional(fm.layers.GRU(2))]
)
def test_what_has_no_step_says_what_to_do(layer: Any) -> None:
    with pytest.raises(AttributeError, match=r"one by one, get_layer\(name\).step.*Bidirectional"):
        _ = layer.step
