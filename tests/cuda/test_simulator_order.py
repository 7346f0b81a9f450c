"""Stores, barriers and waits in the simulator: what other threads see, and who waits forever."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numba import cuda, float32

from fastmask_kernels.cuda.runtime import device as _device

if not _device.SIMULATED:
    pytest.skip("tests the simulator", allow_module_level=True)
from fastmask_kernels.cuda.simulator import _engine, _progress, launch


@cuda.jit
def told(out: Any, x: Any, how: int) -> None:
    """Lane 0 stores, all lanes shuffle, and all read what it stored."""
    shared = cuda.shared.array(2, float32)
    lane = cuda.laneid
    if lane == 0:
        shared[0], x[0], x[1] = 5, 6, 7
        if how == 1:
            cuda.threadfence()
        if how == 2:
            cuda.atomic.add(x, 0, 1)
    if how == 3:
        cuda.syncwarp()
    cuda.shfl_sync(0xFFFFFFFF, lane, 0)
    out[lane, 0], out[lane, 1], out[lane, 2] = shared[0], x[0], x[1]
    cuda.shfl_sync(0xFFFFFFFF, lane, 0)  # before any thread ends and so publishes its stores


@pytest.mark.parametrize(
    ("how", "others"),
    [(0, [np.nan, 1, 2]), (1, [5, 6, 7]), (2, [np.nan, 7, 2]), (3, [5, 6, 7])],
    ids=["a shuffle", "a fence", "an atomic operation", "syncwarp"],
)
def test_who_sees_a_store(how: int, others: list[float]) -> None:
    """The thread itself at once; others only after a barrier or a fence."""
    out, x = np.zeros((32, 3), "f4"), np.array([1, 2], "f4")
    launch(told, 1, 32, out, x, how)
    own = [5, 7 if how == 2 else 6, 7]
    np.testing.assert_array_equal(out, [own, *[others] * 31])
    assert x.tolist() == own[1:]


@cuda.jit
def sliced(out: Any, x: Any) -> None:
    """Lane 0 stores two items at once."""
    if cuda.laneid == 0:
        x[:2] = 5
    cuda.shfl_sync(0xFFFFFFFF, 0, 0)
    out[cuda.laneid] = x[1]
    cuda.shfl_sync(0xFFFFFFFF, 0, 0)


def test_who_sees_a_store_of_several_items(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_engine, "INTERRUPTED", 1)
    out = np.zeros(32)
    launch(sliced, 1, 32, out, np.ones(3))
    assert out.tolist() == [5, *[1] * 31]


@cuda.jit
def taken(out: Any, counter: Any) -> None:
    """Many stores of a thread, to places that other threads store to as well."""
    for i in range(out.size):
        out[i] = cuda.threadIdx.x
    while cuda.atomic.add(counter, 0, 0) < cuda.threadIdx.x:
        pass
    cuda.threadfence()
    cuda.atomic.add(counter, 0, 1)


def test_threads_that_wait_for_each_other_by_atomic_operations() -> None:
    out, counter = np.zeros(100), np.zeros(1, np.int64)
    launch(taken, 1, 3, out, counter)
    assert counter.tolist() == [3]
    assert set(out) <= {0, 1, 2}


POLLS: dict[str, Callable[[Any], Any]] = {
    "reads": lambda _: None,
    "a barrier of the warp": lambda _: cuda.syncwarp(),
    "a vote": lambda _: cuda.any_sync(0xFFFFFFFF, 1),
    "a fence": lambda _: cuda.threadfence(),
    "an atomic operation": lambda x: cuda.atomic.max(x, 1, -1),
    "a store of the same value": lambda x: x.__setitem__(2, 5),
    "a sleep": lambda _: cuda.nanosleep(10),
}


@cuda.jit
def endless(x: Any, poll: Any, count: bool) -> None:
    """All warps but one poll for a store that comes after a barrier of all warps."""
    if cuda.threadIdx.x < 32:
        cuda.syncthreads()
        x[0] = 1
    turns = 0
    while x[0] == 0:
        poll(x)
        turns += count


@pytest.mark.parametrize(
    ("poll", "count"), [*((poll, False) for poll in POLLS), ("reads", True), ("a vote", True)]
)
def test_threads_that_wait_for_ever(
    poll: str, count: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_progress, "PATIENCE", 500 if count else 10**9)
    monkeypatch.setattr(_progress, "BETWEEN", 50)
    with pytest.raises(RuntimeError, match="waits forever") as raised:
        launch(lambda x: endless.py_func(x, POLLS[poll], count), 1, 34, np.zeros(3))
    assert any(entry.name == "endless" for entry in raised.traceback)
    first = r"\(\d+, 0, 0\) of block \(0, 0, 0\)"
    stuck = rf"\n  \d+ threads? (waiting in \w+|running) at {re.escape(__file__)}:\d+: {first}"
    assert re.search(stuck, str(raised.value))
    if sys.version_info >= (3, 11):
        (note,) = raised.value.__notes__
        assert re.fullmatch(r"in thread \(\d+, 0, 0\) of block \(0, 0, 0\)", note)


@cuda.jit
def knotted(out: Any) -> None:
    """Warps of block 0 wait in four calls; block 1 waits for nobody."""
    i = cuda.threadIdx.x
    if cuda.blockIdx.x == 0:
        if i < 16:
            cuda.syncwarp()
        elif i < 32:
            cuda.syncthreads()
        elif i < 37:
            cuda.shfl_sync(0x3F, i, 0)
        else:
            cuda.cg.this_grid().sync()


def test_a_deadlock_says_where_threads_wait() -> None:
    with pytest.raises(RuntimeError, match="deadlock") as raised:
        launch(knotted, 2, 38, np.zeros(1), cooperative=True)
    first = knotted.py_func.__code__.co_firstlineno

    def at(line: int, *threads: int) -> str:
        named = ", ".join(f"({i}, 0, 0) of block (0, 0, 0)" for i in threads)
        return f"at {__file__}:{first + line}: {named}"

    assert str(raised.value).splitlines()[1:] == [
        f"  16 threads waiting in syncwarp {at(6, 0, 1, 2)}, ...",
        f"  16 threads waiting in syncthreads {at(8, 16, 17, 18)}, ...",
        f"  5 threads waiting in shfl_sync with mask 0x3f {at(10, 32, 33, 34)}, ...",
        f"  1 thread waiting in this_grid().sync {at(12, 37)}",
        "  38 threads ended",
    ]


@cuda.jit
def from_the_last(x: Any) -> None:
    """Each block waits for the one after it."""
    i = cuda.blockIdx.x
    while i + 1 < cuda.gridDim.x and x[i + 1] == 0:
        cuda.threadfence()
    x[i] = 1


def test_a_wait_for_a_block_that_has_not_started(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_progress, "BETWEEN", 50)
    message = "waits forever: if for another block, pass cooperative=True; .* have not started"
    with pytest.raises(RuntimeError, match=message):
        launch(from_the_last, 3, 1, np.zeros(3))
    x = np.zeros(3)
    launch(from_the_last, 3, 1, x, cooperative=True)
    assert x.all()
    with pytest.raises(RuntimeError, match=r"waits forever:\n"):  # not for another block
        launch(lambda x: endless.py_func(x, POLLS["reads"], False), 1, 34, np.zeros(3))


@cuda.jit
def patient(x: Any, length: int) -> None:
    """Threads poll while the first one adds, and then it polls for what the others add."""
    i = cuda.threadIdx.x
    total = 0
    if i == 0:
        for _ in range(length):
            total += x[2]
        x[0] = total
        while x[1] < cuda.blockDim.x - 1:
            pass
    else:
        while x[0] == 0:
            cuda.threadfence()
        cuda.atomic.add(x, 1, 1)


@pytest.mark.parametrize("seed", range(2))
def test_threads_that_wait_long_for_a_store(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_progress, "BETWEEN", 20)
    x = np.array([0, 0, 1])
    launch(patient, 1, 40, x, 1000, seed=seed)
    assert x.tolist() == [1000, 39, 1]


@cuda.jit
def exchanged(out: Any, x: Any) -> None:
    """After a barrier of all blocks, every block reads what the others wrote."""
    i = cuda.grid(1)
    out[0, i] = x[i]
    cuda.cg.this_grid().sync()
    out[1, i] = out[0, cuda.gridsize(1) - 1 - i]


def test_blocks_wait_for_each_other_in_cooperative_launches() -> None:
    x, out = np.arange(12, dtype="f4"), np.zeros((2, 12), "f4")
    launch(exchanged, 3, 4, out, cuda.to_device(x), cooperative=True)
    np.testing.assert_array_equal(out, [x, x[::-1]])
    with pytest.raises(RuntimeError, match="only in cooperative launches: pass coop"):
        launch(exchanged, 3, 4, out, x)


@cuda.jit
def skipped(out: Any, threads: int) -> None:
    """Some threads of block 0 do not wait for the other blocks."""
    if cuda.blockIdx.x > 0 or cuda.threadIdx.x >= threads:
        cuda.cg.this_grid().sync()
    out[cuda.grid(1)] = 1


def test_blocks_that_end_without_a_grid_barrier() -> None:
    """The others wait forever; threads that end do not matter as long as their block waits."""
    with pytest.raises(RuntimeError, match="wait for each other forever"):
        launch(skipped, 2, 32, np.zeros(64), 32, cooperative=True)
    out = np.zeros(64)
    launch(skipped, 2, 32, out, 31, cooperative=True)
    assert out.tolist() == [1] * 64


@cuda.jit
def racing(out: Any, x: Any) -> None:
    """Column sums, without the barrier between one column and the next."""
    shared = cuda.shared.array(32, float32)
    i = cuda.threadIdx.x
    for column in range(2):
        shared[i] = x[i, column]
        cuda.syncthreads()
        if i == 0:
            for k in range(32):
                out[column] += shared[k]


def test_other_seeds_show_other_races() -> None:
    x = np.ones((32, 2), "f4") * [1, 100]
    found = []
    for seed in (0, 1, 2, 3, 4, 5, 6, 7, 0):
        out = np.zeros(2)
        launch(racing, 1, 32, out, x, seed=seed)
        found.append(out.tolist())
    assert found[0] == found[-1]
    assert len({tuple(one) for one in found}) > 2
