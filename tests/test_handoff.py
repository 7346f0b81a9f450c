"""Helpers that join a running kernel: who comes, what they may touch, and how they fail."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from numba import types

from fastmask_kernels import cpu
from fastmask_kernels.cpu import gate_gradients, layer, threads
from fastmask_kernels.cpu._compile import compiled, output
from fastmask_kernels.cpu.atomics import atomic_add, atomic_load, spin_hint
from fastmask_kernels.cpu.handoff import INSIDE, SLOTS, post, slot_start, withdraw
from fastmask_kernels.cpu.sharing import Shares
from fastmask_kernels.cpu.teamwork import ABORTED, control_size

from .test_cpu_forward import MAKERS

_i8 = types.int64
SIGNATURE = (output(_i8, 1), output(_i8, 1), _i8, _i8, output(_i8, 1), _i8, _i8)
PATIENCE = 10**6  # pauses, some 30 ms
TRIES = 200  # a helper that is just going to sleep, or has no processor, may miss a call


@compiled(lambda _: _i8(*SIGNATURE))
def _meet(
    seen: Any, control: Any, members: int, wanted: int, board: Any, start: int, member: int
) -> int:
    """Every member marks its number; the first waits until `wanted` have come, or one failed."""
    if post(board, start, control, members, member):
        return int(withdraw(board, start, member))
    atomic_add(seen, member, 1)
    atomic_add(control, 0, 1)
    if member == 0:
        for _ in range(PATIENCE):
            if atomic_load(control, 0) >= wanted or atomic_load(control, ABORTED) != 0:
                break
            spin_hint()
    return int(withdraw(board, start, member))


@compiled(lambda _: _i8(*SIGNATURE))
def _fail(
    seen: Any, control: Any, members: int, failing: int, board: Any, start: int, member: int
) -> int:
    """The member `failing` raises; the others wait until they hear of it."""
    if post(board, start, control, members, member):
        return int(withdraw(board, start, member))
    if member == failing:
        if failing == 0:  # not before the other is here
            for _ in range(PATIENCE):
                if atomic_load(seen, 1) != 0:
                    break
                spin_hint()
        raise ValueError("this member fails")
    atomic_add(seen, member, 1)
    for _ in range(PATIENCE):
        if atomic_load(control, ABORTED) != 0:
            break
        spin_hint()
    return int(withdraw(board, start, member))


@pytest.fixture(autouse=True)
def _own_helpers(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(threads, "_helpers", threads._Helpers())
    yield
    helpers = threads._helpers
    helpers._collect()
    for start in map(slot_start, range(SLOTS)):
        while helpers.board[start + INSIDE]:
            pass
    helpers._collect()
    assert len(helpers._free) == SLOTS  # no slot is lost, however a call ended


def _run(kernel: Any, members: int, number: int) -> Any:
    seen, control = np.zeros(8, np.int64), np.zeros(control_size(members), np.int64)
    function = kernel.for_dtype(control.dtype)
    start = threads.reserve(members, patient=True)
    threads.run_shared(function, (seen, control, members, number), start, control)
    return seen


@pytest.mark.parametrize("members", [1, 2, 4])
def test_members_come_once_each(members: int) -> None:
    for _ in range(TRIES):
        seen = _run(_meet, members, members)
        assert seen[0] == seen.max() == 1
        assert not seen[members:].any()
        if seen.sum() == members:
            return
    pytest.fail("not all helpers came")


def test_a_call_does_not_wait_for_helpers() -> None:
    for _ in range(200):
        seen = _run(_meet, 4, 1)
        assert seen[0] == seen.max() == 1


def test_more_calls_at_once_than_slots() -> None:
    def many() -> None:
        results.extend([_run(_meet, 2, 1)[:2].tolist() for _ in range(100)])

    results: list[list[int]] = []
    callers = [threading.Thread(target=many) for _ in range(2 * SLOTS)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert len(results) == 200 * SLOTS
    assert all(first == 1 and second <= 1 for first, second in results)


def test_an_error_in_a_helper_is_raised() -> None:
    message, failed = "", 0
    for _ in range(TRIES):
        try:
            _run(_fail, 2, 1)
        except RuntimeError as error:
            message = str(error)
            failed += 1
        if failed == 3:
            break
    assert "a helper thread failed; FASTMASK_NUM_THREADS=1" in message


def test_an_error_in_the_caller_is_raised() -> None:
    for _ in range(5):
        with pytest.raises(ValueError, match="this member fails"):
            _run(_fail, 2, 0)


def test_without_threads_a_call_works_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def start(_: Any) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)
    for _ in range(2):
        assert _run(_meet, 2, 1)[:2].tolist() == [1, 0]
    assert threads._helpers._started == 0


@pytest.mark.parametrize("module", [layer, gate_gradients])
def test_a_failing_preparation_loses_no_slot(module: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    class Full:
        def __getattr__(self, name: str) -> Any:
            return getattr(np, name)

        def empty(self, *_: Any) -> Any:
            raise MemoryError

    case = MAKERS["lstm"](3, 4, 2, 8, kind="right")
    monkeypatch.setattr(module, "share", lambda *_: Shares(2, 2, 4))
    monkeypatch.setattr(module, "np", Full())
    run = case.run if module is layer else case.run_backward
    with pytest.raises(MemoryError):
        run(cpu, threads=2)


def test_members_from_an_openmp_library() -> None:
    pytest.importorskip("torch", reason="needs torch, which brings an OpenMP library")
    from fastmask.torch._lent import _openmp

    library = _openmp()
    if library is None:
        pytest.skip("this torch has no OpenMP library that can be told")
    with threads.openmp_team(library):
        for _ in range(20):
            assert _run(_meet, 2, 1)[:2].sum() >= 1
        with pytest.raises(RuntimeError, match="a helper thread failed"):
            _run(_fail, 2, 0)
    assert threads._helpers._started == 0  # ours were not needed
    assert _run(_meet, 1, 1)[0] == 1


@pytest.mark.parametrize("sizes", [(5, 20, 8, 100), (40, 12, 16, 64)])
def test_a_layer_whose_members_are_openmp_threads(sizes: tuple[int, ...]) -> None:
    pytest.importorskip("torch", reason="needs torch, which brings an OpenMP library")
    from fastmask.torch._lent import _openmp

    case = MAKERS["lstm"](*sizes, kind="right")
    alone = case.run(cpu, threads=1)
    with pytest.MonkeyPatch.context() as patch, threads.openmp_team(_openmp()):
        for shares in (Shares(2, 0, 0), Shares(2, 4, 5)):
            patch.setattr(layer, "share", lambda *_, shares=shares: shares)
            for _ in range(50):
                for a, b in zip(alone, case.run(cpu, threads=2), strict=True):
                    np.testing.assert_array_equal(a, b)


def test_a_forked_process_takes_no_openmp_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch", reason="needs torch, which brings an OpenMP library")
    from fastmask.torch._lent import _openmp

    monkeypatch.setattr(threads, "_forked", True)
    with threads.openmp_team(_openmp()):
        assert not threads._context.openmp


@pytest.mark.parametrize("place", ["/a place/{}", "/place/{} (deleted)"])
def test_an_openmp_library_at_a_strange_place(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch", reason="needs torch, which brings an OpenMP library")
    from fastmask.torch import _lent

    def load(path: str) -> str:
        if path.endswith("(deleted)"):
            raise OSError(path)
        return path

    path = place.format("libgomp.so.1")
    maps = f"7f00-7f01 r--p 00000000 08:01 42                 {path}\n"
    monkeypatch.setattr(_lent.Path, "open", lambda _: io.StringIO(maps))
    monkeypatch.setattr(_lent.ctypes, "CDLL", load)
    monkeypatch.setattr(_lent.torch.__config__, "parallel_info", lambda: "OpenMP")
    assert _lent._openmp.__wrapped__() == (None if path.endswith("(deleted)") else path)
