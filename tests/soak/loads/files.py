"""Broken files: each raises a ValueError, or what is read is sound."""

from __future__ import annotations

import random as stdlib
import tempfile
import warnings
from collections.abc import Sequence
from contextlib import suppress
from functools import lru_cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

import fastmask as fm

from ..problem import Problem, Random, exact, load

FILES = 20  # per problem
FUZZ, FUZZ_OF_KERAS = "tests.file_fuzz", "tests.keras_fuzz"


@lru_cache(maxsize=1)
def _originals() -> list[bytes]:
    if find_spec(FUZZ) is not None:
        with tempfile.TemporaryDirectory() as folder:
            found: list[bytes] = import_module(FUZZ).originals(Path(folder))
            return found
    model = fm.Sequential([fm.layers.Masking(), fm.layers.LSTM(3), fm.layers.Dense(2)])
    model.build((None, None, 2))
    with tempfile.TemporaryDirectory() as folder:
        fm.save_model(model, Path(folder) / "model.npz")
        return [(Path(folder) / "model.npz").read_bytes()]


def _mutated(random: stdlib.Random, content: bytes) -> bytes:
    if find_spec(FUZZ) is not None:
        changed: bytes = import_module(FUZZ).mutate(random, content)
        return changed
    place = random.randrange(len(content))
    return content[:place] + random.randbytes(random.randrange(9)) + content[place + 4 :]


@load
def broken_files_of_keras(random: Random) -> Problem:
    dice = stdlib.Random(int(random.integers(2**32)))
    fuzz = import_module(FUZZ_OF_KERAS)
    files = fuzz.originals()
    changed = [fuzz.mutate(dice, dice.choice(files)) for _ in range(FILES)]

    def compute() -> Sequence[Any]:
        with tempfile.TemporaryDirectory() as folder:
            for number, (content, ending) in enumerate(changed):
                path = Path(folder) / f"model{number}{ending}"
                path.write_bytes(content)
                with suppress(ValueError), warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # about lost masks
                    fm.load_model(path)
        return [np.empty(0)]

    return exact(compute, [np.empty(0)])


@load
def broken_files(random: Random) -> Problem:
    dice = stdlib.Random(int(random.integers(2**32)))
    contents = [_mutated(dice, dice.choice(_originals())) for _ in range(FILES)]

    def compute() -> Sequence[Any]:
        with tempfile.TemporaryDirectory() as folder:
            for content in contents:
                _load(content, Path(folder) / "model.npz")
        return [np.empty(0)]

    return exact(compute, [np.empty(0)])


def _load(content: bytes, path: Path) -> None:
    path.write_bytes(content)
    try:
        model = fm.load_model(path)
    except ValueError:
        return
    fm.save_model(model, path)
    for one, other in zip(fm.load_model(path).get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


@lru_cache(maxsize=1)
def _weights() -> dict[str, bytes]:
    with tempfile.TemporaryDirectory() as folder:
        files: dict[str, bytes] = import_module("tests.weight_fuzz").originals(Path(folder))
        return files


@load
def broken_weights(random: Random) -> Problem:
    """Weight files of every kind that `load_weights` reads and `fastmask inspect` shows."""
    fuzz = import_module("tests.weight_fuzz")
    dice = stdlib.Random(int(random.integers(2**32)))
    kinds = [dice.choice(list(_weights())) for _ in range(FILES // 4)]
    contents = [(kind, fuzz.mutate(dice, kind, _weights()[kind])) for kind in kinds]

    def compute() -> Sequence[Any]:
        with tempfile.TemporaryDirectory() as folder:
            for kind, content in contents:
                fuzz.attempt(fuzz.reader(kind), kind, content, Path(folder))
        return [np.empty(0)]

    return exact(compute, [np.empty(0)])
