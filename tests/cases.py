"""Random cases of masked recurrent layers: sizes, masks of every kind, weights."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

MASK_KINDS = ("full", "empty", "right", "left", "holes", "single", "row_off")


def make_mask(kind: str, batch: int, time: int, rng: np.random.Generator) -> NDArray[np.bool_]:
    """A mask (batch, time) of one kind."""
    steps = np.arange(time)
    lengths = rng.integers(0, time + 1, batch)[:, np.newaxis]
    if kind == "full":
        return np.ones((batch, time), bool)
    if kind == "empty":
        return np.zeros((batch, time), bool)
    if kind == "right":
        return steps < lengths
    if kind == "left":
        return steps >= time - lengths
    if kind == "single":
        return steps == lengths
    valid = rng.random((batch, time)) < rng.uniform(0.1, 0.9)
    if kind == "row_off":
        valid[::2] = False
    return valid


def plan_of(valid: NDArray[np.bool_]) -> tuple[NDArray[np.int64], ...]:
    """offsets, steps, order of a mask, in three obvious lines."""
    counts = valid.sum(axis=1)
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    return offsets, np.flatnonzero(valid), np.argsort(-counts, kind="stable")


@dataclass
class LSTMCase:
    """Everything that lstm_fwd takes."""

    batch: int
    time: int
    features: int
    units: int
    kind: str = "full"
    seed: int = 0
    dtype: str = "float32"
    sequences: bool = True
    activation: str = "tanh"
    recurrent_activation: str = "sigmoid"
    reverse: bool = False
    zero_masked: bool = False
    x: NDArray[Any] = field(init=False)

    def __post_init__(self) -> None:
        rng = np.random.default_rng(self.seed)
        self.valid = make_mask(self.kind, self.batch, self.time, rng)
        gates = 4 * self.units
        scale = 1 / np.sqrt(max(self.features + self.units, 1))

        def normal(*shape: int) -> NDArray[Any]:
            return rng.standard_normal(shape).astype(self.dtype)

        self.x = normal(self.batch, self.time, self.features)
        self.x[~self.valid] = np.nan  # nobody may look at a masked step
        self.weights = [
            (normal(self.features, gates) * scale).astype(self.dtype),
            (normal(self.units, gates) * scale).astype(self.dtype),
            normal(gates),
        ]
        self.states = [normal(self.batch, self.units), normal(self.batch, self.units)]

    def run(self, column: Any, threads: int = 1, dtype: str | None = None) -> list[NDArray[Any]]:
        """out, h_last, c_last by the kernels of a column, on outputs full of NaN."""

        def to(array: NDArray[Any]) -> NDArray[Any]:
            return np.ascontiguousarray(array, dtype or self.dtype)

        size = column.lstm_packed_size(self.features, self.units, np.dtype(dtype or self.dtype))
        packed = np.full(size, np.nan, dtype or self.dtype)
        column.lstm_pack(packed, *map(to, self.weights))
        steps = self.time if self.sequences else 0
        out = np.full((self.batch, steps, self.units), np.nan, dtype or self.dtype)
        h_last, c_last = np.full((2, self.batch, self.units), np.nan, dtype or self.dtype)
        saved = [np.empty((0, width * self.units), out.dtype) for width in (1, 1, 4)]
        column.lstm_fwd(
            *(out, h_last, c_last, *saved, to(self.x), *plan_of(self.valid), packed),
            *map(to, self.states),
            *(self.activation, self.recurrent_activation, self.reverse, self.zero_masked, threads),
        )
        return [out, h_last, c_last]


BOUNDED = ("sigmoid", "hard_sigmoid", "tanh")

lstm_cases = st.builds(
    LSTMCase,
    batch=st.integers(0, 40),
    time=st.integers(0, 9),
    features=st.integers(0, 20),
    units=st.integers(1, 70),
    kind=st.sampled_from(MASK_KINDS),
    seed=st.integers(0, 2**32 - 1),
    dtype=st.sampled_from(("float32", "float64")),
    sequences=st.booleans(),
    activation=st.sampled_from(("tanh", "tanh", "tanh", "hard_sigmoid", "relu", "linear")),
    recurrent_activation=st.sampled_from(("sigmoid", "sigmoid", "hard_sigmoid")),
    reverse=st.booleans(),
    zero_masked=st.booleans(),
)


def assert_close(actual: NDArray[Any], expected: NDArray[Any], dtype: str) -> None:
    """Equal to a few units of rounding of the dtype, NaN where NaN is expected."""
    tolerance = 2e-5 if dtype == "float32" else 1e-12
    np.testing.assert_allclose(actual, expected, rtol=tolerance, atol=tolerance)
