"""Figures that were estimated or reported before anything was measured, beside the measurements.

The estimates were calculated from the design of the kernels for an H100, without access to one;
the others are reported by their authors.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from benchmarks.cuda.cases import FLASHRNN

Section = dict[str, Any]
Number = float | None


@dataclass(frozen=True)
class Estimate:
    """A figure, where it comes from, and how to find the measured one."""

    what: str
    expected: str
    source: str
    measured: Callable[[Section], Number]


def cost(name: str) -> Callable[[Section], Number]:
    """Finds the measured cost of that name."""

    def find(section: Section) -> Number:
        value = section.get("costs", {}).get(name, {}).get("value")
        return None if value is None else float(value)

    return find


def milliseconds(name: str, **case: Any) -> Callable[[Section], Number]:
    """Finds the measured time of a contender on the case with these sizes."""

    def find(section: Section) -> Number:
        for group in section.get("groups", []):
            if all(group[key] == value for key, value in case.items()):
                timing = group["seconds"].get(name)
                if timing:
                    return 1e3 * float(timing["median"])
        return None

    return find


PUBLISHED: dict[str, Any] = {"batch": 16, "time": 1024, "units": 768, "training": False}
ARITHMETIC = "estimate"
ESTIMATES = (
    Estimate("launch, one argument, us", "6", "estimate, of an array", cost("launch, 1 argument")),
    Estimate("launch, 16 arguments, us", "30", "estimate, of arrays", cost("launch, 16 arguments")),
    *(
        Estimate(f"step of four sequences, H = {units}, {name}, us", expected, ARITHMETIC, find)
        for units, name, expected, find in (
            (64, "float32", "0.55", cost("step, fastmask, H = 64")),
            (64, "bf16", "0.25", cost("step, fastmask bf16, H = 64")),
            (128, "bf16", "0.4", cost("step, fastmask bf16, H = 128")),
            (768, "float32", "1.5 to 1.9", cost("step, fastmask, H = 768")),
            (768, "bf16", "1.5 to 1.9", cost("step, fastmask bf16, H = 768")),
        )
    ),
    Estimate(
        "B = 16, T = 1024, H = 768: cuDNN fp16, ms",
        "2.01",
        "reported by FlashRNN's authors, H100",
        milliseconds("cuDNN padded fp16", **PUBLISHED),
    ),
    Estimate(
        "B = 16, T = 1024, H = 768: FlashRNN, fused, bf16, ms",
        "4.87",
        "reported by FlashRNN's authors, H100",
        milliseconds(FLASHRNN, **PUBLISHED),
    ),
)
