"""Layers with recurrent weights in tf32 and bf16, against NumPy loops that round in the same way.

The reference rounds weights and what they are multiplied with by its own code, and does all else in
float64. Rounding is not continuous: a sum that differs in its last bit may round h to another
number, hence tolerances of about 1e-5 here and not of 1e-6.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from fastmask_kernels import cells, cuda
from fastmask_kernels.cuda.rnn import layout, mma_layout, places
from fastmask_kernels.cuda.rnn.emit import Kind
from fastmask_kernels.cuda.runtime import kernel as _kernel
from fastmask_kernels.spec import ACTIVATIONS

from ..cases import CASES, MASK_KINDS, RecurrentCase, activation_of
from .backend import backend

CELLS: dict[str, tuple[str, dict[str, Any]]] = {
    "lstm": ("lstm", {}),
    "gru_after": ("gru", {"reset_after": True}),
    "gru_before": ("gru", {"reset_after": False}),
    "rnn": ("rnn", {}),
}
FORMULAS = {"lstm": cells.lstm, "gru_after": cells.gru}
BITS = {"tf32": 13, "bfloat16": 16}  # bits of float32 that are lost


def make(cell: str, *sizes: int, **options: Any) -> RecurrentCase:
    name, form = CELLS[cell]
    return CASES[name](*sizes, **options | form)


def rounder(form: str) -> Any:
    """Rounds to the nearest number of a form: ties go to even in bf16, away from zero in tf32."""
    lost = BITS[form]

    def to(x: np.ndarray) -> np.ndarray:
        words = x.astype(np.float32).view(np.uint32).astype(np.uint64)
        even = (words >> lost & 1) - 1 if form == "bfloat16" else 0
        words = words + (1 << lost - 1) + even >> lost << lost
        return words.astype(np.uint32).view(np.float32).astype(np.float64)

    return to


class Reference:
    """A layer in float64 in which only recurrent products are rounded, forward and backward."""

    def __init__(self, case: RecurrentCase, form: str) -> None:
        self.case, self.to = case, rounder(form)
        self.w, self.u, self.b = (w.astype(np.float64) for w in case.weights)
        self.act = activation_of(case.activation)
        self.inner = activation_of(case.recurrent_activation)

    def multiply(self, h: np.ndarray, first: int = 0, last: int | None = None) -> np.ndarray:
        units = self.case.units
        u = self.u[:, first * units : None if last is None else last * units]
        return self.to(h) @ self.to(u)

    def step(self, x: np.ndarray, h: np.ndarray, *c: np.ndarray) -> tuple[np.ndarray, ...]:
        if self.case.cell == "lstm":
            i, f, g, o = np.split(x @ self.w + self.b + self.multiply(h), 4)
            state = self.inner(f) * c[0] + self.inner(i) * self.act(g)
            return self.inner(o) * self.act(state), state
        if self.case.cell == "rnn":
            return (self.act(x @ self.w + self.b + self.multiply(h)),)
        own, recurrent = self.b
        xz, xr, xn = np.split(x @ self.w + own, 3)
        bz, br, bn = np.split(recurrent, 3)
        pz, pr = np.split(self.multiply(h, 0, 2), 2)
        z, r = self.inner(xz + pz + bz), self.inner(xr + pr + br)
        if self.case.reset_after:
            n = self.act(xn + r * (self.multiply(h, 2) + bn))
        else:
            n = self.act(xn + self.multiply(r * h, 2) + bn)
        return (z * h + (1 - z) * n,)

    def run(self) -> list[np.ndarray]:
        case = self.case
        out = np.zeros((case.batch, case.time, case.units))
        last = [s.astype(np.float64) for s in case.states]
        for b in range(case.batch):
            state = tuple(s[b] for s in last)
            shown = np.zeros(case.units)
            for place in range(case.time):
                t = case.time - 1 - place if case.reverse else place
                if case.valid[b, t]:
                    state = self.step(case.x[b, t].astype(np.float64), *state)
                    shown = state[0]
                elif case.zero_masked:
                    shown = np.zeros(case.units)
                out[b, place] = shown
            for s, value in zip(last, state, strict=True):
                s[b] = value
        return [out, *last]


class Gradients(Reference):
    """The gradients of a layer with tanh and sigmoid; the factors of U^T are rounded, too."""

    def back(self, d: np.ndarray, first: int = 0, last: int | None = None) -> np.ndarray:
        units = self.case.units
        u = self.u[:, first * units : None if last is None else last * units]
        return self.to(d) @ self.to(u).T

    def step_back(self, x: np.ndarray, state: Any, dh: np.ndarray, dc: np.ndarray) -> Any:
        """Gradients of x W + b, of h U (as columns of U) and of the previous states."""
        h = state[0]
        if self.case.cell == "lstm":
            i, f, g, o = np.split(x @ self.w + self.b + self.multiply(h), 4)
            i, f, g, o = self.inner(i), self.inner(f), np.tanh(g), self.inner(o)
            y = np.tanh(f * state[1] + i * g)
            dc = dc + dh * o * (1 - y * y)
            d = (dc * g * i * (1 - i), dc * state[1] * f * (1 - f), dc * i * (1 - g * g))
            dz = np.concatenate([*d, dh * y * o * (1 - o)])
            return dz, dz, self.back(dz), dc * f
        if self.case.cell == "rnn":
            y = self.step(x, h)[0]
            dz = dh * (1 - y * y)
            return dz, dz, self.back(dz), dc
        (xz, xr, xn), (bz, br, bn) = np.split(x @ self.w + self.b[0], 3), np.split(self.b[1], 3)
        pz, pr = np.split(self.multiply(h, 0, 2), 2)
        z, r = self.inner(xz + pz + bz), self.inner(xr + pr + br)
        if self.case.reset_after:
            q = self.multiply(h, 2) + bn
            n = np.tanh(xn + r * q)
            dn = dh * (1 - z) * (1 - n * n)
            dz, dr = dh * (h - n) * z * (1 - z), dn * q * r * (1 - r)
            du = np.concatenate([dz, dr, dn * r])
            return np.concatenate([dz, dr, dn]), du, dh * z + self.back(du), dc
        n = np.tanh(xn + self.multiply(r * h, 2) + bn)
        dn = dh * (1 - z) * (1 - n * n)
        dq = self.back(dn, 2)
        dz, dr = dh * (h - n) * z * (1 - z), dq * h * r * (1 - r)
        dzr = np.concatenate([dz, dr])
        du = np.concatenate([dzr, dn])
        return du, du, dh * z + dq * r + self.back(dzr, 0, 2), dc

    def before(self, x: np.ndarray, h: np.ndarray) -> list[np.ndarray]:
        """The vectors that each third of U was multiplied with."""
        if self.case.cell != "gru" or self.case.reset_after:
            return [h]
        _, xr, _ = np.split(x @ self.w + self.b[0], 3)
        _, pr = np.split(self.multiply(h, 0, 2), 2)
        return [h, h, self.inner(xr + pr + np.split(self.b[1], 3)[1]) * h]

    def run(self) -> list[np.ndarray]:
        """The gradients of x, weights and initial states."""
        case = self.case
        dx = np.zeros(case.x.shape)
        dw, du, db = np.zeros_like(self.w), np.zeros_like(self.u), np.zeros_like(self.b)
        dstates = [d.astype(np.float64) for d in case.dlast]
        for b in range(case.batch):
            places = range(case.time)
            steps = [p for p in places if case.valid[b, case.time - 1 - p if case.reverse else p]]
            states = [tuple(s[b].astype(np.float64) for s in case.states)]
            times = [case.time - 1 - p if case.reverse else p for p in steps]
            for t in times:
                states.append(self.step(case.x[b, t].astype(np.float64), *states[-1]))
            dh, dc = dstates[0][b], dstates[-1][b] if len(dstates) > 1 else np.zeros(case.units)
            for n in reversed(range(len(steps))):
                until = steps[n + 1] if n + 1 < len(steps) else case.time
                until = steps[n] + 1 if case.zero_masked else until
                dh = dh + case.dout[b, steps[n] : until].astype(np.float64).sum(0)
                x, h = case.x[b, times[n]].astype(np.float64), states[n][0]
                dz, dr, dh, dc = self.step_back(x, states[n], dh, dc)
                dx[b, times[n]] = dz @ self.w.T
                dw += np.outer(x, dz)
                operands = self.before(x, h)
                thirds = np.split(dr, len(operands))
                du += np.hstack([np.outer(o, d) for o, d in zip(operands, thirds, strict=True)])
                db += np.stack([dz, dr]) if case.cell == "gru" else dz
            dstates[0][b] = dh
            if len(dstates) > 1:
                dstates[1][b] = dc
        return [dx, dw, du, db, *dstates]


@pytest.fixture(params=["bfloat16", "tf32"])
def form(request: pytest.FixtureRequest) -> Iterator[str]:
    with cuda.use_weights(request.param):
        yield request.param


def check(case: RecurrentCase, form: str, save: str = "gates", backward: bool = True) -> None:
    expected = Reference(case, form).run()
    for actual, wanted in zip(case.run(backend, save=save), expected, strict=False):
        np.testing.assert_allclose(actual, wanted, rtol=5e-5, atol=5e-5)
    if backward:
        gradients = Gradients(case, form).run()
        for actual, wanted in zip(case.run_backward(backend, save=save), gradients, strict=False):
            np.testing.assert_allclose(actual, wanted, rtol=1e-4, atol=1e-4)


def watch(monkeypatch: pytest.MonkeyPatch) -> list[_kernel.Kernel]:
    """The kernels launched from now on."""
    ran: list[_kernel.Kernel] = []
    launch = _kernel.Kernel.launch

    def watched(self: Any, *args: Any, **options: Any) -> None:
        ran.append(self)
        launch(self, *args, **options)

    monkeypatch.setattr(_kernel.Kernel, "launch", watched)
    return ran


@pytest.mark.parametrize("cell", CELLS)
def test_against_a_loop_that_rounds(cell: str, form: str) -> None:
    """Two groups of sequences in one warp; two warps, backwards in time."""
    number = (form == "tf32") ^ (cell in ("gru_before", "lstm"))
    case = make(
        *(cell, *((9, 3, 3, 7), (3, 3, 2, 9 if cell == "lstm" else 17))[number]),
        kind=("holes", "left")[number],
        seed=number,
        reverse=number == 1,
        zero_masked=number == 1,
    )
    check(case, form)


@pytest.mark.parametrize("cell", CELLS)
def test_many_steps_of_several_warps(cell: str) -> None:
    """A step writes nothing to where values are still being read."""
    with cuda.use_weights("bfloat16"):
        check(make(cell, 3, 5, 2, 20, kind="left", seed=1), "bfloat16")


@pytest.mark.parametrize("together", ["lstm", "gru_before", "rnn"])
def test_many_steps_of_two_blocks(together: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mma_layout, "alone", lambda *_: None)
    monkeypatch.setattr(places, "MOST_SPLIT", 2)
    with cuda.use_weights("bfloat16"):
        check(make(together, 3, 4, 2, 9, kind="left", seed=1), "bfloat16")


@pytest.mark.parametrize("kind", MASK_KINDS)
def test_every_kind_of_mask(kind: str) -> None:
    with cuda.use_weights("tf32"):
        check(make("lstm", 3, 4, 2, 5, kind=kind, seed=2), "tf32", save="states", backward=False)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_activations(activation: str) -> None:
    options: dict[str, Any] = {"activation": activation, "recurrent_activation": activation}
    with cuda.use_weights("bfloat16"):
        case = make("gru_after", 2, 2, 2, 3, kind="right", seed=4, **options)
        check(case, "bfloat16", save="nothing", backward=False)


@pytest.mark.parametrize("sizes", [(0, 3, 2, 4), (2, 0, 2, 4), (1, 1, 1, 1)])
def test_sizes(sizes: tuple[int, ...]) -> None:
    with cuda.use_weights("bfloat16"):
        check(make("rnn", *sizes, kind="right"), "bfloat16")


@pytest.mark.parametrize(("cell", "registers", "held"), [("lstm", 0, 0), ("gru_after", 24, 1)])
def test_weights_in_shared_memory(
    cell: str, registers: int, held: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = places.MOST_REGISTERS - 2 * mma_layout.CELL_REGISTERS - registers
    monkeypatch.setattr(mma_layout, "OWN_REGISTERS", free)
    with cuda.use_weights("tf32"):
        kind = Kind(FORMULAS[cell], "tanh", "sigmoid")
        (tile,) = layout.spread_of(kind, 17, np.float32, False).tiles
        assert (tile.own, tile.in_registers, tile.in_shared) == (2, held, 2 - held)
        check(make(cell, 2, 2, 2, 17, kind="right", seed=1), "tf32", backward=held == 1)


@pytest.mark.parametrize(
    ("cell", "form", "sizes", "shared"),
    [
        ("lstm", "bfloat16", (9, 2, 2, 9), 160 * 1024),
        ("gru_after", "tf32", (3, 1, 2, 9), 160 * 1024),
        ("gru_before", "bfloat16", (3, 2, 2, 9), 160 * 1024),
        ("rnn", "tf32", (3, 2, 2, 17), 160 * 1024),
        ("gru_before", "bfloat16", (9, 2, 2, 9), 8 * 1024),
        ("rnn", "tf32", (9, 2, 2, 9), 600),
    ],
)
def test_blocks_that_share_a_layer(
    cell: str,
    form: str,
    sizes: tuple[int, ...],
    shared: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Two blocks that wait for each other; with 17 units, one has spare warps.

    With less shared memory there are fewer groups at once, and vectors bypass it.
    """
    monkeypatch.setattr(places, "shared_bytes", lambda: shared)
    monkeypatch.setattr(mma_layout, "alone", lambda *_: None)
    monkeypatch.setattr(places, "MOST_SPLIT", 2)
    ran = watch(monkeypatch)
    reverse = cell in ("gru_after", "gru_before")
    with cuda.use_weights(form):
        check(make(cell, *sizes, kind="right", seed=1, reverse=reverse), form)
    assert sum(kernel.cooperative for kernel in ran) == 3


