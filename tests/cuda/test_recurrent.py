"""LSTM, GRU and SimpleRNN of the CUDA column, forward and backward, against the reference.

Every case has NaN in its masked inputs and in the gradients that count for nothing, and runs on
outputs full of NaN, as in test_forward_kernels.py and test_backward_kernels.py.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fastmask_kernels import reference
from fastmask_kernels.cuda import gemm, resident
from fastmask_kernels.spec import ACTIVATIONS

from ..cases import CASES, MASK_KINDS, GRUCase, LSTMCase, RecurrentCase, assert_close
from ..test_backward_kernels import assert_gradients_close
from .column import column

CELLS: dict[str, tuple[str, dict[str, Any]]] = {
    "lstm": ("lstm", {}),
    "gru_after": ("gru", {"reset_after": True}),
    "gru_before": ("gru", {"reset_after": False}),
    "rnn": ("rnn", {}),
}


def make(cell: str, *sizes: int, **options: Any) -> RecurrentCase:
    """A case of a cell by the name it has here."""
    name, form = CELLS[cell]
    return CASES[name](*sizes, **options | form)


def check(case: RecurrentCase, save: str = "gates", want_dx: bool = True) -> None:
    """Forward and, where anything is saved, backward."""
    expected = case.run(reference, dtype="float64", save=save)
    for actual, wanted in zip(case.run(column, save=save), expected, strict=True):
        assert actual.dtype == case.dtype
        assert_close(actual, wanted, case.dtype)
    if save == "nothing":
        return
    gradients = case.run_backward(reference, dtype="float64", save=save, want_dx=want_dx)
    actual_gradients = case.run_backward(column, save=save, want_dx=want_dx)
    for actual, wanted in zip(actual_gradients, gradients, strict=True):
        assert_gradients_close(actual, wanted)


@pytest.mark.parametrize("number", range(len(MASK_KINDS)))
@pytest.mark.parametrize("cell", CELLS)
def test_every_kind_of_mask(cell: str, number: int) -> None:
    """Both directions, both ways of masked outputs, what is saved: all of them in turn."""
    check(
        make(
            *(cell, 5, 5, 3, 9),
            kind=MASK_KINDS[number],
            seed=number,
            dtype=("float32", "float64")[number % 2],
            reverse=number % 2 == 1,
            zero_masked=number % 4 > 1,
            spare=3 * (number % 3 == 1),
        ),
        save=("gates", "states")[number // 2 % 2],
        want_dx=number != 3,
    )


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("cell", CELLS)
def test_outputs_of_masked_steps(cell: str, reverse: bool) -> None:
    for zero_masked in (False, True):
        case = make(cell, 3, 6, 2, 5, kind="holes", reverse=reverse, zero_masked=zero_masked)
        check(case, save="nothing")


@pytest.mark.parametrize(
    "sizes", [(0, 3, 2, 4), (2, 0, 2, 4), (2, 3, 0, 4), (1, 1, 1, 1), (9, 3, 2, 17)]
)
@pytest.mark.parametrize("cell", ["lstm", "gru_before"])
def test_sizes(cell: str, sizes: tuple[int, ...]) -> None:
    check(make(cell, *sizes, kind="right", sequences=sizes[0] != 2))


@pytest.mark.parametrize("cell", CELLS)
def test_last_states_alone(cell: str) -> None:
    check(make(cell, 3, 4, 2, 5, kind="left", sequences=False), save="nothing")
    check(make(cell, 3, 4, 2, 5, kind="left", sequences=False), save="states")


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_activations(activation: str) -> None:
    for cell in ("lstm", "gru_after", "rnn"):
        other = "sigmoid" if activation == "linear" else activation
        options: dict[str, Any] = {"activation": activation, "recurrent_activation": other}
        check(make(cell, 3, 3, 2, 4, kind="right", dtype="float64", **options))


@pytest.mark.parametrize("place", ["registers", "shared", "global"])
@pytest.mark.parametrize("cell", CELLS)
def test_weights_in_every_place(cell: str, place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One chunk there, and one more where the next place begins."""
    if place != "registers":
        monkeypatch.setattr(resident, "OWN_REGISTERS", 1000 if place == "shared" else 175)
    monkeypatch.setattr(resident, "MOST_REGISTERS", 255)
    if place == "global":
        monkeypatch.setattr(resident, "SHARED_BYTES", 8000)
    check(make(cell, 4, 2, 2, 18, kind="holes", seed=1))


def test_a_product_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sums over rows split over blocks give what one block gives, to rounding, and repeat."""
    monkeypatch.setattr(gemm, "multiprocessors", lambda: 8)
    case = LSTMCase(6, 12, 3, 4, kind="holes", seed=2)
    check(case)
    for first, again in zip(case.run_backward(column), case.run_backward(column), strict=True):
        np.testing.assert_array_equal(first, again)


@pytest.mark.parametrize("poison", [0.0, np.inf])
def test_what_is_masked_reaches_nothing(poison: float) -> None:
    case, other = (GRUCase(4, 4, 2, 5, kind="holes", seed=3) for _ in range(2))
    other.x = np.where(np.isnan(case.x), poison, case.x)
    other.dout = np.where(np.isnan(case.dout), poison, case.dout)
    for a, b in zip(case.run_backward(column), other.run_backward(column), strict=True):
        np.testing.assert_array_equal(a, b)


def test_packed_of_another_size() -> None:
    with pytest.raises(ValueError, match="packed must have"):
        column.lstm_pack(np.zeros(3), np.zeros((2, 8)), np.zeros((2, 8)), np.zeros(8))
