"""What is timed, the most important first: when the time is up, the rest is left out and listed.

A trial is a case, forward or with the backward pass, and its contenders. Inputs have as many
features as the layer has units; one row of every batch is full, so that every trial runs all its
time steps.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from benchmarks.cases import Case

UNITS = (32, 64, 128, 192, 256, 512, 768, 1024)
TIME = 256
SMALL_BATCH, BATCH, LARGE_BATCH, HUGE_BATCH = 16, 64, 256, 1024

OURS = ("fastmask", "fastmask, torch GEMM")
CUDNN = ("cuDNN padded", "cuDNN packed")
PLANNING = "fastmask planning"
OURS_TF32, OURS_BF16, FLASHRNN = "fastmask tf32", "fastmask bf16", "FlashRNN bf16"
FLOAT32 = (*OURS, *CUDNN)
REDUCED = (
    *(OURS_TF32, OURS_BF16, "cuDNN padded TF32", "cuDNN packed TF32"),
    *("cuDNN padded fp16", "cuDNN packed fp16", "cuDNN padded bf16"),
)


@dataclass(frozen=True)
class Trial:
    """A case and its contenders."""

    case: Case
    training: bool
    contenders: tuple[str, ...]

    @property
    def name(self) -> str:
        return f"{'training' if self.training else 'forward'} {self.case.name}"


def square(batch: int, units: int, fill: float = 1.0, kind: str = "right", **more: object) -> Case:
    """A case with as many features as units."""
    return Case(batch, TIME, units, units, fill, kind, **more)  # type: ignore[arg-type]  # a str is wider


def trials() -> list[Trial]:
    """All trials; those that goals need come first."""
    return merged(_in_order())


def _in_order() -> Iterator[Trial]:
    for units in (32, 64, 128, 192):
        yield Trial(square(BATCH, units), False, FLOAT32)
    for units in (64, 128, 256, 512):
        yield Trial(square(LARGE_BATCH, units, 0.5), False, (*FLOAT32, PLANNING))
        yield Trial(square(LARGE_BATCH, units, 0.5, "holes"), False, OURS)
    flashrnn = Case(SMALL_BATCH, 1024, 768, 768)
    yield Trial(flashrnn, False, (OURS_BF16, FLASHRNN, "cuDNN padded fp16", *FLOAT32))
    for units in (64, 128, 256):
        yield Trial(square(BATCH, units), True, FLOAT32)
        yield Trial(square(LARGE_BATCH, units, 0.5), True, FLOAT32)
    for units in (256, 512, 768, 1024):
        yield Trial(square(BATCH, units), False, FLOAT32)
    for units in (64, 128, 256, 512, 1024):
        yield Trial(square(BATCH, units), False, REDUCED)
    yield from _wider()


def _wider() -> Iterator[Trial]:
    """Trials that no goal needs."""
    for units in (64, 128, 512):
        yield Trial(square(SMALL_BATCH, units), False, (*FLOAT32, PLANNING))
        yield Trial(square(LARGE_BATCH, units, 0.25), False, FLOAT32)
    for units in (64, 256):
        yield Trial(square(LARGE_BATCH, units, 0.5), False, REDUCED)
        yield Trial(square(LARGE_BATCH, units, 0.5, "holes"), True, OURS)
        yield Trial(square(BATCH, units), True, REDUCED)
    yield Trial(Case(SMALL_BATCH, 1024, 768, 768), True, (OURS_BF16, FLASHRNN, "cuDNN padded fp16"))
    for cell in ("gru", "rnn"):
        for units in (64, 256):
            yield Trial(square(BATCH, units, cell=cell), False, FLOAT32)
            yield Trial(square(LARGE_BATCH, units, 0.5, cell=cell), False, FLOAT32)
    for units in (64, 128):
        yield Trial(square(HUGE_BATCH, units, 0.5), False, FLOAT32)
    for units in UNITS:
        for batch in (SMALL_BATCH, LARGE_BATCH):
            yield Trial(square(batch, units), False, (*FLOAT32, *REDUCED))
        yield Trial(square(LARGE_BATCH, units, 0.5), False, FLOAT32)
        yield Trial(square(BATCH, units), True, FLOAT32)


def merged(given: Iterator[Trial]) -> list[Trial]:
    """Every contender of a case once, at its first place."""
    seen: set[tuple[Case, bool, str]] = set()
    result = []
    for trial in given:
        new = tuple(
            name for name in trial.contenders if (trial.case, trial.training, name) not in seen
        )
        seen |= {(trial.case, trial.training, name) for name in new}
        if new:
            result.append(Trial(trial.case, trial.training, new))
    return result


def tiny_trials() -> list[Trial]:
    """For the simulator: every kind of trial, as small as possible."""
    full, half, holes = (
        Case(2, 2, 1, 2, fill, kind)  # type: ignore[arg-type]  # a str is wider
        for fill, kind in ((1.0, "right"), (0.5, "right"), (0.5, "holes"))
    )
    return [
        Trial(full, False, (*FLOAT32, PLANNING)),
        Trial(half, False, (*FLOAT32, *REDUCED)),
        Trial(holes, False, OURS),
        Trial(half, True, FLOAT32),
    ]
