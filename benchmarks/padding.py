"""Padding 20 000 ragged rows of about two million values, by fastmask, Keras and PyTorch.

PyTorch pads tensors: rows that come as arrays are converted to tensors in advance, which favors
it; for rows that come as lists, the conversion is part of the work, as it is for the others.
Keras's `pad_sequences` does not depend on its backend.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

Source = Literal["lists", "arrays"]
Values = Literal["ints", "floats", "feature rows"]
Padding = Literal["pre", "post"]

ROWS = 20_000
LONGEST = 200  # lengths are uniform in 5..200: 2.05 million values
FEATURES = 12
LONGEST_WITH_FEATURES = 16  # lengths are uniform in 1..16: 2.04 million values


@dataclass(frozen=True)
class PaddingCase:
    """Rows of `values`, held in `source`, padded at the `padding` end."""

    source: Source
    values: Values
    padding: Padding = "post"
    rows: int = ROWS

    @property
    def name(self) -> str:
        return f"{self.values} from {self.source} {self.padding}".replace(" ", "-")

    @property
    def dtype(self) -> str:
        return "int32" if self.values == "ints" else "float32"


@dataclass(frozen=True)
class Padder:
    """One library's way to pad a case; `prepare` gives the call that is timed."""

    name: str
    modules: tuple[str, ...]
    prepare: Callable[[PaddingCase, list[Any]], Callable[[], Any]]

    def missing(self) -> list[str]:
        """The modules it needs that are not installed."""
        return [name for name in self.modules if importlib.util.find_spec(name) is None]


def make_rows(case: PaddingCase) -> list[Any]:
    """The ragged rows: int64 or float32 arrays, or plain Python lists of the same values."""
    rng = np.random.default_rng(0)
    if case.values == "feature rows":
        lengths = rng.integers(1, LONGEST_WITH_FEATURES + 1, case.rows)
        arrays = [rng.standard_normal((n, FEATURES), dtype=np.float32) for n in lengths]
    else:
        lengths = rng.integers(5, LONGEST + 1, case.rows)
        arrays = (
            [rng.integers(1, 30_000, n) for n in lengths]
            if case.values == "ints"
            else [rng.standard_normal(n, dtype=np.float32) for n in lengths]
        )
    return [row.tolist() for row in arrays] if case.source == "lists" else arrays


def expected(case: PaddingCase, rows: list[Any]) -> npt.NDArray[Any]:
    """The correct result, one row after the other in plain NumPy."""
    longest = max(len(row) for row in rows)
    result = np.zeros((len(rows), longest, *np.shape(rows[0])[1:]), case.dtype)
    for padded, row in zip(result, rows, strict=True):
        padded[slice(len(row)) if case.padding == "post" else slice(longest - len(row), None)] = row
    return result


def prepare_fastmask(case: PaddingCase, rows: list[Any]) -> Callable[[], Any]:
    import fastmask as fm

    return lambda: fm.pad_sequences(rows, dtype=case.dtype, padding=case.padding)


def prepare_keras(case: PaddingCase, rows: list[Any]) -> Callable[[], Any]:
    os.environ.setdefault(
        "KERAS_BACKEND", "torch" if importlib.util.find_spec("torch") else "numpy"
    )
    from keras.utils import pad_sequences

    return lambda: pad_sequences(rows, dtype=case.dtype, padding=case.padding)


def prepare_torch(case: PaddingCase, rows: list[Any]) -> Callable[[], Any]:
    import torch
    from torch.nn.utils.rnn import pad_sequence

    side = "right" if case.padding == "post" else "left"
    if case.source == "arrays":
        tensors = [torch.from_numpy(row) for row in rows]
        return lambda: pad_sequence(tensors, batch_first=True, padding_side=side)
    dtype = getattr(torch, case.dtype)
    return lambda: pad_sequence(
        [torch.tensor(row, dtype=dtype) for row in rows], batch_first=True, padding_side=side
    )


FASTMASK = Padder("fastmask", ("fastmask",), prepare_fastmask)
KERAS = Padder("Keras", ("keras",), prepare_keras)
PADDERS = (FASTMASK, KERAS, Padder("PyTorch", ("torch",), prepare_torch))


def padding_cases() -> list[PaddingCase]:
    """Every source and kind of value padded at the end, and integers padded at the front."""
    kinds: tuple[Values, ...] = ("ints", "floats", "feature rows")
    sources: tuple[Source, ...] = ("lists", "arrays")
    cases = [PaddingCase(source, values) for source in sources for values in kinds]
    return cases + [PaddingCase(source, "ints", "pre") for source in sources]


def checked_calls(case: PaddingCase) -> dict[str, Callable[[], Any]]:
    """The installed libraries' calls; each has been checked to give the right values."""
    rows = make_rows(case)
    wanted = expected(case, rows)
    calls = {p.name: p.prepare(case, rows) for p in PADDERS if not p.missing()}
    for name, call in calls.items():
        if not np.array_equal(np.asarray(call()), wanted):
            raise AssertionError(f"{name} pads {case.name} wrongly")
    return calls
