"""Disturbances beside the problems: changing numbers of threads, garbage, a damaged cache."""

from __future__ import annotations

import gc
import os
import shutil
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from contextvars import Context
from pathlib import Path
from typing import Any

import numpy as np

import fastmask as fm

from .problem import Random, make
from .ways import Interruption

PAUSE = 0.05  # seconds between two disturbances of a kind
MOST_THREADS = 6


Report = Callable[[str, int, BaseException], None]
"""Called with a load's name, a seed, and the error."""


@contextmanager
def disturbed(seed: int, names: Sequence[str], report: Report) -> Iterator[None]:
    """Disturb the block; finalizers compute problems of the loads `names`."""
    threads, thresholds, hook = fm.get_num_threads(), gc.get_threshold(), sys.unraisablehook
    sys.unraisablehook = lambda found: None if _expected(found) else hook(found)
    gc.set_threshold(200)  # young objects, often, in whatever thread makes some
    over = threading.Event()
    kinds = (set_threads, lambda random: leave_garbage(random, names, report), damage_cache)
    loops = [
        threading.Thread(target=_repeat, args=(kind, seed + i, over), daemon=True)
        for i, kind in enumerate(kinds)
    ]
    for loop in loops:
        loop.start()
    try:
        yield
    finally:
        over.set()
        for loop in loops:
            loop.join()
        gc.set_threshold(*thresholds)
        sys.unraisablehook = hook
        fm.set_num_threads(threads)


def _expected(found: Any) -> bool:
    """Whether a finalizer ended with an exception that was meant for the interrupted call."""
    return isinstance(found.exc_value, Interruption)


def _repeat(kind: Callable[[Random], None], seed: int, over: threading.Event) -> None:
    random = np.random.default_rng(seed)
    while not over.wait(PAUSE * float(random.random())):
        kind(random)


def set_threads(random: Random) -> None:
    fm.set_num_threads(int(random.integers(1, MOST_THREADS)))


class Garbage:
    """A reference cycle whose finalizer computes, in whatever thread collects it."""

    def __init__(self, random: Random, names: Sequence[str], report: Report) -> None:
        self.itself, self.report = self, report
        self.name, self.seed = str(random.choice(names)), int(random.integers(2**32))

    def __del__(self) -> None:
        try:
            # In its own context: in load_model's, layers get no values.
            Context().run(lambda: make(self.name, self.seed).check())
        except Exception as error:
            self.report(self.name, self.seed, error)


def leave_garbage(random: Random, names: Sequence[str], report: Report) -> None:
    if random.random() < 0.2:  # some garbage takes long
        Garbage(random, names, report)


def damage_cache(random: Random) -> None:
    """Damage a file in the folder NUMBA_CACHE_DIR."""
    files = list(Path(os.environ["NUMBA_CACHE_DIR"]).rglob("*.nb*"))
    if files and random.random() < 0.5:
        with suppress(OSError):  # another thread is writing it
            damage(files[random.integers(len(files))], random)


def damage(path: Path, random: Random) -> None:
    """Empty a file, cut it, fill it with noise, change a byte, make it a folder, or remove it."""
    kind = random.integers(6)
    if path.is_dir():
        shutil.rmtree(path)
    elif kind == 0:
        path.write_bytes(b"")
    elif kind == 1:
        os.truncate(path, int(random.integers(path.stat().st_size + 1)))
    elif kind == 2:
        path.write_bytes(random.bytes(int(random.integers(1, 5000))))
    elif kind == 3 and (content := bytearray(path.read_bytes())):
        content[random.integers(len(content))] ^= int(random.integers(1, 256))
        path.write_bytes(content)
    else:
        path.unlink()
        if kind == 4:
            path.mkdir()
