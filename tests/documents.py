"""Documents of sentences of words, for tests of masks of sequences within sequences."""

from __future__ import annotations

from typing import Any

import numpy as np

import fastmask as fm
from fastmask import layers as L


def documents(seed: int, *shape: int) -> Any:
    """Word ids with holes and padding; one sentence has no words, one document no sentences."""
    rng = np.random.default_rng(seed)
    ids = rng.integers(1, 9, shape or (4, 3, 5))
    ids[rng.random(ids.shape) < 0.3] = 0
    ids[0, 1] = 0
    ids[1, 2:] = 0
    ids[-1] = 0
    return ids


def embedded(ids: Any) -> fm.Masked:
    layer = L.Embedding(9, 4, mask_zero=True)
    x: fm.Masked = layer(ids)
    return x
