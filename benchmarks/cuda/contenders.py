"""The contenders: how each is prepared, checked and timed, and why it may be unavailable."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, Protocol

from benchmarks.cases import Case, Floats, Problem
from benchmarks.cuda import cudnn, expected, flashrnn, ours
from benchmarks.cuda.cases import FLASHRNN, OURS, OURS_BF16, OURS_TF32, PLANNING
from benchmarks.cuda.clock import measure
from benchmarks.cuda.system import is_dry

FULL, TEN_BITS, SEVEN_BITS = 2e-4, 1e-2, 6e-2  # largest error, by bits of the fraction
BACK = 3  # times larger for gradients, which lose more with few bits


class Prepared(Protocol):
    """A layer that holds the problem's weights and inputs."""

    def load(self, upstream: Floats) -> None: ...

    def call(self) -> None: ...

    def results(self) -> expected.Results: ...


@dataclass(frozen=True)
class Contender:
    """A library, or one way to use it."""

    prepare: Callable[[Problem, bool], Prepared]
    missing: Callable[[], str | None]
    tolerance: float
    any_mask: bool = False
    settings: Callable[[], AbstractContextManager[None]] = nullcontext


def _ours(
    weights: str = "float32",
    products: bool = False,
    planning: bool = False,
    tolerance: float = FULL,
) -> Contender:
    return Contender(
        partial(ours.Fastmask, planning=planning),
        partial(ours.missing, weights, products),
        tolerance,
        any_mask=True,
        settings=partial(ours.settings, weights, products),
    )


def _cudnn(
    packed: bool, dtype: str = "float32", tf32: bool = False, tolerance: float = FULL
) -> Contender:
    prepare = partial(cudnn.CuDNN, packed=packed, dtype=dtype, tf32=tf32)
    return Contender(prepare, cudnn.missing, tolerance)


CONTENDERS: dict[str, Contender] = {
    OURS[0]: _ours(),
    OURS[1]: _ours(products=True),
    PLANNING: _ours(planning=True),
    OURS_TF32: _ours("tf32", tolerance=TEN_BITS),
    OURS_BF16: _ours("bfloat16", tolerance=SEVEN_BITS),
    "cuDNN padded": _cudnn(False),
    "cuDNN packed": _cudnn(True),
    "cuDNN padded TF32": _cudnn(False, tf32=True, tolerance=TEN_BITS),
    "cuDNN packed TF32": _cudnn(True, tf32=True, tolerance=TEN_BITS),
    "cuDNN padded fp16": _cudnn(False, "float16", tolerance=TEN_BITS),
    "cuDNN packed fp16": _cudnn(True, "float16", tolerance=TEN_BITS),
    "cuDNN padded bf16": _cudnn(False, "bfloat16", tolerance=SEVEN_BITS),
    FLASHRNN: Contender(flashrnn.FlashRNN, flashrnn.missing, SEVEN_BITS),
}


def absent() -> dict[str, str]:
    """The reasons of contenders that are unavailable here."""
    reasons = {name: contender.missing() for name, contender in CONTENDERS.items()}
    return {name: reason for name, reason in reasons.items() if reason}


def time_contender(name: str, case: Case, training: bool, seconds: float) -> dict[str, Any]:
    """Check a contender on a case, then time it.

    Raises:
        AssertionError: the result is wrong.
    """
    contender, problem = CONTENDERS[name], expected.cached_problem(case)
    if case.kind != "right" and not contender.any_mask:
        raise ValueError(f"{name} takes right padding only, not {case.kind}")
    with contender.settings():
        prepared = contender.prepare(problem, training)
        off = checked(contender.tolerance, prepared, problem, training)
        if training:
            prepared.load(expected.upstream_of(problem))
        timing = measure(prepared.call, seconds)
    return {**asdict(timing), "error": off, "steps": problem.steps}


def compile_contender(name: str, case: Case, training: bool) -> None:
    """Call a contender once."""
    contender, problem = CONTENDERS[name], expected.cached_problem(case)
    with contender.settings():
        prepared = contender.prepare(problem, training)
        if training:
            prepared.load(expected.upstream_of(problem))
        prepared.call()


def checked(tolerance: float, prepared: Prepared, problem: Problem, training: bool) -> float:
    """The error of a call; raises if it is too large, as a wrong result must not be timed."""
    if training:
        prepared.load(expected.upstream_of(problem, expected.chosen_rows(problem)))
    prepared.call()
    off = expected.error(problem, training, prepared.results())
    if training and tolerance > FULL:
        tolerance *= BACK
    if is_dry():
        return 0.0
    if not off <= tolerance:
        raise AssertionError(f"wrong result: off by {off:.2g}, allowed is {tolerance:g}")
    return off
