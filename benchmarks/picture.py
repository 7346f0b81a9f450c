"""The pictures of the report: time against fill, one line per library, the limit below them."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

from benchmarks import summary
from benchmarks.cases import PICTURE_SHAPES, TRAINING_BATCHES
from benchmarks.machine import processor
from benchmarks.peers import FASTMASK, RIVALS

# Okabe and Ito's palette, which color-blind readers can tell apart; the marks differ as well.
STYLES: dict[str, dict[str, Any]] = {
    FASTMASK.name: {"color": "#0072B2", "marker": "o", "linewidth": 2.8, "zorder": 5},
    **{
        rival.name: {"color": color, "marker": marker}
        for rival, color, marker in zip(
            RIVALS, ("#E69F00", "#D55E00", "#009E73", "#CC79A7"), "sv^D", strict=True
        )
    },
}
DRAWN = {  # section: shapes, what a call is
    "lstm": (PICTURE_SHAPES, "One LSTM call"),
    "training": (TRAINING_BATCHES, "One forward and backward call of an LSTM"),
}
LIMIT_STYLE: dict[str, Any] = {"color": "#444444", "linestyle": (0, (4, 2)), "linewidth": 1.3}


def draw(name: str, section: dict[str, Any], path: Path) -> bool:
    """Write a section's picture to `path`; False without matplotlib or a shape at several fills."""
    shapes, title = DRAWN[name]
    panels = [groups for shape in shapes if len(groups := at_all_fills(section, shape)) > 1]
    if not panels or importlib.util.find_spec("matplotlib") is None:
        return False
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    settings: Any = {"svg.hashsalt": "fastmask", "font.size": 10, "axes.titlesize": 10.5}
    with mpl.rc_context(settings):
        columns = min(2, len(panels))
        rows = -(-len(panels) // columns)
        figure, axes = plt.subplots(
            rows, columns, figsize=(4.6 * columns, 2.15 * rows + 0.9), squeeze=False
        )
        for axis in axes.flat[len(panels) :]:
            axis.set_visible(False)
        for axis, groups in zip(axes.flat, panels, strict=False):
            draw_panel(axis, groups)
        for axis in axes[:, 0]:
            axis.set_ylabel("milliseconds")
        for axis in axes[-1]:
            axis.set_xlabel("valid steps in the batch")
        handles, labels = axes.flat[0].get_legend_handles_labels()
        about = section["about"]
        figure.suptitle(
            f"{title}, float32, {about['threads']} threads, {processor(about)}: lower is better",
            y=0.985,
            fontsize=11.5,
        )
        top = 1.0 - 0.36 / figure.get_figheight()
        figure.legend(
            handles, labels, loc="upper center", bbox_to_anchor=(0.5, top), ncols=6, frameon=False
        )
        figure.tight_layout(rect=(0, 0, 1, top - 0.25 / figure.get_figheight()))
        figure.savefig(path, facecolor="white", metadata={"Date": None})
        plt.close(figure)
    return True


def at_all_fills(section: dict[str, Any], shape: tuple[int, ...]) -> list[dict[str, Any]]:
    """The right-padded LSTM groups of a shape, emptiest first."""
    groups = [
        group
        for group in section["groups"]
        if (group["batch"], group["time"], group["features"], group["units"]) == shape
        and group.get("cell", "lstm") == "lstm"
    ]
    return sorted(groups, key=lambda group: group["steps"])


def draw_panel(axis: Any, groups: list[dict[str, Any]]) -> None:
    """One shape: a line per contender over the share of valid steps."""
    first = groups[0]
    fills = [100 * group["steps"] / (group["batch"] * group["time"]) for group in groups]
    for name, style in STYLES.items():
        if name in first["seconds"]:
            times = [1e3 * group["seconds"][name]["median"] for group in groups]
            axis.plot(fills, times, label=name, **{"linewidth": 1.6, "markersize": 5, **style})
    axis.plot(fills, [1e3 * summary.limit(group) for group in groups], label="limit", **LIMIT_STYLE)
    axis.set_title(
        f"batch {first['batch']}, time {first['time']}, "
        f"{first['features']} features, {first['units']} units"
    )
    axis.set_xlim(0, 104)
    axis.set_ylim(bottom=0)
    axis.set_xticks([0, 25, 50, 75, 100], ["0", "25 %", "50 %", "75 %", "100 %"])
    axis.grid(color="#dddddd", linewidth=0.7)
    axis.set_axisbelow(True)
    axis.spines[["top", "right"]].set_visible(False)
