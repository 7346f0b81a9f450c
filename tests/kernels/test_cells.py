"""The kernels of cells that are made from formulas, on each backend."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fastmask_kernels import cells, reference
from fastmask_kernels.cells import Cell

from ..cases import CASES, CellCase, GRUCase, LSTMCase, RNNCase, assert_close
from ..own_cells import (
    CELLS,
    EACH_BACKEND_OF_CELLS,
    EACH_OWN_CELL,
    EACH_OWN_KERNEL,
    cases_of_kinds,
    stepped,
)
from ..plain_cells import over_time, step_of


def loss(case: CellCase) -> float:
    """The function whose gradient `run_backward` computes."""
    out, *last = case.run(reference)
    counted = ~np.isnan(case.dout)
    total = np.sum(case.dout[counted] * out[counted])
    return float(total + sum(np.sum(d * a) for d, a in zip(case.dlast, last, strict=True)))


@EACH_OWN_CELL
def test_the_reference_is_a_loop_around_the_formula(cell: Cell) -> None:
    for case in cases_of_kinds(cell, 3, 5, 2, 4, dtype="float64"):
        activations = case.activation, case.recurrent_activation
        step = step_of(cell, np, case.weights, *activations)
        given = case.x, case.valid, case.states, case.reverse, case.zero_masked
        expected, last = over_time(step, np, *given)
        out, *ends = case.run(reference)
        assert_close(out, expected[:, : out.shape[1]], "float64")
        for found, end in zip(ends, last, strict=True):
            assert_close(found, end, "float64")


@EACH_OWN_CELL
@pytest.mark.parametrize("save", ["states", "gates"])
def test_gradients_of_the_reference_are_those_of_differences(cell: Cell, save: str) -> None:
    rng = np.random.default_rng(11)
    for case in cases_of_kinds(cell, 3, 4, 2, 3, dtype="float64"):
        gradients = case.run_backward(reference, save=save)
        for number, (array, gradient) in enumerate(zip(case.inputs, gradients, strict=False)):
            valid = case.valid if number == 0 else ...
            direction = np.zeros_like(array)
            direction[valid] = rng.standard_normal(array[valid].shape)
            ends = []
            for distance in (1e-5, -1e-5):
                inputs = case.inputs
                inputs[number] = array + distance * direction
                ends.append(loss(case.with_inputs(inputs)))  # type: ignore[arg-type]  # a CellCase
            slope = (ends[0] - ends[1]) / 2e-5
            found = np.sum(gradient[valid] * direction[valid])
            np.testing.assert_allclose(found, slope, rtol=1e-6, atol=1e-7, err_msg=case.kind)


@pytest.mark.optional
@EACH_OWN_CELL
def test_gradients_of_the_reference_are_those_of_autograd(cell: Cell) -> None:
    torch = pytest.importorskip("torch")
    for case in cases_of_kinds(cell, 3, 4, 2, 3, dtype="float64"):
        inputs = [np.nan_to_num(case.x), *case.inputs[1:]]
        x, *rest = [torch.tensor(array, requires_grad=True) for array in inputs]
        weights, states = rest[: len(case.weights)], rest[len(case.weights) :]
        step = step_of(cell, torch, weights, case.activation, case.recurrent_activation)
        out, last = over_time(step, torch, x, case.valid, states, case.reverse, case.zero_masked)
        total = sum((d * torch.tensor(g)).sum() for d, g in zip(last, case.dlast, strict=True))
        if case.sequences:
            total = total + (out * torch.tensor(np.nan_to_num(case.dout))).sum()
        total.backward()
        found = case.run_backward(reference)
        for tensor, gradient in zip((x, *rest), found, strict=False):
            expected = np.zeros(tensor.shape) if tensor.grad is None else tensor.grad.numpy()
            assert_close(gradient, expected, "float64")


@EACH_OWN_KERNEL
def test_equals_reference(cell: Cell, backend: Any) -> None:
    for case in cases_of_kinds(cell, 5, 6, 3, 9, spare=2):
        equals_reference(case, backend)
    equals_reference(CellCase(20, 3, 17, 33, kind="holes", own=cell), backend)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["peephole_lstm", "all_kinds"])
@EACH_BACKEND_OF_CELLS
def test_equals_reference_in_float64(name: str, backend: Any) -> None:
    for case in cases_of_kinds(CELLS[name], 5, 6, 3, 9, dtype="float64"):
        equals_reference(case, backend)


def equals_reference(case: CellCase, backend: Any) -> None:
    for save in ("nothing", "states", "gates"):
        outputs = zip(
            case.run(backend, 2, save=save)[: 1 + 2 * len(case.states)],
            case.run(reference, dtype="float64", save=save),
            strict=False,
        )
        for found, expected in outputs:
            assert_close(found, expected, case.dtype)
    for save in ("states", "gates"):
        *found, gates = case.run_backward(backend, 2, save=save)
        *expected, _ = case.run_backward(reference, dtype="float64", save=save)
        assert np.isfinite(gates[: len(case.plan[1]) - case.spare]).all()
        for one, other in zip(found, expected, strict=True):
            assert_close(one / 10, other / 10, case.dtype)


@EACH_OWN_KERNEL
def test_threads_do_not_change_a_bit(cell: Cell, backend: Any) -> None:
    case = CellCase(37, 4, 3, 12, kind="holes", seed=2, own=cell)
    for run in (case.run, case.run_backward):
        for one, other in zip(run(backend, 1), run(backend, 3), strict=True):
            np.testing.assert_array_equal(one, other)


@pytest.mark.slow
@EACH_OWN_KERNEL
def test_a_step_is_one_of_a_sequence(cell: Cell, backend: Any) -> None:
    case = CellCase(6, 1, 3, 9, seed=5, own=cell)
    events = np.array([True, False, True, True, False, True])
    _, *after = case.run(reference)
    for found, before, new in zip(stepped(case, backend, events), case.states, after, strict=True):
        assert_close(found, np.where(events[:, None], new, before), "float32")


@pytest.mark.parametrize("activation", ["tanh", "relu", "linear", "hard_sigmoid", "sigmoid"])
@pytest.mark.parametrize("gates", ["sigmoid", "hard_sigmoid", "hard_sigmoid_keras2", "tanh"])
def test_formulas_are_the_cells_that_are_written_by_hand(activation: str, gates: str) -> None:
    """On the reference, where lstm_fwd and the others share nothing with the formulas."""
    options: dict[str, Any] = {
        "kind": "holes",
        "seed": 3,
        "dtype": "float64",
        "activation": activation,
        "recurrent_activation": gates,
    }
    sizes = 4, 5, 3, 4
    for hand, own in ((LSTMCase, cells.lstm), (RNNCase, cells.simple_rnn)):
        one, other = hand(*sizes, **options), CellCase(*sizes, own=own, **options)
        for save in ("states", "gates"):
            for a, b in zip(
                one.run_backward(reference, save=save),
                other.run_backward(reference, save=save),
                strict=True,
            ):
                assert_close(b, a, "float64")
    for reset_after, own in ((True, cells.gru), (False, cells.gru_reset_before)):
        gru = GRUCase(*sizes, reset_after=reset_after, **options)
        case = CellCase(*sizes, own=own, **options)
        kernel, recurrent, bias = gru.weights
        z, r, h = np.split(bias, 3, axis=1)
        rows = [z.sum(0), r.sum(0), *h] if reset_after else [z.sum(0), r.sum(0), h.sum(0)]
        case.weights = [kernel, recurrent, np.concatenate(rows)]
        case.x, case.states, case.dout, case.dlast = gru.x, gru.states, gru.dout, gru.dlast
        for a, b in zip(
            gru.run(reference, save="gates"), case.run(reference, save="gates"), strict=True
        ):
            assert_close(b, a, "float64")
        found, expected = (c.run_backward(reference) for c in (case, gru))
        for a, b in zip(expected[:3] + expected[4:], found[:3] + found[4:], strict=True):
            assert_close(b, a, "float64")
        assert set(CASES) == {"lstm", "gru", "rnn"}
