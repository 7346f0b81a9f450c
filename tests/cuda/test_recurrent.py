"""LSTM, GRU and SimpleRNN of the CUDA backend, forward and backward, against the reference.

Every case has NaN in its masked inputs and in gradients that must be ignored, and starts with
outputs full of NaN, as in kernels/test_forward.py and kernels/test_backward.py.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fastmask_kernels import reference
from fastmask_kernels.cuda import use_weights
from fastmask_kernels.cuda.rnn import places, resident
from fastmask_kernels.cuda.runtime import driver as _driver
from fastmask_kernels.cuda.runtime import kernel as _kernel
from fastmask_kernels.spec import ACTIVATIONS

from ..cases import CASES, MASK_KINDS, GRUCase, RecurrentCase, RNNCase, assert_close
from ..kernels.test_backward import assert_gradients_close
from .backend import backend

CELLS: dict[str, tuple[str, dict[str, Any]]] = {
    "lstm": ("lstm", {}),
    "gru_after": ("gru", {"reset_after": True}),
    "gru_before": ("gru", {"reset_after": False}),
    "rnn": ("rnn", {}),
}


def make(cell: str, *sizes: int, **options: Any) -> RecurrentCase:
    """A case of the cell with that name in this file."""
    name, form = CELLS[cell]
    return CASES[name](*sizes, **options | form)


def check(case: RecurrentCase, save: str = "gates", want_dx: bool = True) -> None:
    """Check forward and, if anything is saved, backward."""
    expected = case.run(reference, dtype="float64", save=save)
    for actual, wanted in zip(case.run(backend, save=save), expected, strict=True):
        assert actual.dtype == case.dtype
        assert_close(actual, wanted, case.dtype)
    if save == "nothing":
        return
    gradients = case.run_backward(reference, dtype="float64", save=save, want_dx=want_dx)
    actual_gradients = case.run_backward(backend, save=save, want_dx=want_dx)
    for actual, wanted in zip(actual_gradients, gradients, strict=True):
        assert_gradients_close(actual, wanted)


def turns() -> list[Any]:
    """Every kind of mask; the other options alternate."""
    return [
        pytest.param(cell, number, id=f"{cell}-{MASK_KINDS[number]}")
        for shift, cell in enumerate(CELLS)
        for number in range(shift % 2, len(MASK_KINDS), 2 if shift % 3 else 1)
    ]


@pytest.mark.parametrize(("cell", "number"), turns())
def test_every_kind_of_mask(cell: str, number: int) -> None:
    """Both directions, both ways to fill masked outputs, both dtypes, all that can be saved."""
    case = make(
        *(cell, 5, 4, 3, 7),
        kind=MASK_KINDS[number],
        seed=number,
        dtype=("float32", "float64")[number % 2],
        reverse=number % 4 in (1, 2),
        zero_masked=number % 4 > 1,
        spare=3 * (number % 3 == 1),
    )
    check(case, save=("gates", "states")[number // 2 % 2], want_dx=number != 3)


@pytest.mark.parametrize("cell", CELLS)
def test_outputs_alone(cell: str) -> None:
    """Nothing is saved: h overwrites the rows of the projection."""
    for zero_masked in (False, True):
        case = make(cell, 3, 5, 2, 5, kind="holes", reverse=zero_masked, zero_masked=zero_masked)
        check(case, save="nothing")


@pytest.mark.parametrize("sizes", [(0, 3, 2, 4), (2, 0, 2, 4), (2, 3, 0, 4), (1, 1, 1, 1)])
def test_sizes(sizes: tuple[int, ...]) -> None:
    check(make("lstm", *sizes, kind="right"))


@pytest.mark.parametrize("cell", ["lstm", "gru_before"])
def test_last_states_alone(cell: str) -> None:
    check(make(cell, 3, 3, 2, 5, kind="left", sequences=False), save="states")


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_activations(activation: str) -> None:
    other = "sigmoid" if activation == "linear" else activation
    options: dict[str, Any] = {"activation": activation, "recurrent_activation": other}
    check(make("lstm", 3, 3, 2, 4, kind="right", dtype="float64", **options))
    check(make("rnn", 3, 3, 2, 4, kind="right", dtype="float64", **options))


def limit(monkeypatch: pytest.MonkeyPatch, registers: int, shared: int) -> None:
    """Limit the registers per thread and the bytes of shared memory for weights."""
    monkeypatch.setattr(resident, "OWN_REGISTERS", places.MOST_REGISTERS - registers)
    monkeypatch.setattr(places, "shared_bytes", lambda: shared)


def blocks_of_grids(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The number of blocks of each cooperative launch from now on."""
    ran, launch = [], _kernel.Kernel.launch

    def watch(self: Any, grid: Any, *args: Any, **options: Any) -> None:
        if self.cooperative:
            ran.append(grid)
        launch(self, grid, *args, **options)

    monkeypatch.setattr(_kernel.Kernel, "launch", watch)
    return ran


