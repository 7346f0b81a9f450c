"""Processes with a time limit."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

ROOT = Path(__file__).parents[2]
COMPILED = ROOT / ".cache" / "cuda"
WORKER = (sys.executable, "-m", "benchmarks.cuda.worker")
MESSAGE = 400  # characters kept of one
NONE: Mapping[str, str] = MappingProxyType({})


class Failed(Exception):
    """A job failed; the message says why."""


@dataclass
class Budget:
    """A deadline."""

    end: float  # of time.monotonic()

    @classmethod
    def of(cls, seconds: float) -> Budget:
        return cls(time.monotonic() + seconds)

    def part(self, share: float) -> Budget:
        """A share of what is left."""
        return Budget.of(share * self.left)

    @property
    def left(self) -> float:
        """Seconds."""
        return max(0.0, self.end - time.monotonic())


def environment(simulated: bool = False) -> dict[str, str]:
    """Variables that put the checkout first on the path, with its cache of compiled kernels."""
    paths = [str(ROOT), str(ROOT / "src"), str(ROOT / "kernels"), os.environ.get("PYTHONPATH", "")]
    chosen = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    chosen.setdefault("NUMBA_CACHE_DIR", str(COMPILED))
    return {**chosen, "NUMBA_ENABLE_CUDASIM": "1"} if simulated else chosen


def start(
    command: tuple[str, ...],
    simulated: bool,
    variables: Mapping[str, str] = NONE,
    **options: Any,
) -> subprocess.Popen[str]:
    """Start a process that can be killed along with its children."""
    return subprocess.Popen(
        command,
        env={**environment(simulated), **variables},
        cwd=ROOT,
        text=True,
        start_new_session=True,
        **options,
    )


def end(process: subprocess.Popen[str]) -> None:
    """Kill a process and its children."""
    if process.poll() is None:
        with suppress(ProcessLookupError):
            if hasattr(os, "killpg"):
                os.killpg(process.pid, signal.SIGKILL)
            else:
                process.kill()
    process.wait()


def run(
    command: tuple[str, ...],
    seconds: float,
    simulated: bool = False,
    variables: Mapping[str, str] = NONE,
) -> tuple[int | None, str]:
    """Exit code (None if time ran out) and output."""
    with tempfile.TemporaryFile("w+", errors="replace") as log:
        pipes: Any = {"stdin": subprocess.DEVNULL, "stdout": log, "stderr": subprocess.STDOUT}
        process = start(command, simulated, variables, **pipes)
        try:
            code: int | None = process.wait(timeout=max(seconds, 0.1))
        except subprocess.TimeoutExpired:
            code = None
        finally:
            end(process)
        log.seek(0)
        return code, log.read()


class Worker:
    """A `benchmarks.cuda.worker` process for jobs, restarted after a failure that breaks it."""

    def __init__(self, simulated: bool = False, command: tuple[str, ...] = WORKER) -> None:
        self._simulated, self._command = simulated, command
        self._process: subprocess.Popen[str] | None = None
        self._answers: queue.Queue[str] = queue.Queue()
        self._log = tempfile.TemporaryFile("w+", errors="replace")  # noqa: SIM115 - closed with this object

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self._log.close()

    def stop(self) -> None:
        """End the process, if there is one."""
        if self._process is not None:
            end(self._process)
            for pipe in (self._process.stdin, self._process.stdout):
                if pipe is not None:
                    pipe.close()
            self._process = None

    def ask(self, job: dict[str, Any], seconds: float) -> Any:
        """The answer to a job.

        Raises:
            Failed: the job failed, took longer, or ended the process.
        """
        process = self._process or self._begin()
        try:
            assert process.stdin is not None
            process.stdin.write(json.dumps(job) + "\n")
            process.stdin.flush()
            line = self._answers.get(timeout=max(seconds, 0.1))
        except queue.Empty:
            self.stop()
            raise Failed(f"took longer than {seconds:.0f} s; its process was ended") from None
        except OSError:
            line = ""
        if not line:
            code = process.wait()
            said = self._last_words()
            self.stop()
            raise Failed(f"its process ended with {code}: {said}")
        reply = json.loads(line)
        if reply.get("broken"):
            self.stop()
        if "error" in reply:
            raise Failed(shortened(reply["error"]))
        return reply["ok"]

    def _begin(self) -> subprocess.Popen[str]:
        self._log.seek(0)
        self._log.truncate()
        process = start(
            self._command,
            self._simulated,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
        )
        # A new queue: a killed process may still have output.
        self._process, self._answers = process, queue.Queue()
        threading.Thread(target=_listen, args=(process, self._answers), daemon=True).start()
        return process

    def _last_words(self) -> str:
        self._log.seek(0)
        return shortened(" ".join(self._log.read().split()[-60:]))


def _listen(process: subprocess.Popen[str], answers: queue.Queue[str]) -> None:
    """Put the process's output into a queue, line by line, and "" at its end."""
    assert process.stdout is not None
    try:
        for line in process.stdout:
            answers.put(line)
    except ValueError:  # closed meanwhile
        pass
    answers.put("")


def shortened(message: str) -> str:
    """A message on one line, cut to a maximum length."""
    line = " ".join(message.split())
    return line if len(line) <= MESSAGE else line[: MESSAGE - 4] + " ..."