def test_forms_are_not_mixed() -> None:
    """The size of packed weights shows their form."""
    case = make("lstm", 2, 2, 2, 4, kind="right")
    with cuda.use_weights("tf32"):
        size = backend.lstm_packed_size(2, 4, np.float32)
    packed = np.zeros(size, np.float32)
    message = r"packed must have \d+ elements for these weights in "
    with cuda.use_weights("bfloat16"), pytest.raises(ValueError, match=message + "bfloat16"):
        backend.lstm_pack(packed, *case.weights)
    with pytest.raises(ValueError, match=message + "float32"):
        backend.lstm_pack(packed, *case.weights)


def test_wider_numbers_have_one_form() -> None:
    case = make("gru_after", 2, 2, 2, 4, kind="right", dtype="float64")
    message = "bfloat16 weights need arrays of float32, not float64"
    with cuda.use_weights("bfloat16"), pytest.raises(ValueError, match=message):
        case.run(backend)


def test_forms_have_names() -> None:
    message = "one of float32, tf32, bfloat16, not 'fp16'"
    with pytest.raises(ValueError, match=message), cuda.use_weights("fp16"):
        pass


def test_more_units_than_a_device_holds() -> None:
    message = "cannot hold 1000 units with weights of 32 bits"
    with cuda.use_weights("tf32"), pytest.raises(ValueError, match=message):
        backend.lstm_packed_size(2, 1000, np.float32)
