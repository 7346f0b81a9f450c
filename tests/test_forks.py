"""A forked child computes, whatever the threads of its parent were doing at the fork."""

from __future__ import annotations

import gc
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from operator import methodcaller
from pathlib import Path

import numpy as np
import pytest

import fastmask as fm
from fastmask_kernels import (
    cpu,  # noqa: F401 - has locks
    forks,
)

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork on this system")

COMMON = """
import os, signal, sys, threading, time, warnings
import numpy as np
import fastmask as fm
warnings.simplefilter("ignore")  # Python 3.12 warns of forks beside threads: this is the test
fm.set_num_threads(2)
random = np.random.default_rng(0)
x = random.normal(size=(64, 100, 64)).astype(np.float32)
kernel, recurrent = (random.normal(size=(64, 256)).astype(np.float32) / 8 for _ in range(2))
small = x[:2, :3].astype(np.float64)

def parent_work():
    fm.ops.lstm(x, kernel, recurrent)  # wakes a helper, which compiles on its own, too
    fm.ops.rnn(small, kernel[:, :64], recurrent[:, :64])

def child_work(number):
    dtype = (np.float32, np.float64, np.int16, np.int8)[number]
    vectors = fm.layers.Masking(0.0)(np.zeros((2, 3, 4), dtype))
    return fm.layers.GlobalAveragePooling1D()(vectors).shape == (2, 4)

def forked(number):
    child = os.fork()
    if child == 0:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(100)  # what hangs is killed
        os._exit(0 if child_work(number) else 1)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert status == 0, f"child {number} ended with {status}"
"""

FORK_BESIDE_A_THREAD = """
worker = threading.Thread(target=parent_work)
worker.start()
for number, delay in enumerate((0.05, 0.3, 0, 1.0)):
    time.sleep(delay)
    forked(number)
worker.join()
"""

FORK_FROM_A_THREAD = """
failures = []
def fork_often():
    for number, delay in enumerate((0.02, 0.7)):
        time.sleep(delay)
        try:
            forked(number)
        except AssertionError as error:
            failures.append(error)
forking = threading.Thread(target=fork_often)
forking.start()
parent_work()
forking.join()
assert not failures, failures
"""


