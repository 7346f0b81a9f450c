"""The cases that are timed: cells, shapes, fills and kinds of mask, all from fixed seeds.

A case is a few numbers; its `Problem` holds the arrays. The ragged lengths are lognormal, as
lengths of sentences and utterances are, with one row of full length in every batch; they are then
scaled until their mean is the wanted fill. The three kinds of mask of one case share lengths, data
and weights, so they hold the same number of valid steps at different places.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import numpy.typing as npt

from benchmarks.cells import CELLS, Cell

Kind = Literal["right", "left", "holes"]
Floats = npt.NDArray[np.float32]

SPREAD = 0.6  # sigma of the lognormal lengths


@dataclass(frozen=True)
class Case:
    """One batch to compute: sizes, the share of valid steps, and where the padding lies."""

    batch: int
    time: int
    features: int
    units: int
    fill: float = 1.0
    kind: Kind = "right"
    cell: str = "lstm"
    layers: int = 1  # more of them only in training

    @property
    def shape(self) -> tuple[int, int, int, int]:
        return self.batch, self.time, self.features, self.units

    @property
    def name(self) -> str:
        sizes = "x".join(str(size) for size in self.shape)
        stack = f"-{self.layers}-layers" if self.layers > 1 else ""
        return f"{self.cell}{stack}-{sizes}-fill{self.fill:g}-{self.kind}"


@dataclass(frozen=True)
class Problem:
    """The arrays of a case. Weights are in Keras's layout and gate order, G gates wide."""

    case: Case
    x: Floats  # (B, T, F)
    valid: npt.NDArray[np.bool_]  # (B, T)
    lengths: npt.NDArray[np.int64]  # (B,)
    kernel: Floats  # (F, GH)
    recurrent_kernel: Floats  # (H, GH)
    bias: Floats  # (GH,), GRU (2, GH)

    @property
    def cell(self) -> Cell:
        return CELLS[self.case.cell]

    @property
    def steps(self) -> int:
        """Number of valid steps."""
        return int(self.lengths.sum())

    @property
    def fill(self) -> float:
        """The share of valid steps that the lengths really have."""
        return self.steps / self.valid.size

    @property
    def flops(self) -> int:
        """Floating-point operations of a forward call's matrix products over the valid steps."""
        _, _, features, units = self.case.shape
        return 2 * self.steps * (features + units) * self.cell.gates * units

    @cached_property
    def expected(self) -> npt.NDArray[np.float64]:
        """The correct output, (B, T, H), in float64 and plain NumPy; zeros at masked steps."""
        return reference(self)


def make_problem(case: Case) -> Problem:
    """The arrays of `case`, the same ones each time."""
    rng = np.random.default_rng([*case.shape, round(case.fill * 1000)])
    batch, time, features, units = case.shape
    cell = CELLS[case.cell]
    width = cell.gates * units
    lengths = ragged_lengths(rng, batch, time, case.fill)
    scale = (features + units) ** -0.5

    def normal(*shape: int, scale: float = 1.0) -> Floats:
        return rng.standard_normal(shape, dtype=np.float32) * np.float32(scale)

    return Problem(
        case=case,
        x=normal(batch, time, features),
        kernel=normal(features, width, scale=scale),
        recurrent_kernel=normal(units, width, scale=scale),
        bias=normal(*cell.bias_shape(units), scale=0.1),
        lengths=lengths,
        valid=make_mask(rng, lengths, time, case.kind),
    )


def ragged_lengths(
    rng: np.random.Generator, batch: int, time: int, fill: float
) -> npt.NDArray[np.int64]:
    """Lognormal lengths in 1..time whose mean is `fill * time`; the first row is full."""
    if fill >= 1.0:
        return np.full(batch, time)
    drawn = rng.lognormal(np.log(time * fill * 0.85), SPREAD, batch)

    def scaled(factor: float) -> npt.NDArray[np.int64]:
        lengths = np.clip(np.rint(drawn * factor), 1, time).astype(np.int64)
        lengths[0] = time
        return lengths

    low, high = 0.0, float(time)
    for _ in range(60):  # bisection: the mean grows with the factor
        middle = (low + high) / 2
        low, high = (middle, high) if scaled(middle).mean() < fill * time else (low, middle)
    return scaled(high)


def make_mask(
    rng: np.random.Generator, lengths: npt.NDArray[np.int64], time: int, kind: Kind
) -> npt.NDArray[np.bool_]:
    """A mask with `lengths[b]` valid steps in row b: first, last, or at random places."""
    right = np.arange(time) < lengths[:, None]
    if kind == "right":
        return right
    if kind == "left":
        return np.ascontiguousarray(right[:, ::-1])
    return rng.permuted(right, axis=1)


