"""Quantized layers in the report: times, errors, and goals."""

from __future__ import annotations

from typing import Any

from benchmarks import summary
from benchmarks.markdown import milliseconds, ratio, table
from benchmarks.peers import FASTMASK
from benchmarks.quantized_peers import MODES, OURS, QUANTIZED, RIVALS
from benchmarks.summary import BATCH_1, CLASSES, Goal, Group

INTRODUCTION = """
Inference with weights and products of fewer bits, next to float32, in milliseconds, with the
largest error of an output against float64 in parentheses. `layer.quantize("bfloat16")` and
`layer.quantize("int8")`; ONNX Runtime's own dynamic quantization (LSTM only), with a scale per
column, and with weights of 7 bits where the processor lacks VNNI, because its products of 8 bits
saturate there; OpenVINO restricted to bfloat16; PyTorch's dynamic quantization of a padded batch.
The peaks are the rates of nothing but dot products in registers, on all threads.
"""
THEIRS = RIVALS[0].name


def part(section: dict[str, Any], _: list[str]) -> list[str]:
    """Empty where fastmask is not installed."""
    if "groups" not in section:
        return []
    names = [peer.name for peer in QUANTIZED]
    titles = ["cell, batch x time, features -> units", "fill", *names]
    titles += [f"{mode}, times as fast as own float32" for mode in MODES]
    titles += [f"int8, times as fast as {THEIRS}", *(f"share of {mode} peak" for mode in MODES)]
    rows = [
        [
            f"{summary.cell_name(group)}, {summary.shape(group)}",
            f"{group['fill']:g}",
            *(timed(group, name) for name in names),
            *(ratio(faster(group, ours.name, FASTMASK.name)) for ours in OURS),
            ratio(faster(group, OURS[-1].name, THEIRS)),
            *(share(section, group, mode) for mode in MODES),
        ]
        for group in section["groups"]
    ]
    peaks = (f"{mode} {summary.peak_gflops(section, mode):.0f}" for mode in ("float32", *MODES))
    parts = [
        "## Quantization",
        INTRODUCTION,
        f"Peaks: {', '.join(peaks)} Gop/s.",
        table(titles, rows),
    ]
    if section["absent"]:
        absent = ", ".join(f"{name} ({', '.join(m)})" for name, m in section["absent"].items())
        parts.append(f"Not installed, so absent: {absent}.")
    return parts


def timed(group: Group, name: str) -> str:
    """A time and its error."""
    error = group["errors"].get(name)
    return "" if error is None else f"{milliseconds(group, name)} ({error:.0e})"


def faster(group: Group, mine: str, theirs: str) -> float | None:
    """The speed of `mine` as a multiple of that of `theirs`."""
    ours, other = summary.median(group, mine), summary.median(group, theirs)
    return None if ours is None or other is None else other / ours


def share(section: dict[str, Any], group: Group, mode: str) -> str:
    """Operations over the valid steps, as a share of the peak of their kind."""
    seconds = summary.median(group, f"fastmask {mode}")
    if seconds is None:
        return ""
    return f"{group['flops'] / seconds / 1e9 / summary.peak_gflops(section, mode):.0%}"


def goals(section: dict[str, Any]) -> list[Goal]:
    """The goals: faster than float32 and than the best 8-bit peer, with a small error."""
    groups = section.get("groups", [])
    batches = summary.of_class(groups, *CLASSES)
    singles = summary.of_class(groups, BATCH_1)
    found = []
    for (mode, ours), wanted in zip(
        zip(MODES, OURS, strict=True), ((1.7, 1.5), (2.8, 2.5)), strict=True
    ):
        for title, members, least in zip(
            ("batches", BATCH_1), (batches, singles), wanted, strict=True
        ):
            mean = summary.geometric_mean(faster(g, ours.name, FASTMASK.name) for g in members)
            name = f"{mode}, {title}: times as fast as own float32"
            found.append(Goal(name, least, mean, "x", True))
    for title, least in {**dict(zip(CLASSES, (1.4, 2.2, 3.5), strict=True)), BATCH_1: 1.4}.items():
        members = summary.of_class(groups, title)
        mean = summary.geometric_mean(faster(g, OURS[-1].name, THEIRS) for g in members)
        found.append(Goal(f"int8, {title}: times as fast as {THEIRS}", least, mean, "x", True))
    for (mode, ours), most in zip(zip(MODES, OURS, strict=True), (1e-2, 3e-2), strict=True):
        worst = summary.largest(group["errors"].get(ours.name) for group in groups)
        found.append(Goal(f"{mode}: largest error", most, worst, "", False))
    return found
