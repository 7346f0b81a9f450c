"""Draw a batch's mask with its plan, and the path of a mask through a model.

    pip install ".[plot]"
    python examples/draw_masks.py [FOLDER]

writes masks.svg and trace.svg, the guide's pictures.
"""

from __future__ import annotations

import sys
from pathlib import Path

import matplotlib as mpl
import numpy as np

import fastmask as fm

ROWS, STEPS = 12, 24


def some_mask() -> fm.Mask:
    """Rows of all kinds: padded at the end, at the front, with holes, and an empty one."""
    random = np.random.default_rng(3)
    lengths = np.minimum(STEPS, 1 + random.lognormal(2.2, 0.5, ROWS).astype(int))
    valid = np.arange(STEPS) < lengths[:, None]
    valid[3] = random.random(STEPS) < 0.5
    valid[7] = valid[7, ::-1]
    valid[9] = False
    return fm.Mask(valid)


def some_model() -> fm.Sequential:
    return fm.Sequential(
        [
            fm.layers.Embedding(100, 8, mask_zero=True, name="words"),
            fm.layers.LSTM(8, return_sequences=True, name="reader"),
            fm.layers.Dense(8, activation="relu", name="dense"),
            fm.layers.LSTM(4, name="judge"),
            fm.layers.Dense(2, activation="softmax", name="answer"),
        ]
    )


def main(folder: Path) -> None:
    """Write both pictures."""
    mask = some_mask()
    words = np.where(mask.valid, 7, 0)
    with mpl.rc_context({"svg.hashsalt": "fastmask"}):  # the same file in every run
        save = {"metadata": {"Date": None}}
        fm.plot_masks(mask).savefig(folder / "masks.svg", **save)
        fm.trace_masks(some_model(), words).plot().savefig(folder / "trace.svg", **save)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path())
