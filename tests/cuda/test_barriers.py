"""Barriers of the time loops and of plans: if any one of them is removed, results are wrong."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any, NamedTuple

import numpy as np
import pytest

from fastmask_kernels import cuda, reference
from fastmask_kernels.cuda import masks
from fastmask_kernels.cuda.ops import in_turn
from fastmask_kernels.cuda.rnn import backward, forward, mma_layout, places, plans, resident
from fastmask_kernels.cuda.runtime import device as _device

from ..cases import CASES, plan_of
from .backend import backend

if not _device.SIMULATED:
    pytest.skip("takes barriers out of Python code", allow_module_level=True)
from fastmask_kernels.cuda.simulator import _module

pytestmark = pytest.mark.slow

WRONG = (AssertionError, IndexError)
Place = tuple[str, int]  # file and line


def numbered(source: Any) -> Iterator[tuple[int, str]]:
    """The lines of a module or a function, with their numbers in the file."""
    lines, first = inspect.getsourcelines(source)
    return ((n, line.strip()) for n, line in enumerate(lines, first or 1))  # a module's is 0


def watch(
    monkeypatch: pytest.MonkeyPatch,
    owner: Any,
    name: str,
    without: Place | None = None,
    within: ModuleType | None = None,
) -> set[Place]:
    """A set to which each place that calls a barrier is added.

    Args:
        monkeypatch: of the test.
        owner: the module or class that has the barrier.
        name: of the barrier there.
        without: a place where the barrier is skipped.
        within: only in kernels of this direction, by the type of their arrays.
    """
    barrier, called = getattr(owner, name), set()

    def watched(*args: Any) -> None:
        frame = sys._getframe(1)
        place = frame.f_code.co_filename, frame.f_lineno
        ours = without in (None, place) and _is_below(frame, within)
        if ours:
            called.add(place)
        if without is None or not ours:
            barrier(*args)

    monkeypatch.setattr(owner, name, watched)
    return called


def _is_below(frame: FrameType | None, module: ModuleType | None) -> bool:
    while module is not None and frame is not None:
        if isinstance(frame.f_locals.get("c"), module.Call):
            return True
        frame = frame.f_back
    return module is None


@pytest.mark.parametrize("number", [0, 1], ids=["before the store", "after it"])
def test_rows_of_one_length(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """With 33 rows or more, a warp reads from memory where the next ones go."""
    valid = np.zeros((70, 70), bool)
    valid[:, 0] = True

    def check() -> None:
        found = np.zeros(71, np.int64), np.zeros(valid.size, np.int64), np.full(70, -1)
        backend.plan_steps(*found, valid)
        for one, expected in zip(found, plan_of(valid), strict=True):
            np.testing.assert_array_equal(one[: expected.size], expected)

    check()
    places = [n for n, line in numbered(masks._place.function) if line == "cuda.syncwarp()"]
    assert len(places) == 2
    called = watch(monkeypatch, _module.Module, "syncwarp", (masks.__file__, places[number]))
    with pytest.raises(WRONG):
        check()
    assert called


class Run(NamedTuple):
    """A direction of a layer."""

    direction: ModuleType
    form: str
    together: bool
    cell: str
    sizes: tuple[int, int, int, int]

    def check(self) -> None:
        """Compare with the reference, within the rounding of the weights."""
        options = {"reset_after": False} if self.cell == "gru" else {}
        case = CASES[self.cell](*self.sizes, kind="full", seed=1, **options)
        tolerance = {"float32": 1e-4, "bfloat16": 0.1}[self.form]
        run = case.run if self.direction is forward else case.run_backward
        with cuda.use_weights(self.form):
            found = run(backend, save="gates")
        for one, expected in zip(found, run(reference, dtype="float64", save="gates"), strict=True):
            np.testing.assert_allclose(one, expected, rtol=tolerance, atol=tolerance)


RUNS = (
    *(Run(way, "float32", False, "lstm", (9, 3, 2, 4)) for way in (forward, backward)),
    *(Run(way, "bfloat16", False, "lstm", (25, 3, 2, 4)) for way in (forward, backward)),
    *(Run(forward, form, False, "gru", (9, 2, 2, 4)) for form in ("float32", "bfloat16")),
    *(Run(backward, form, False, "gru", (9, 2, 2, 4)) for form in ("float32", "bfloat16")),
    # Without steps, blocks wait only at the queue.
    *(Run(backward, form, False, "lstm", (40, 0, 2, 4)) for form in ("float32", "bfloat16")),
    *(Run(forward, form, True, "lstm", (5, 4, 2, 9)) for form in ("float32", "bfloat16")),
    *(Run(backward, form, True, "lstm", (5, 4, 2, 9)) for form in ("float32", "bfloat16")),
    Run(backward, "bfloat16", True, "rnn", (9, 6, 2, 9)),
    # A row of threads of two warps.
    *(Run(forward, form, True, "rnn", (3, 2, 2, 17)) for form in ("float32", "bfloat16")),
)
FOLDER = Path(forward.__file__).parent
MODULES = [
    import_module(f"{forward.__package__}.{path.stem}")
    for path in sorted(FOLDER.glob("*.py"))
    if "import" in path.read_text() and "meet_block()" in path.read_text()
    if path.stem != "plans"  # which is no time loop
]
NAMES = "meet_block", "meet_warp"
PLACES = [
    pytest.param(module, name, (module.__file__, n), id=f"{module.__name__.rpartition('.')[2]}-{n}")
    for module in MODULES
    for name in NAMES
    for n, line in numbered(module)
    if line == f"{name}()"
]


def split(monkeypatch: pytest.MonkeyPatch, run: Run) -> None:
    """Let two blocks share a layer."""
    if run.together:
        monkeypatch.setattr(resident.Tile, "resident", property(lambda _: False))
        monkeypatch.setattr(mma_layout, "alone", lambda *_: None)
        monkeypatch.setattr(places, "MOST_SPLIT", 2)


@cache
def barriers_of(run: Run) -> set[Place]:
    """The barriers of a run, which gives right results."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        split(monkeypatch, run)
        found = [
            watch(monkeypatch, module, name, None, run.direction)
            for module in MODULES
            for name in NAMES
            if hasattr(module, name)
        ]
        run.check()
    return set().union(*found)


