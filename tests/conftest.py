"""For all tests: reproducible randomness, and tests in processes of their own.

Each run draws the same examples, and the same weights if a test gives no seed, whichever tests ran
before. FASTMASK_TEST_SEED=7 with --hypothesis-seed=7 draws others.

Tests that need a process of their own run beside the others, on another core.

    @pytest.mark.own_process(*arguments of pytest, NAME="value", ...)
    def test_something(own_process: str) -> None:
        assert " passed" in own_process

The processes start with the session, one after another, and two at a time once the tests of this
process are done; each has the given environment variables and its own compilation cache. The tests
that use their output run last. Before these come tests of kernels: the first process compiles for
them meanwhile, into the cache of this one.
"""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import tempfile
import threading
import zlib
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

import numpy as np
import pytest
from hypothesis import settings

SEED = int(os.environ.get("FASTMASK_TEST_SEED", "0"))
settings.register_profile("same", derandomize=True)
settings.register_profile("others", derandomize=False, database=None)
settings.load_profile("others" if SEED else "same")

MARK = "own_process"
TIMEOUT = 1800  # seconds of a process, for slow machines that do much else
SLOWER = "600"  # of one of its tests: bounds checks and narrow registers take long to compile
TESTS = Path(__file__).parent
KERNELS = TESTS / "kernels"
_outcomes: dict[str, Future[Any]] = {}
_waiting: SimpleQueue[Callable[[], object]] = SimpleQueue()


@pytest.fixture(autouse=True)
def _same_draws(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Seed generators that have no seed, by the test's name."""
    seeds = itertools.count(zlib.crc32(request.node.nodeid.encode()) + SEED)
    seeded = np.random.default_rng
    monkeypatch.setattr(
        np.random, "default_rng", lambda seed=None: seeded(next(seeds) if seed is None else seed)
    )


@pytest.fixture(autouse=True)
def _same_draws_of_torch(request: pytest.FixtureRequest) -> None:
    """Seed torch for each test whose module uses it."""
    torch = getattr(getattr(request.node, "module", None), "torch", None)
    if torch is not None:
        torch.manual_seed(SEED)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", f"{MARK}(*arguments, **environment): see tests/conftest.py")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: (item.get_closest_marker(MARK) is not None, _is_of_kernels(item)))
    for item in items:
        if item.get_closest_marker(MARK):  # it only waits; the process's own tests have timeouts
            item.add_marker(pytest.mark.timeout(TIMEOUT))


def _is_of_kernels(item: pytest.Item) -> bool:
    return item.path.parent == KERNELS


def pytest_collection_finish(session: pytest.Session) -> None:
    if session.config.option.collectonly:
        return
    if {True, False} == set(map(_is_of_kernels, session.items)):  # others run until it is done
        _waiting.put(_compile_ahead)
    marks = {item.nodeid: item.get_closest_marker(MARK) for item in session.items if _runs(item)}
    for name, mark in reversed(marks.items()):  # the longest first: compiled kernels
        if mark is not None:
            _outcomes[name] = Future()
            _waiting.put(partial(_run_for, _outcomes[name], mark))
    _start()


def _runs(item: pytest.Item) -> bool:
    return not any(mark.args[0] for mark in item.iter_markers("skipif"))


def _start() -> None:
    """Start one more thread that runs the waiting processes, one after another."""
    threading.Thread(target=_run_all, daemon=True).start()


def _run_all() -> None:
    while True:
        try:
            run = _waiting.get_nowait()
        except Empty:
            return
        run()


def _compile_ahead() -> None:
    # Whatever fails there, the tests of this process meet it themselves.
    subprocess.run(
        [sys.executable, "-m", "tests.kernels.compile_ahead"],
        capture_output=True,
        check=False,
        cwd=TESTS.parent,
    )


def _run_for(outcome: Future[Any], mark: pytest.Mark) -> None:
    try:
        outcome.set_result(_run(mark))
    except BaseException as error:
        outcome.set_exception(error)


def _run(mark: pytest.Mark) -> subprocess.CompletedProcess[str]:
    with tempfile.TemporaryDirectory() as cache:
        return subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *mark.args],
            env={**os.environ, "NUMBA_CACHE_DIR": cache, "PYTEST_TIMEOUT": SLOWER, **mark.kwargs},
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
            cwd=TESTS.parent,
        )


@pytest.fixture(scope="session")
def _free_processor() -> None:
    """The other tests are done: their core goes to the processes."""
    _start()


@pytest.fixture
def own_process(request: pytest.FixtureRequest, _free_processor: None) -> str:
    """The output of this test's process, which succeeded."""
    run = _outcomes[request.node.nodeid].result()
    assert run.returncode == 0, run.stdout + run.stderr
    return str(run.stdout)