def reference(problem: Problem) -> npt.NDArray[np.float64]:
    """The cell over all steps, in float64, keeping its states where the mask is False."""
    cell = problem.cell
    batch, time, _, units = problem.case.shape
    bias, recurrent_bias = (one.astype(np.float64) for one in cell.biases(problem.bias))
    recurrent_kernel = problem.recurrent_kernel.astype(np.float64)
    projected = problem.x.astype(np.float64) @ problem.kernel.astype(np.float64) + bias
    states = [np.zeros((batch, units)) for _ in range(cell.states)]
    output = np.zeros((batch, time, units))
    for t in range(time):
        new = cell.formula(projected[:, t], states[0] @ recurrent_kernel + recurrent_bias, states)
        valid = problem.valid[:, t, None]
        states = [np.where(valid, *pair) for pair in zip(new, states, strict=True)]
        output[:, t] = np.where(valid, new[0], 0.0)
    return output


SMALL = (32, 10, 16, 32)
TINY_BATCH = (1, 100, 32, 32)
BATCHES = (
    SMALL,
    (32, 200, 128, 64),
    (32, 200, 128, 128),
    (64, 100, 256, 256),
    (64, 100, 512, 512),
    (128, 500, 64, 64),
    (16, 50, 40, 100),
    (256, 60, 32, 32),
)
SINGLES = (
    TINY_BATCH,
    (1, 1000, 64, 64),
    (1, 1000, 128, 128),
    (1, 1000, 256, 256),
    (1, 200, 512, 512),
)
FILLS = (1.0, 0.5, 0.25)

PICTURE_SHAPES = ((32, 200, 128, 128), (64, 100, 256, 256), (64, 100, 512, 512), (128, 500, 64, 64))
PICTURE_FILLS = (0.75, 0.1)  # besides FILLS; drawn, but not in the means

QUICK_BATCHES = (SMALL, (32, 200, 128, 128), (128, 500, 64, 64))
QUICK_SINGLES = (TINY_BATCH,)


# Fewer for the other cells: one below a millisecond, one of each bound, two of batch 1.
OTHER_BATCHES = (SMALL, (32, 200, 128, 128), (64, 100, 256, 256), (128, 500, 64, 64))
OTHER_SINGLES = (TINY_BATCH, (1, 1000, 128, 128))


def forward_cases(cell: str, quick: bool = False) -> list[Case]:
    """Right-padded batches at every fill, then single sequences, which have no padding."""
    cases = []
    for shape in batches_of(cell, quick):
        drawn = PICTURE_FILLS if cell == "lstm" and shape in PICTURE_SHAPES and not quick else ()
        fills = sorted((*FILLS, *drawn), reverse=True)
        cases += [Case(*shape, fill, cell=cell) for fill in fills]
    singles = SINGLES if cell == "lstm" else OTHER_SINGLES
    return cases + [Case(*shape, cell=cell) for shape in (QUICK_SINGLES if quick else singles)]


def kind_cases(cell: str, quick: bool = False) -> list[tuple[Case, Case, Case]]:
    """Half-full batches, each with its padding on the right, on the left and as holes."""
    return [
        (
            Case(*shape, 0.5, "right", cell),
            Case(*shape, 0.5, "left", cell),
            Case(*shape, 0.5, "holes", cell),
        )
        for shape in batches_of(cell, quick)
    ]


def batches_of(cell: str, quick: bool) -> tuple[tuple[int, int, int, int], ...]:
    if quick:
        return QUICK_BATCHES
    return BATCHES if cell == "lstm" else OTHER_BATCHES


QUANTIZED_BATCHES = ((32, 200, 128, 128), (64, 100, 256, 256), (64, 50, 512, 512))
QUANTIZED_SINGLES = ((1, 1000, 128, 128), (1, 500, 256, 256), (1, 200, 512, 512))


def quantized_cases(quick: bool = False) -> list[Case]:
    """As `forward_cases`: most of them LSTM, a few for each of the other cells."""
    cases = []
    for cell in CELLS:
        few = 1 if quick else len(QUANTIZED_BATCHES) if cell == "lstm" else 2
        for shape in QUANTIZED_BATCHES[:few]:
            cases += [Case(*shape, fill, cell=cell) for fill in FILLS]
        cases += [Case(*shape, cell=cell) for shape in QUANTIZED_SINGLES[:few]]
    return cases


TRAINING_BATCHES = ((16, 50, 40, 100), (32, 200, 128, 128), (64, 100, 256, 256), (128, 200, 64, 64))
TRAINING_SINGLES = ((1, 100, 32, 32), (1, 1000, 128, 128))
OTHER_TRAINING_BATCHES = TRAINING_BATCHES[1:2] + TRAINING_BATCHES[3:]


def training_cases(quick: bool = False) -> list[Case]:
    """As `forward_cases`: most of them LSTM, a few for each of the other cells."""
    cases = []
    for cell in CELLS:
        few = quick or cell != "lstm"
        for shape in OTHER_TRAINING_BATCHES if few else TRAINING_BATCHES:
            cases += [Case(*shape, fill, cell=cell) for fill in FILLS]
        cases += [Case(*shape, cell=cell) for shape in TRAINING_SINGLES[: 1 if few else None]]
    return cases
