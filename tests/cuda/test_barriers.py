"""Barriers of the time loops and of a mask's plan: without any one of them results are wrong."""

from __future__ import annotations

import inspect
import sys
from types import FrameType, ModuleType
from typing import Any

import numpy as np
import pytest

from fastmask_kernels import cuda, reference
from fastmask_kernels.cuda import masks
from fastmask_kernels.cuda.rnn import (
    backward,
    forward,
    grid,
    loop_groups,
    loop_products,
    mma_grid,
    mma_layout,
    resident,
)
from fastmask_kernels.cuda.runtime import device as _device

from ..cases import CASES, RecurrentCase, plan_of
from .backend import backend

if not _device.SIMULATED:
    pytest.skip("takes barriers out of Python code", allow_module_level=True)
from fastmask_kernels.cuda.simulator import _module


def take_out(
    monkeypatch: pytest.MonkeyPatch,
    owner: Any,
    name: str,
    source: Any,
    number: int,
    within: ModuleType | None = None,
) -> list[Any]:
    """Let one of the places that call a barrier go on at once; the list tells of its calls.

    Args:
        monkeypatch: of the test.
        owner: who has the barrier: a module or a class.
        name: of the barrier there.
        source: of the module or the function in which the places are counted.
        number: of the place.
        within: only where a function of this module is on the stack.
    """
    lines, first = inspect.getsourcelines(source)
    numbered = enumerate(lines, first or 1)  # of a module it is 0
    places = [n for n, line in numbered if line.strip() in (f"{name}()", f"cuda.{name}()")]
    place, barrier = (inspect.getsourcefile(source), places[number]), getattr(owner, name)
    called: list[Any] = []

    def maybe(*args: Any) -> None:
        frame = sys._getframe(1)
        if (frame.f_code.co_filename, frame.f_lineno) == place and _is_below(frame, within):
            called.append(place)
        else:
            barrier(*args)

    monkeypatch.setattr(owner, name, maybe)
    return called


def _is_below(frame: FrameType | None, module: ModuleType | None) -> bool:
    if module is None:
        return True
    while frame is not None:
        if frame.f_code.co_filename == module.__file__:
            return True
        frame = frame.f_back
    return False


@pytest.mark.parametrize("number", [0, 1], ids=["before the store", "after it"])
def test_rows_of_one_length(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 33 or more a warp finds in memory where the next ones go."""
    valid = np.zeros((70, 70), bool)
    valid[:, 0] = True

    def check() -> None:
        found = np.zeros(71, np.int64), np.zeros(valid.size, np.int64), np.full(70, -1)
        backend.plan_steps(*found, valid)
        for one, expected in zip(found, plan_of(valid), strict=True):
            np.testing.assert_array_equal(one[: expected.size], expected)

    check()
    source = masks._place.function
    called = take_out(monkeypatch, _module.Module, "syncwarp", source, number)
    with pytest.raises((AssertionError, IndexError)):
        check()
    assert called


def check(case: RecurrentCase, form: str, direction: ModuleType) -> None:
    """One direction against the reference, to what rounding of the weights allows."""
    tolerance = {"float32": 1e-4, "bfloat16": 0.1}[form]
    run = case.run if direction is forward else case.run_backward
    with cuda.use_weights(form):
        found = run(backend, save="gates")
    for one, expected in zip(found, run(reference, dtype="float64", save="gates"), strict=True):
        np.testing.assert_allclose(one, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize(
    ("module", "number", "direction", "form", "cell", "sizes"),
    [
        (loop_groups, 0, forward, "float32", "lstm", (9, 3, 2, 4)),
        (loop_groups, 0, forward, "bfloat16", "lstm", (25, 3, 2, 4)),
        (loop_groups, 0, backward, "float32", "lstm", (24, 0, 2, 4)),
        (loop_groups, 0, backward, "bfloat16", "lstm", (40, 0, 2, 4)),
        (loop_groups, 1, forward, "float32", "rnn", (5, 1, 2, 4)),
        (forward, 0, forward, "float32", "lstm", (5, 2, 2, 8)),
        (forward, 1, forward, "float32", "gru", (5, 2, 2, 8)),
        (forward, 2, forward, "float32", "lstm", (5, 3, 2, 8)),
        (backward, 0, backward, "float32", "lstm", (5, 3, 2, 8)),
        (backward, 1, backward, "float32", "gru", (5, 3, 2, 8)),
        (grid, 0, forward, "float32", "lstm", (5, 4, 2, 9)),
        (grid, 1, forward, "float32", "lstm", (5, 4, 2, 9)),
        (grid, 2, forward, "float32", "lstm", (5, 2, 2, 9)),
        (loop_products, 0, forward, "float32", "lstm", (5, 2, 2, 9)),
        (mma_grid, 0, forward, "bfloat16", "lstm", (5, 2, 2, 9)),
    ],
)
def test_time_loops(
    module: ModuleType,
    number: int,
    direction: ModuleType,
    form: str,
    cell: str,
    sizes: tuple[int, ...],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    options = {"reset_after": False} if cell == "gru" else {}
    case = CASES[cell](*sizes, kind="full", seed=1, **options)
    if module in (grid, loop_products, mma_grid):
        monkeypatch.setattr(resident.Tile, "resident", property(lambda _: False))
        monkeypatch.setattr(resident, "MOST_SPLIT", 2)
        monkeypatch.setattr(mma_layout, "alone", lambda *_: None)
        monkeypatch.setattr(mma_layout, "MOST_SPLIT", 2)
    check(case, form, direction)
    called = take_out(monkeypatch, module, "meet_block", module, number, direction)
    with pytest.raises((AssertionError, IndexError)):
        check(case, form, direction)
    assert called
