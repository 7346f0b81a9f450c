"""Microseconds per time step against the number of units, one panel per kind of batch."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

from benchmarks.cuda.cases import CUDNN, FLASHRNN, OURS, OURS_BF16

# Okabe and Ito's palette, as in benchmarks.picture; solid lines are float32.
STYLES: dict[str, dict[str, Any]] = {
    OURS[0]: {"color": "#0072B2", "marker": "o", "linewidth": 2.8, "zorder": 5},
    OURS[1]: {"color": "#56B4E9", "marker": "o", "linewidth": 2.2, "zorder": 4},
    OURS_BF16: {"color": "#0072B2", "marker": "o", "linestyle": "--", "zorder": 5},
    CUDNN[0]: {"color": "#009E73", "marker": "^"},
    CUDNN[1]: {"color": "#CC79A7", "marker": "D"},
    "cuDNN padded TF32": {"color": "#009E73", "marker": "^", "linestyle": ":"},
    "cuDNN padded fp16": {"color": "#009E73", "marker": "^", "linestyle": "--"},
    FLASHRNN: {"color": "#E69F00", "marker": "s", "linestyle": "--"},
}
COLUMNS = 3

Group = dict[str, Any]


def draw(device: str, groups: list[Group], training: bool, path: Path) -> bool:
    """Write a picture; False without matplotlib or anything to draw."""
    panels = panels_of(groups, training)
    if not panels or importlib.util.find_spec("matplotlib") is None:
        return False
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    with mpl.rc_context({"svg.hashsalt": "fastmask", "font.size": 10, "axes.titlesize": 10.5}):
        columns = min(COLUMNS, len(panels))
        rows = -(-len(panels) // columns)
        size = (1.2 + 4.2 * columns, 3.2 * rows + 1.2)
        figure, axes = plt.subplots(rows, columns, figsize=size, squeeze=False)
        for axis in axes.flat[len(panels) :]:
            axis.set_visible(False)
        for axis, (name, members) in zip(axes.flat, panels.items(), strict=False):
            draw_panel(axis, name, members)
        for axis in axes[:, 0]:
            axis.set_ylabel("microseconds a step")
        what = "forward and backward" if training else "forward"
        figure.suptitle(f"LSTM, {what}, {device}: lower is better", fontsize=11.5)
        handles = {
            label: handle
            for axis in axes.flat
            for handle, label in zip(*axis.get_legend_handles_labels(), strict=True)
        }
        figure.legend(handles.values(), handles.keys(), loc="lower center", ncols=4, frameon=False)
        figure.tight_layout(rect=(0, 0.8 / size[1], 1, 1))
        figure.savefig(path, facecolor="white", metadata={"Date": None})
        plt.close(figure)
    return True


def panels_of(groups: list[Group], training: bool) -> dict[str, list[Group]]:
    """Right-padded LSTM groups of several sizes, by batch, time and fill, fewest units first."""
    panels: dict[str, list[Group]] = {}
    for group in sorted(groups, key=lambda g: (-g["fill"], g["batch"], g["time"], g["units"])):
        timed = group["training"] == training and group["seconds"]
        if timed and group["cell"] == "lstm" and group["kind"] == "right":
            name = f"batch {group['batch']}, time {group['time']}, fill {group['fill']:g}"
            panels.setdefault(name, []).append(group)
    return {name: members for name, members in panels.items() if len(members) > 1}


def draw_panel(axis: Any, name: str, groups: list[Group]) -> None:
    """One line per contender."""
    for contender, style in STYLES.items():
        points = [
            (group["units"], 1e6 * group["seconds"][contender]["median"] / group["time"])
            for group in groups
            if contender in group["seconds"]
        ]
        if points:
            look = {"linewidth": 1.6, "markersize": 5, **style}
            axis.plot(*zip(*points, strict=True), label=contender, **look)
    units = sorted({group["units"] for group in groups})
    axis.set_title(name)
    axis.set_xscale("log", base=2)
    axis.set_xticks(units, map(str, units))
    axis.set_xlabel("units")
    axis.set_yscale("log", base=2)
    axis.yaxis.set_major_formatter("{x:g}")
    axis.minorticks_off()
    axis.grid(color="#dddddd", linewidth=0.7)
    axis.set_axisbelow(True)
    axis.spines[["top", "right"]].set_visible(False)
