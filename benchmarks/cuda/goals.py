"""What the CUDA kernels should reach on an H100 or a similar GPU, and what the timings show."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from benchmarks.cuda.cases import CUDNN, FLASHRNN, LARGE_BATCH, OURS, OURS_BF16
from benchmarks.summary import Goal

Group = dict[str, Any]

SMALL_UNITS = 192  # up to here cuDNN has a special fast path


def median(group: Group, names: Iterable[str]) -> float | None:
    """Seconds of the fastest of some contenders, None if none took part."""
    timings = group["seconds"]
    return min((float(timings[n]["median"]) for n in names if n in timings), default=None)


def faster(group: Group, names: Iterable[str], than: Iterable[str]) -> float | None:
    """How many times faster the first contenders are than the others."""
    one, other = median(group, names), median(group, than)
    return other / one if one and other else None


def least(values: Iterable[float | None]) -> float | None:
    """The worst case, which is what counts."""
    return min((value for value in values if value is not None), default=None)


def goals(groups: list[Group]) -> list[Goal]:
    """All goals, in float32 with TF32 off unless said otherwise; the worst case of each."""
    forward = [g for g in groups if not g["training"] and g["cell"] == "lstm"]
    right = [g for g in forward if g["kind"] == "right"]
    full = [g for g in right if g["fill"] == 1.0 and g["units"] <= SMALL_UNITS]
    half = [g for g in right if g["fill"] == 0.5 and g["batch"] >= LARGE_BATCH]
    flashrnn = [g for g in right if (g["batch"], g["units"]) == (16, 768)]
    return [
        Goal(
            f"Full batches, H up to {SMALL_UNITS}: faster than cuDNN, padded or packed",
            *(1.0, least(faster(g, OURS, CUDNN) for g in full), " times", True),
        ),
        Goal(
            f"Half-filled ragged batches of {LARGE_BATCH} and more: faster than cuDNN, "
            "padded or packed",
            *(2.0, least(faster(g, OURS, CUDNN) for g in half), " times", True),
        ),
        Goal(
            "The same: faster than PackedSequence",
            *(5.0, least(faster(g, OURS, CUDNN[1:]) for g in half), " times", True),
        ),
        Goal(
            "Masks with holes over right padding of the same lengths",
            *(1.1, holes_over_right(forward), " times", False),
        ),
        Goal(
            "bf16, H = 768, B = 16: faster than FlashRNN's fused kernel",
            *(2.0, least(faster(g, [OURS_BF16], [FLASHRNN]) for g in flashrnn), " times", True),
        ),
    ]


def holes_over_right(groups: list[Group]) -> float | None:
    """The largest ratio of the times of a case with holes and of its right-padded twin."""
    sizes = ("batch", "time", "features", "units", "fill")
    right = {tuple(g[s] for s in sizes): g for g in groups if g["kind"] == "right"}
    ratios = []
    for group in groups:
        twin = right.get(tuple(group[s] for s in sizes))
        if group["kind"] == "holes" and twin is not None:
            for name in OURS:
                holes, padded = median(group, [name]), median(twin, [name])
                ratios += [holes / padded] if holes and padded else []
    return max(ratios, default=None)
