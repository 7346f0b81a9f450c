"""lstm_fwd, gru_fwd and rnn_fwd of each backend: Keras's outputs, and what each step saves."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from numpy.typing import NDArray

from fastmask_kernels import reference
from fastmask_kernels.spec import ACTIVATIONS

from .. import golden
from ..cases import (
    CASES,
    MASK_KINDS,
    SAVING,
    GRUCase,
    LSTMCase,
    RecurrentCase,
    activation_of,
    assert_close,
    cases_of,
    plan_of,
)
from ..each import EACH_BACKEND, EACH_KERNEL

Array = NDArray[Any]

CELL_OF = {"LSTM": "lstm", "GRU": "gru", "SimpleRNN": "rnn"}
GOLDEN = golden.cases(lambda c: c.layer in ("rnn", "stack") and c.canonical)
GROUPS = golden.under_all_masks(GOLDEN)


def golden_outputs(backend: Any, case: golden.Case) -> list[Array]:
    """The results of a backend's kernels for a case, in the order of its stored outputs."""
    mask = case.mask
    if mask is None:
        mask = np.ones((golden.B, golden.T), bool)
    shapes = [(golden.B, units) for units in case.units]
    first: list[list[Array]] = [
        [np.zeros(s, np.float32)] * CASES[CELL_OF[kind]].states_saved
        for kind, s in zip(case.kinds, shapes, strict=True)
    ]
    if case.states is not None:
        first = [case.states]
    results: list[Array] = []
    for _ in range(case.calls):
        output, states = case.x, []
        for number, kind in enumerate(case.kinds):
            one = kernel_case(case, kind, number, output, mask, first[number])
            output, *last = one.run(backend)
            first[number] = last
            states += last
        results.append(output if case.return_sequences else output[:, -1])
        results += states if case.return_state else []
    return results


def kernel_case(
    case: golden.Case, kind: golden.Kind, number: int, x: Array, mask: Array, first: list[Array]
) -> RecurrentCase:
    """One layer of a golden case as a kernel case; kernels write all steps."""
    maker = CASES[CELL_OF[kind]]
    options: dict[str, Any] = {"reset_after": case.reset_after} if maker is GRUCase else {}
    one = maker(
        *x.shape,
        case.units[number],
        activation=case.activation,
        recurrent_activation=case.recurrent_activation,
        reverse=case.go_backwards,
        zero_masked=case.zero_output_for_mask,
        **options,
    )
    arrays = 3 if case.use_bias else 2
    kernel, recurrent, *bias = case.weights[number * arrays :][:arrays]
    full_bias = np.zeros_like(one.weights[2])
    if bias:
        full_bias[... if bias[0].ndim == full_bias.ndim else 0] = bias[0]
    one.weights, one.states, one.valid = [kernel, recurrent, full_bias], first, mask
    one.x = np.where(mask[..., np.newaxis], x, np.float32(np.nan))
    return one


@EACH_BACKEND
@pytest.mark.parametrize("cases", GROUPS.values(), ids=GROUPS)
def test_golden(backend: Any, cases: list[golden.Case]) -> None:
    for case in cases:
        for actual, expected in zip(golden_outputs(backend, case), case.outputs, strict=True):
            np.testing.assert_allclose(actual, expected, rtol=0, atol=2e-6, err_msg=case.key)


def test_golden_cases_are_all_there() -> None:
    assert len(GOLDEN) == sum(map(len, GROUPS.values()))
    for kind in CELL_OF:
        cases = [c for c in GOLDEN if kind in c.kinds]
        assert len(cases) > 200
        assert {c.mask_name for c in cases} == set(golden.MASKS)


@EACH_KERNEL
def test_backend_equals_reference(cell: str, backend: Any) -> None:
    @given(cases_of(cell))
    @settings(max_examples=40 if backend is reference else 200, deadline=None)
    def check(case: RecurrentCase) -> None:
        expected = case.run(reference, dtype="float64")
        for actual, wanted in zip(case.run(backend), expected, strict=True):
            assert actual.dtype == case.dtype
            assert_close(actual, wanted, case.dtype)

    check()


@pytest.mark.parametrize("save", SAVING)
@EACH_KERNEL
def test_saving_changes_no_bit(cell: str, backend: Any, save: str) -> None:
    for seed, kind in enumerate(MASK_KINDS):
        case = CASES[cell](7, 8, 4, 9, kind=kind, seed=seed)
        for a, b in zip(case.run(backend), case.run(backend, save=save), strict=False):
            np.testing.assert_array_equal(a, b)


