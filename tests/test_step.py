"""One step in place: the kernels of each backend, and what `layer.step` asks of memory."""

from __future__ import annotations

import sys
import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import fastmask as fm
from fastmask_kernels import cpu, reference
from fastmask_kernels.cpu.parallel.queue import STILL_INSIDE
from fastmask_kernels.cpu.parallel.schedule import Shares
from fastmask_kernels.cpu.rnn import step

from .cases import RecurrentCase, assert_close, cases_of
from .each import EACH_BACKEND, EACH_CELL, EACH_FORM, FORMS

Array = NDArray[Any]
SHARES = (Shares(2, 2, 1), Shares(2, 5, 1), Shares(2, 0, 0), Shares(3, 2, 1), Shares(4, 0, 0))


def one_step(cell: str, *sizes: int, kind: str = "holes", **options: Any) -> RecurrentCase:
    """A case of one time step, of sizes B, F, H."""
    batch, features, units = sizes
    return FORMS[cell](batch, 1, features, units, kind=kind, **options)


def step_cases(cell: str) -> st.SearchStrategy[Any]:
    """Random cases of one time step; each dtype of a cell is a kernel to compile."""
    dtypes = ("float32", "float64") if cell == "lstm" else ("float32",)
    return cases_of(
        cell,
        time=st.just(1),
        batch=st.integers(0, 120),
        spare=st.just(0),
        dtype=st.sampled_from(dtypes),
    )


def stepped(case: RecurrentCase, backend: Any, threads: int = 1) -> list[Array]:
    """The states after a step; those before are NaN where there is no event."""
    size = getattr(backend, f"{case.cell}_packed_size")(
        case.features, case.units, np.dtype(case.dtype)
    )
    packed = np.full(size, np.nan, case.dtype)
    getattr(backend, f"{case.cell}_pack")(packed, *case.weights, *case.pack_options)
    valid = case.valid[:, 0].copy()
    states = [
        np.where(valid[:, np.newaxis], state, state.dtype.type(np.nan)) for state in case.states
    ]
    untouched = [state[~valid].tobytes() for state in states]
    everybody = case.kind == "full" and case.batch % 2 == 0  # flags or none, it is the same
    getattr(backend, f"{case.cell}_step")(
        *(*states, case.x[:, 0].copy(), valid[: 0 if everybody else None], packed),
        *(*case.options, threads),
    )
    assert [state[~valid].tobytes() for state in states] == untouched
    return states


def expected(case: RecurrentCase) -> list[Array]:
    """The last states of the reference's sequence kernel, NaN where there is no event."""
    last = case.run(reference, dtype="float64")[1:]
    return [np.where(case.valid, state, np.nan) for state in last]


@EACH_BACKEND
@EACH_CELL
def test_equals_the_sequence_kernel(cell: str, backend: Any) -> None:
    @given(step_cases(cell))
    @settings(max_examples=30 if backend is reference else 120, deadline=None)
    def check(case: RecurrentCase) -> None:
        for actual, wanted in zip(stepped(case, backend), expected(case), strict=True):
            assert actual.dtype == case.dtype
            assert_close(actual, wanted, case.dtype)

    check()


@pytest.mark.parametrize("shares", SHARES, ids=str)
@EACH_FORM
def test_sharing_does_not_change_a_bit(
    cell: str, shares: Shares, monkeypatch: pytest.MonkeyPatch
) -> None:
    for sizes in ((7, 5, 40), (60, 3, 17)):
        case = one_step(cell, *sizes)
        alone = stepped(case, cpu)
        with monkeypatch.context() as patch:
            patch.setattr(step, "share", lambda *_: shares)
            for _ in range(20):  # helpers come earlier or later
                for a, b in zip(stepped(case, cpu, shares.members), alone, strict=True):
                    np.testing.assert_array_equal(a, b)


@EACH_FORM
def test_many_parts_on_all_threads(cell: str) -> None:
    for kind in ("full", "holes"):
        case = one_step(cell, 999, 20, 70, kind=kind)
        alone = stepped(case, cpu)
        for threads in (2, 3, 7):
            for a, b in zip(stepped(case, cpu, threads), alone, strict=True):
                np.testing.assert_array_equal(a, b)
        for actual, wanted in zip(alone, expected(case), strict=True):
            assert_close(actual, wanted, case.dtype)


@EACH_FORM
def test_few_rows_of_many_units(cell: str) -> None:
    """Threads share the panels of a step by their own decision."""
    case = one_step(cell, 5, 30, 400, kind="full")
    for a, b in zip(stepped(case, cpu, 2), stepped(case, cpu), strict=True):
        np.testing.assert_array_equal(a, b)


def test_wrong_arguments_raise() -> None:
    h, x, packed = np.zeros((4, 3)), np.zeros((4, 2)), np.zeros(7)
    valid = np.ones(4, bool)
    with pytest.raises(ValueError, match="packed must come from gru_pack for 2 features, 3 units"):
        cpu.gru_step(h, x, valid, packed, "tanh", "sigmoid", True, 1)
    with pytest.raises(TypeError, match="valid must have dtype bool, not int64"):
        cpu.gru_step(h, x, valid.astype(np.int64), packed, "tanh", "sigmoid", True, 1)
    h.flags.writeable = False
    with pytest.raises(ValueError, match="h is an output and must be writeable"):
        cpu.gru_step(h, x, valid, packed, "tanh", "sigmoid", True, 1)


LAYERS = {
    "LSTM": lambda: fm.layers.LSTM(24),
    "GRU": lambda: fm.layers.GRU(24, dtype="float64"),
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
    """A peak that does not grow with 10 000 streams, and the very arrays that were given."""
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
    assert min(peaks) < 8_000  # threads of the test's process may allocate meanwhile
    assert all(one is other for one, other in zip(flat(state), arrays, strict=True))
    assert y is arrays[0 if kind != "stack" else 2]
    del y
    assert [sys.getrefcount(array) for array in arrays] == counts


@pytest.mark.parametrize("mask", [None, [1, 0, 1, 1, 0, 1]])
def test_inputs_of_other_forms(mask: Any) -> None:
    """Other dtypes, strided inputs, and inputs that are a state themselves."""
    layer = fm.layers.LSTM(40)  # several registers of units: the first are written while x is read
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


def test_scratch_that_a_helper_may_still_use_is_not_used_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    case = one_step("lstm", 30, 3, 8)
    step._kept._arrays.clear()
    stepped(case, cpu)
    assert len(step._kept._arrays) == 2
    monkeypatch.setattr(step, "run_shared", lambda *_: STILL_INSIDE)
    stepped(case, cpu)
    assert not step._kept._arrays
