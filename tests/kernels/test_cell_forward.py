"""Forward kernels that the CPU backend makes from formulas, against the formulas in NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fastmask_kernels import cpu, reference
from fastmask_kernels.cells import Cell, cell
from fastmask_kernels.cpu.parallel import run
from fastmask_kernels.cpu.parallel.schedule import Schedule
from fastmask_kernels.formula import normalize, sigmoid, tanh

from ..cases import CellCase, assert_close
from ..own_cells import CELLS, EACH_COMPILED_CELL, cases_of_kinds, stepped

SIZES = ((5, 6, 3, 9), (3, 5, 4, 1), (9, 7, 5, 33), (30, 4, 6, 40), (2, 9, 0, 17), (4, 0, 3, 20))


def outputs(case: CellCase, backend: Any, *args: Any, **kwargs: Any) -> list[Any]:
    """The outputs of forward, with only those blocks of `gates` that the cell saves."""
    *found, gates = case.run(backend, *args, **kwargs)
    saved = case.own.saved
    if not case.gates_saved or kwargs["save"] == "nothing":
        return [*found, gates]
    blocks = gates.reshape(len(gates), len(saved), case.units)
    return [*found, blocks[:, [symbol is not None for symbol in saved]]]


def assert_equals_reference(one: Cell, dtype: str) -> None:
    """With all kinds of masks and sizes, and the same bits with any number of threads."""
    for sizes in SIZES:
        for case in cases_of_kinds(one, *sizes, dtype=dtype, spare=2):
            for save in ("nothing", "states", "gates"):
                found = outputs(case, cpu, save=save)
                expected = outputs(case, reference, dtype="float64", save=save)
                for a, b in zip(found, expected, strict=True):
                    assert_close(a, b, dtype)
                for threads in (2, 5):
                    for a, b in zip(found, outputs(case, cpu, threads, save=save), strict=True):
                        np.testing.assert_array_equal(a, b)


@EACH_COMPILED_CELL
def test_equals_reference(cell: Cell) -> None:
    assert_equals_reference(cell, "float32")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["peephole_lstm", "layer_norm_lstm", "all_kinds"])
def test_equals_reference_in_float64(name: str) -> None:
    assert_equals_reference(CELLS[name], "float64")


@EACH_COMPILED_CELL
def test_sharing_does_not_change_a_bit(cell: Cell) -> None:
    schedules = Schedule(2, 2, 99), Schedule(2, 0, 0), Schedule(3, 2, 2), Schedule(4, 3, 1)
    for sizes in ((11, 7, 4, 70), (3, 30, 4, 40)):
        case = CellCase(*sizes, kind="right", seed=3, own=cell)
        alone, longest = case.run(cpu, save="gates"), int(case.valid.sum(axis=1).max())
        for schedule in schedules:
            schedule = schedule._replace(join=min(schedule.join, longest))
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(run, "make_schedule", lambda *_, chosen=schedule: chosen)
                for a, b in zip(alone, case.run(cpu, schedule.threads, save="gates"), strict=True):
                    np.testing.assert_array_equal(a, b)


@pytest.mark.slow
@EACH_COMPILED_CELL
def test_a_step_is_one_of_a_sequence(cell: Cell) -> None:
    for units in (1, 19, 40):
        case = CellCase(6, 1, 3, units, seed=5, own=cell)
        events = np.array([True, False, True, True, False, True])
        _, *after = case.run(reference, dtype="float64")
        found = stepped(case, cpu, events)
        for a, before, new in zip(found, case.states, after, strict=True):
            assert_close(a, np.where(events[:, None], new, before), "float32")


@cell
def three_states(a: Any, b: Any, h: Any, c: Any, d: Any) -> Any:  # noqa: ARG001 - in the sums
    """Two of the states change places."""
    return tanh(a + d), d + sigmoid(b) * c, c


@cell
def deep(f: Any, n: Any, m: Any, h: Any, c: Any) -> Any:
    """A sum that is called on the result of another call, and a state that changes early."""
    c = c + sigmoid(f)
    return tanh(m(tanh(n(f * h)) + c)) + normalize(c) * c, c


@cell
def twice(r: Any, a: Any, b: Any, d: Any, h: Any) -> Any:
    """Two sums that are called on the same value, and one on another."""
    r = sigmoid(r)
    return tanh(a(r * h)) + r * tanh(b(r * h)) * d(h - r)


@cell
def deviations(a: Any, b: Any, h: Any, *, gain: Any) -> Any:  # noqa: ARG001 - in the sums
    """Values that are normalized together and by themselves, with a large mean."""
    a, b = normalize(a + 300.0, b + 299.0)
    return tanh(normalize(gain * a) + b)


@pytest.mark.slow
@pytest.mark.parametrize("own", [three_states, deep, twice, deviations], ids=lambda one: one.name)
def test_what_no_other_cell_does(own: Cell) -> None:
    assert_equals_reference(own, "float64")
    case = CellCase(6, 1, 3, 19, seed=5, own=own, dtype="float64")
    _, *after = case.run(reference)
    for a, b in zip(stepped(case, cpu, np.ones(6, bool)), after, strict=True):
        assert_close(a, b, "float64")


@pytest.mark.slow
def test_the_variance_of_values_with_a_large_mean() -> None:
    """In float32 the mean of squares would lose all its digits."""
    case = CellCase(7, 3, 4, 100, own=deviations)
    for a, b in zip(case.run(cpu), case.run(reference, dtype="float64"), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-3)


@pytest.mark.slow
def test_states_of_rows_without_an_event_are_not_touched() -> None:
    case = CellCase(5, 1, 2, 7, own=three_states)
    states = stepped(case, cpu, np.zeros(5, bool))
    for found, before in zip(states, case.states, strict=True):
        np.testing.assert_array_equal(found, before)


def test_every_element_of_packed_weights_is_written() -> None:
    for own in CELLS.values():
        for units in (1, 7, 8, 16, 20, 33):
            case = CellCase(1, 1, 3, units, own=own)
            kernels = cpu.kernels_of(own)
            packed = [
                np.full(kernels.packed_size(3, units, np.dtype("f4")), x, "f4") for x in (1, np.nan)
            ]
            for array in packed:
                kernels.pack(array, *case.weights)
            np.testing.assert_array_equal(*packed)
            assert not np.isnan(packed[1]).any()