@pytest.mark.parametrize("cell", ["lstm", "gru_before"])
def test_weights_in_registers_and_shared_memory(cell: str, monkeypatch: pytest.MonkeyPatch) -> None:
    limit(monkeypatch, registers=32, shared=160 * 1024)
    check(make(cell, 2, 2, 2, 18, kind="holes", seed=1))


@pytest.mark.parametrize(
    ("cell", "units", "split", "registers", "shared"),
    [
        ("lstm", 9, 2, 100, 160 * 1024),
        ("lstm", 17, 1, 16, 12 * 1024),
        ("lstm", 17, 1, 16, 5 * 1024),
        ("gru_after", 9, 2, 0, 6 * 1024),
        ("gru_before", 9, 2, 100, 160 * 1024),
        ("rnn", 9, 2, 0, 160 * 1024),
    ],
)
def test_blocks_that_share_a_layer(
    cell: str,
    units: int,
    split: int,
    registers: int,
    shared: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Two blocks that wait for each other, with weights in each of three memories."""
    limit(monkeypatch, registers, shared)
    monkeypatch.setattr(resident.Tile, "resident", property(lambda _: False))
    monkeypatch.setattr(places, "MOST_SPLIT", split)
    ran = blocks_of_grids(monkeypatch)
    reverse = registers == 0
    check(make(cell, 5, 2, 2, units, kind="right", seed=1, reverse=reverse, zero_masked=reverse))
    assert ran == [2, 2, 2]


def test_more_units_than_a_device_holds() -> None:
    with pytest.raises(ValueError, match="take at most 512 units, not 513"):
        backend.lstm_packed_size(2, 513, np.float32)


@pytest.mark.parametrize(
    ("form", "units", "message"),
    [
        ("float32", 200, "200 units of float32, which are too many for one block"),
        ("tf32", 8, "weights in tf32"),
        ("bfloat16", 8, "weights in bfloat16"),
    ],
)
def test_what_an_older_device_cannot_do(
    form: str, units: int, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = backend.lstm_packed_size
    whole = f"compute capability 8.0 is needed for {message}; the device has 7.5"
    with use_weights(form):
        assert size(2, units, np.float32) > 0
        monkeypatch.setattr(_driver, "limits", lambda: _driver.Limits(2, 160 * 1024, (7, 5)))
        with pytest.raises(ValueError, match=whole):
            size(2, units, np.float32)
    assert size(2, 8, np.float32) > 0


def test_a_product_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sums over rows split over blocks equal those of one block, up to rounding, and repeat."""
    monkeypatch.setattr(_driver, "limits", lambda: _driver.Limits(8, 160 * 1024))
    case = RNNCase(6, 12, 3, 4, seed=2)
    expected = case.run_backward(reference, dtype="float64")
    first, again = case.run_backward(backend), case.run_backward(backend)
    for a, b, wanted in zip(first, again, expected, strict=True):
        np.testing.assert_array_equal(a, b)
        assert_gradients_close(a, wanted)


@pytest.mark.parametrize("poison", [0.0, np.inf])
def test_what_is_masked_reaches_nothing(poison: float) -> None:
    case, other = (GRUCase(3, 3, 2, 5, kind="holes", seed=3) for _ in range(2))
    other.x = np.where(np.isnan(case.x), poison, case.x)
    other.dout = np.where(np.isnan(case.dout), poison, case.dout)
    for a, b in zip(case.run_backward(backend), other.run_backward(backend), strict=True):
        np.testing.assert_array_equal(a, b)


def test_packed_of_another_size() -> None:
    with pytest.raises(ValueError, match="packed must have"):
        backend.lstm_pack(np.zeros(3), np.zeros((2, 8)), np.zeros((2, 8)), np.zeros(8))


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("units", [9, 20])
def test_many_steps_of_several_warps(cell: str, units: int) -> None:
    """Gradients of a step overwrite no gradients that are still being read."""
    check(make(cell, 3, 5, 2, units, kind="left", seed=units))


@pytest.mark.parametrize("cell", ["lstm", "gru_before", "rnn"])
def test_many_steps_of_two_blocks(cell: str, monkeypatch: pytest.MonkeyPatch) -> None:
    limit(monkeypatch, registers=100, shared=160 * 1024)
    monkeypatch.setattr(resident.Tile, "resident", property(lambda _: False))
    monkeypatch.setattr(places, "MOST_SPLIT", 2)
    check(make(cell, 3, 4, 2, 9, kind="left", seed=1))


def calls_with_packed(cell: str) -> list[Any]:
    """Forward and step kernels of a cell, as functions of only the packed weights."""
    case = CASES[cell](2, 3, 2, 5, seed=4)
    states = [np.zeros((2, 5), np.float32) for _ in case.states]
    saved = [np.zeros((0, 5), np.float32) for _ in case.states]
    if case.gates_saved:
        saved.append(np.zeros((0, 5 * case.gates_saved), np.float32))
    out, last = np.zeros((2, 3, 5), np.float32), [state.copy() for state in states]
    x = np.zeros((2, 3, 2), np.float32)

    def forward(packed: np.ndarray) -> None:
        getattr(backend, f"{cell}_fwd")(
            *(out, *last, *saved, x, *case.plan, packed, *states),
            *(*case.options, False, False, 1),
        )

    def step(packed: np.ndarray) -> None:
        valid = np.ones(2, bool)
        getattr(backend, f"{cell}_step")(*states, x[:, 0].copy(), valid, packed, *case.options, 1)

    return [forward, step]


@pytest.mark.parametrize("cell", CASES)
@pytest.mark.parametrize("which", [0, 1], ids=["fwd", "step"])
def test_packed_weights_of_another_size(cell: str, which: int) -> None:
    call = calls_with_packed(cell)[which]
    size = getattr(backend, f"{cell}_packed_size")(2, 5, np.float32)
    call(np.zeros(size, np.float32))
    for other in (0, 7, size - 1, size + 1, 2 * size):
        with pytest.raises(ValueError, match=f"packed must have {size} elements .* not {other}"):
            call(np.zeros(other, np.float32))


@pytest.mark.parametrize(
    ("units", "batch", "shared"),
    [
        (8, 9, 160 * 1024),  # two copies of a layer in a block each; one has two groups at once
        (9, 17, 160 * 1024),  # one copy, and three turns
        (9, 9, 2500),  # too little room for one group per row of threads
    ],
)
def test_turns_and_copies(
    units: int, batch: int, shared: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit(monkeypatch, registers=100, shared=shared)
    monkeypatch.setattr(resident.Tile, "resident", property(lambda _: False))
    monkeypatch.setattr(places, "MOST_SPLIT", 2)
    ran = blocks_of_grids(monkeypatch)
    case = make("rnn", batch, 3, 2, units, kind="right", seed=2)
    expected = case.run_backward(reference, dtype="float64")
    for actual, wanted in zip(case.run_backward(backend), expected, strict=True):
        assert_gradients_close(actual, wanted)
    assert ran == [2, 2]