@pytest.mark.parametrize(("module", "name", "place"), PLACES)
def test_time_loops(module: ModuleType, name: str, place: Place) -> None:
    """Without the barrier some results are wrong, in each direction and form that has it."""
    noticed = {(run.direction, run.form): False for run in RUNS if place in barriers_of(run)}
    assert noticed
    for run in RUNS:
        key = run.direction, run.form
        if noticed.get(key) is False and place in barriers_of(run):
            with pytest.MonkeyPatch.context() as monkeypatch:
                split(monkeypatch, run)
                watch(monkeypatch, module, name, place, run.direction)
                try:
                    run.check()
                except WRONG:
                    noticed[key] = True
    assert all(noticed.values()), noticed


def reported(plan: list[Any], time: int) -> str:
    """What the device says of a plan."""
    on_device = [_device.to_device(array) for array in plan]
    try:
        plans._checked_plan("it", *on_device, time)
        cuda.check_indices()
    except ValueError as error:
        return str(error)
    return ""


@pytest.mark.parametrize(
    "place", [n for n, line in numbered(plans) if "meet_block()" in line], ids=str
)
def test_checks_of_plans(place: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the barrier some faults of a plan are missed, or found in plans that have none."""
    whole = [np.arange(65), 3 * np.arange(64), np.arange(64)]
    found = []
    for array, wrong in ((0, 2**62), (1, -1), (2, 0)):
        for at in range(1, 64, 7):
            changed = [one.copy() for one in whole]
            changed[array][at] = wrong
            found.append(changed)
    assert reported(whole, 3) == ""
    expected = [reported(plan, 3) for plan in found]
    assert all("not a plan" in words for words in expected)
    watch(monkeypatch, plans, "meet_block", (plans.__file__, place))
    assert [reported(plan, 3) for plan in found] != expected


def test_between_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """Backward, the first step of a turn writes where the last step of the turn before is read."""
    run = Run(backward, "float32", True, "rnn", (20, 3, 2, 9))
    split(monkeypatch, run)
    run.check()
    monkeypatch.setattr(backward._Steps, "_between", property(lambda _: in_turn([])))
    backward.gradient_loop.cache_clear()  # type: ignore[attr-defined]  # a cached function
    try:
        with pytest.raises(WRONG):
            run.check()
    finally:
        backward.gradient_loop.cache_clear()  # type: ignore[attr-defined]  # a cached function