def saved_of(case: RecurrentCase, backend: Any) -> tuple[list[Array], list[Array], Array]:
    """States after each valid step, states before it, and gates, in rows as saved."""
    saved = case.run(backend, threads=2, save="gates")[1 + case.states_saved :]
    after, gates = saved[: case.states_saved], saved[case.states_saved :]
    offsets = plan_of(case.valid)[0]
    before = [np.full_like(a, np.nan) for a in after]
    for b, (start, stop) in enumerate(itertools.pairwise(offsets)):
        for now, past, first in zip(after, before, case.states, strict=True):
            rows = slice(start, stop)
            shifted = [*now[rows], first[b]][1:] if case.reverse else [first[b], *now[rows]][:-1]
            past[rows] = np.reshape(shifted, (stop - start, case.units))
    return after, before, gates[0] if gates else np.empty(0)


@pytest.mark.parametrize("sizes", [(0, 6, 3, 4), (2, 0, 3, 4), (2, 6, 0, 4), (2, 6, 3, 0)])
@EACH_KERNEL
def test_no_rows_steps_features_or_units(
    cell: str, backend: Any, sizes: tuple[int, int, int, int]
) -> None:
    case = CASES[cell](*sizes, kind="full", seed=1)
    for found, expected in zip(case.run(backend), case.run(reference), strict=True):
        assert not np.isnan(found).any()
        assert_close(found, expected, case.dtype)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("kind", MASK_KINDS)
@EACH_KERNEL
def test_saved_states_are_the_outputs_of_valid_steps(
    cell: str, backend: Any, kind: str, reverse: bool
) -> None:
    case = CASES[cell](5, 6, 3, 7, kind=kind, seed=4, reverse=reverse, zero_masked=reverse)
    out, *last = case.run(backend)
    after, _, _ = saved_of(case, backend)
    in_order = out[:, ::-1] if reverse else out
    np.testing.assert_array_equal(after[0], in_order[case.valid])
    offsets = plan_of(case.valid)[0]
    for b in np.flatnonzero(np.diff(offsets)):
        final = offsets[b] if reverse else offsets[b + 1] - 1
        for state, end in zip(after, last, strict=True):
            np.testing.assert_array_equal(state[final], end[b])


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("activation", ACTIVATIONS)
@EACH_BACKEND
def test_saved_lstm_gates_lead_from_state_to_state(
    backend: Any, activation: str, reverse: bool
) -> None:
    case = LSTMCase(
        *(5, 6, 3, 4),
        kind="holes",
        dtype="float64",
        activation=activation,
        recurrent_activation="hard_sigmoid",
        reverse=reverse,
    )
    (h, c), (h_before, c_before), gates = saved_of(case, backend)
    i, f, g, o = np.split(gates, 4, axis=1)
    assert_close(c, f * c_before + i * g, case.dtype)
    assert_close(h, o * activation_of(activation)(c), case.dtype)
    z = case.x[case.valid] @ case.weights[0] + h_before @ case.weights[1] + case.weights[2]
    gate, cell = activation_of("hard_sigmoid"), activation_of(activation)
    wanted = [f(z) for f, z in zip((gate, gate, cell, gate), np.split(z, 4, axis=1), strict=True)]
    assert_close(gates, np.hstack(wanted), case.dtype)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("reset_after", [False, True])
@EACH_BACKEND
def test_saved_gru_gates_lead_from_state_to_state(
    backend: Any, reset_after: bool, reverse: bool
) -> None:
    case = GRUCase(
        *(5, 6, 3, 4),
        kind="holes",
        dtype="float64",
        recurrent_activation="tanh",
        activation="relu",
        reverse=reverse,
        reset_after=reset_after,
    )
    (h,), (h_before,), gates = saved_of(case, backend)
    n, z, r, q = np.split(gates, 4, axis=1)
    assert_close(h, z * h_before + (1 - z) * n, case.dtype)
    kernel, recurrent, bias = case.weights
    u_z, u_r, u_h = np.split(recurrent, 3, axis=1)
    x_z, x_r, x_h = np.split(case.x[case.valid] @ kernel + bias[0], 3, axis=1)
    b_z, b_r, b_h = np.split(bias[1], 3)
    assert_close(z, np.tanh(x_z + h_before @ u_z + b_z), case.dtype)
    assert_close(r, np.tanh(x_r + h_before @ u_r + b_r), case.dtype)
    assert_close(q, h_before @ u_h + b_h if reset_after else r * h_before, case.dtype)
    candidate = x_h + r * q if reset_after else x_h + q @ u_h + b_h
    assert_close(n, np.maximum(candidate, 0), case.dtype)


@EACH_KERNEL
def test_rows_past_the_last_valid_step_are_not_touched(cell: str, backend: Any) -> None:
    exact, spare = (CASES[cell](4, 6, 3, 5, kind="holes", spare=n) for n in (0, 3))
    results = zip(exact.run(backend, save="gates"), spare.run(backend, save="gates"), strict=True)
    for number, (wanted, actual) in enumerate(results):
        np.testing.assert_array_equal(actual[: len(wanted)], wanted)
        assert len(actual) - len(wanted) == (3 if number > exact.states_saved else 0)
        assert np.isnan(actual[len(wanted) :]).all()