@pytest.mark.timeout(450)
@pytest.mark.parametrize(
    "code", [FORK_BESIDE_A_THREAD, pytest.param(FORK_FROM_A_THREAD, marks=pytest.mark.slow)]
)
def test_a_child_computes_though_its_parent_was_compiling(code: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", COMMON + code],
        env={**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=400,
    )
    assert done.returncode == 0, done.stderr


def release() -> None:
    """What a fork does in parent and child: one call in C."""
    any(map(methodcaller("__call__"), (forks._release_all, forks._held.clear)))


def test_a_fork_waits_for_the_locks_and_leaves_them_free(monkeypatch: pytest.MonkeyPatch) -> None:
    locks = [threading.RLock() for _ in range(3)]
    monkeypatch.setattr(forks, "_locks", {rank: [] for rank in range(6)})
    for lock, rank in zip(locks, (forks.LLVM, forks.BUILDING, forks.COMPILING), strict=True):
        forks.hold_at_fork(lock, rank)
    assert list(forks._in_order()) == [locks[1], locks[2], locks[0]]
    released = threading.Event()
    inside = threading.Event()

    def work() -> None:
        with locks[2]:
            inside.set()
            assert not released.wait(0.2)  # the fork has not gone on meanwhile

    worker = threading.Thread(target=work)
    worker.start()
    inside.wait()
    with locks[0]:  # a thread may fork while it holds one itself
        forks._take()
        released.set()
        release()
    worker.join()
    for lock in locks:
        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(lock.acquire, timeout=10).result()


def test_an_interrupt_does_not_let_a_fork_go_without(monkeypatch: pytest.MonkeyPatch) -> None:
    class Interrupted:
        def __init__(self) -> None:
            self.held, self.tries = 0, 0

        def acquire(self) -> bool:
            self.tries += 1
            if self.tries == 1:
                raise KeyboardInterrupt
            self.held += 1
            return True

        def release(self) -> None:
            self.held -= 1

    lock = Interrupted()
    monkeypatch.setattr(forks, "_locks", {forks.LLVM: [lock]})
    with pytest.raises(KeyboardInterrupt):
        forks._take()
    assert lock.held == 1
    release()
    assert lock.held == 0


def fork_without_a_child() -> None:
    try:
        forks._take()
    finally:
        release()


@pytest.fixture
def no_garbage_collection() -> Iterator[None]:
    """Python loses an exception that a signal raises in a callback of the collector."""
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("no_garbage_collection")
@pytest.mark.parametrize("what", ["set_weights", "fork"])
def test_a_signal_leaves_no_lock_taken(what: str) -> None:
    layer = fm.layers.LSTM(3)
    layer.build((None, None, 2))
    weights = layer.get_weights()
    calls = {"set_weights": lambda: layer.set_weights(weights), "fork": fork_without_a_child}
    interrupted = 0
    for i in range(79 * 40):
        interrupted += interrupt(calls[what], 1e-6 * (1 + i // 40))
        release()  # if a signal came before; it fails if some are released already
    assert interrupted > 100
    assert forks._locks[forks.COMPILER]  # Numba has an RLock there
    assert forks._locks[forks.LLVM]
    with ThreadPoolExecutor(1) as pool:
        for lock in forks._in_order():
            assert pool.submit(lock.__enter__).result(10)
            pool.submit(lock.__exit__, None, None, None).result(10)
        pool.submit(layer.set_weights, weights).result(10)
    np.testing.assert_array_equal(layer.get_weights()[0], weights[0])


def interrupt(call: Callable[[], object], seconds: float) -> bool:
    """Make a call; returns whether a signal interrupted it after `seconds`."""
    armed = True

    def handler(*_: object) -> None:
        if armed:
            raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, handler)
    try:
        signal.setitimer(signal.ITIMER_REAL, seconds)
        call()
        armed = False
    except KeyboardInterrupt:
        return True
    finally:
        armed = False
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    return False


def test_a_fork_takes_the_lock_of_logging_last() -> None:
    """Numba logs: a thread that holds its locks may need logging's, so a fork takes that last."""
    code = """
import os
import sys
order = []
real = os.register_at_fork
def register(**hooks):
    order.append(sys._getframe(1).f_globals["__name__"])
    real(**hooks)
os.register_at_fork = register
import fastmask as fm
fm.ops.rnn([[[1.0]]], [[1.0]], [[1.0]])
print(order.index("fastmask_kernels.forks") - order.index("logging"))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=200
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 0


def test_every_lock_is_free_in_a_child() -> None:
    """Except CUDA's, as CUDA does not survive a fork."""
    top = Path(forks.__file__).parents[2]
    free = {
        "forks.py": "here they are",
        "pool.py": "made anew in the child",
        "_reuse.py": "awaited for a millisecond at most",
    }
    for folder in ("src", "kernels"):
        for path in (top / folder).rglob("*.py"):
            text = path.read_text()
            locks = len(re.findall(r"\bR?Lock\(\)|Condition\(|Semaphore\(", text))
            assert not locks or path.name in free or "cuda" in path.parts, path


IMPORTS = """
import logging  # which comes before the locks are watched
import sys
import numpy as np
import fastmask as fm
from fastmask_kernels import (
    cpu,  # noqa: F401 - has locks
    forks,
)

class Finder:
    def find_spec(self, name, path=None, target=None):
        locks = [getattr(lock, "_lock", lock) for lock in forks._in_order()]
        if not any(hasattr(lock, "_is_owned") and lock._is_owned() for lock in locks):
            sys.stdout.write(name + " ")

sys.meta_path.insert(0, Finder())
vectors = fm.layers.Masking()(np.zeros((2, 3, 4), np.float32))
fm.layers.GlobalAveragePooling1D()(vectors)
fm.unpad(vectors)
"""


def test_calls_import_nothing_but_under_a_lock() -> None:
    # A child could not import what its parent had begun to.
    done = subprocess.run(
        [sys.executable, "-c", IMPORTS], capture_output=True, text=True, check=True, timeout=200
    )
    assert done.stdout == ""
