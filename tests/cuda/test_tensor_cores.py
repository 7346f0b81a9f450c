"""Layers with recurrent weights in tf32 and bf16, against loops in NumPy that round likewise.

The reference rounds weights and what they are multiplied with in its own way, and does all else in
float64. Rounding is not continuous: a sum that differs in its last bit may round h to another
number, hence tolerances of some 1e-5 here and not of 1e-6.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from fastmask_kernels import cuda
from fastmask_kernels.cuda import _kernel, mma_layout
from fastmask_kernels.spec import ACTIVATIONS

from ..cases import CASES, MASK_KINDS, RecurrentCase, activation_of
from .column import column

CELLS: dict[str, tuple[str, dict[str, Any]]] = {
    "lstm": ("lstm", {}),
    "gru_after": ("gru", {"reset_after": True}),
    "gru_before": ("gru", {"reset_after": False}),
    "rnn": ("rnn", {}),
}
BITS = {"tf32": 13, "bfloat16": 16}  # of float32 that are lost


def make(cell: str, *sizes: int, **options: Any) -> RecurrentCase:
    name, form = CELLS[cell]
    return CASES[name](*sizes, **options | form)


def rounder(form: str) -> Any:
    """To the nearest number of a form: ties go to even in bf16, away from zero in tf32."""
    lost = BITS[form]

    def to(x: np.ndarray) -> np.ndarray:
        words = x.astype(np.float32).view(np.uint32).astype(np.uint64)
        even = (words >> lost & 1) - 1 if form == "bfloat16" else 0
        words = words + (1 << lost - 1) + even >> lost << lost
        return words.astype(np.uint32).view(np.float32).astype(np.float64)

    return to


class Reference:
    """A layer in float64 whose recurrent products alone are rounded, forward and backward."""

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


@pytest.fixture(params=["bfloat16", "tf32"])
def form(request: pytest.FixtureRequest) -> Iterator[str]:
    with cuda.use_weights(request.param):
        yield request.param


def check_forward(case: RecurrentCase, form: str, save: str = "nothing") -> None:
    expected = Reference(case, form).run()
    for actual, wanted in zip(case.run(column, save=save), expected, strict=False):
        np.testing.assert_allclose(actual, wanted, rtol=5e-5, atol=5e-5)


@pytest.mark.parametrize("cell", CELLS)
def test_forward(cell: str, form: str) -> None:
    for number, sizes in enumerate(((9, 3, 3, 7), (3, 4, 2, 18))):
        case = make(
            *(cell, *sizes),
            kind=("holes", "left")[number],
            seed=number,
            reverse=number == 1,
            zero_masked=number == 1,
        )
        check_forward(case, form, save=("nothing", "gates")[number])
