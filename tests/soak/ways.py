"""The ways in which a problem is computed: plainly, interrupted, in another process."""

from __future__ import annotations

import faulthandler
import os
import signal
import subprocess
import sys
import traceback
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from .problem import Problem, make

Way = Callable[[str, int], None]  # called with a load's name and a seed

PATIENCE = 200  # seconds that another process may take, including compilation
MOMENTS = (-5.0, -1.5)  # exceptions come between 10**-5 and 10**-1.5 seconds into a call
CALLS = 4  # interrupted calls of each problem


class Interruption(KeyboardInterrupt):
    """What a signal handler raises."""


def plainly(name: str, seed: int) -> None:
    problem = make(name, seed)
    problem.check()
    problem.check()


def interrupted(name: str, seed: int) -> None:
    """After an interrupted call the next one is right. Only in the main thread."""
    problem = make(name, seed)
    problem.check()
    times = np.random.default_rng(seed)
    for _ in range(CALLS * problem.signals):
        _leave_in_the_middle(problem, 10 ** times.uniform(*MOMENTS), times)
        problem.check()


def _leave_in_the_middle(problem: Problem, seconds: float, random: Any) -> None:
    timed, number = (
        (signal.ITIMER_REAL, signal.SIGALRM)
        if random.random() < 0.5
        else (signal.ITIMER_PROF, signal.SIGPROF)
    )
    armed = False

    def handler(*_: Any) -> None:
        if armed:
            raise Interruption

    before = signal.signal(number, handler)
    try:
        armed = True
        signal.setitimer(timed, seconds)
        problem.compute()
        armed = False
    except Interruption:
        pass
    finally:
        armed = False
        signal.setitimer(timed, 0)
        signal.signal(number, before)


def forked(name: str, seed: int) -> None:
    """In a child of this process, whatever its other threads are doing."""
    problem = make(name, seed)
    if not problem.forks:
        problem.check()
        return
    reading, writing = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # about forks of processes with threads
        child = os.fork()
    if child == 0:
        _be_the_child(problem, writing)
    os.close(writing)
    with open(reading, errors="replace") as pipe:
        said = pipe.read()
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    assert code == 0, f"a forked process ended with {code}: {said}"
    problem.check()


def _be_the_child(problem: Problem, writing: int) -> None:
    """Compute, and end this process whatever happens; a hang prints its stack and ends."""
    code = 1
    try:
        # Not `dump_traceback_later`, which waits for a thread of the parent.
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        faulthandler.register(signal.SIGALRM, file=writing, chain=True)
        signal.alarm(PATIENCE)
        problem.check()
        code = 0
    except BaseException:
        os.write(writing, traceback.format_exc().encode())
    finally:
        os._exit(code)


def anew(name: str, seed: int) -> None:
    """In a new process, with the current cache of compiled kernels."""
    command = [sys.executable, "-m", "tests.soak", "--case", f"plainly:{name}:{seed}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.returncode == 0, f"a process ended with {done.returncode}: {done.stderr[-4000:]}"


WAYS: dict[str, Way] = {way.__name__: way for way in (plainly, interrupted, forked, anew)}
