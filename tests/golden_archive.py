"""Many small arrays in one .npz file, equal arrays stored once: the layout of the golden data.

| array in the file | what it holds |
|---|---|
| `names` | the name of each array |
| `starts` | where in `values` its elements begin |
| `shapes` | its shape, padded with zeros |
| `values` | the elements of all arrays, one array after the other |
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]


def write(path: Path, arrays: Mapping[str, npt.NDArray[Any]], **extra: npt.NDArray[Any]) -> None:
    """Store the arrays as float32, and those of `extra` as they are, beside them."""
    axes = max(array.ndim for array in arrays.values())
    start_of: dict[bytes, int] = {}
    starts, values, size = [], [], 0
    for array in arrays.values():
        flat = np.ascontiguousarray(array, np.float32).ravel()
        starts.append(start_of.setdefault(flat.tobytes(), size))
        if starts[-1] == size:
            values.append(flat)
            size += flat.size
    np.savez_compressed(
        path,
        names=np.array(list(arrays)),
        starts=np.array(starts, np.int32),
        shapes=np.array([a.shape + (0,) * (axes - a.ndim) for a in arrays.values()], np.int32),
        values=np.concatenate(values),
        **extra,
    )


def read(path: Path) -> dict[str, FloatArray]:
    """The stored arrays by name, in the order in which they were written."""
    with np.load(path, allow_pickle=False) as file:
        names, starts, shapes, values = (file[n] for n in ("names", "starts", "shapes", "values"))
    arrays = {}
    for name, start, padded in zip(names.tolist(), starts, shapes, strict=True):
        shape = [int(n) for n in padded if n]
        arrays[name] = values[start : start + math.prod(shape)].reshape(shape)
    return arrays
