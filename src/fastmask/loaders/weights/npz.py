"""The weights in a .npz file: `save_model`'s, or of `numpy.savez(path, *model.get_weights())`."""

from __future__ import annotations

import re

import numpy as np

from ..._typing import Array
from ...layers import Layer
from ...layers._weights import Weight
from .._npy import read_array, read_header
from .._reading import Reader
from .._zips import OF_NUMPY, archive_in, check_stored, names_told
from .stored import Misfit

_NUMBERS = re.compile("[<|][fiub][1248]")


def values(model: Layer, file: Reader) -> list[Array]:
    """The weights for a model, which the file has in the order of `get_weights`."""
    own = list(model._all_weights())
    with archive_in(file) as archive:
        names = _names(archive.namelist())
        check_stored(archive.infolist(), file.size, OF_NUMPY)
        lines, dtypes = [], []
        for name, weight in zip(names, own, strict=False):
            with archive.open(f"{name}.npy") as stream:
                descr, shape, _ = read_header(stream, name)
            if shape != str(weight.value.shape) or not _NUMBERS.fullmatch(descr):
                lines.append(
                    f"{weight.name}: wants {weight.value.shape}; the file's {name} has {shape} "
                    f"of dtype {descr}"
                )
            dtypes.append(descr)
        lines += _left_over(names, own)
        if lines:
            raise Misfit(lines)
        return [
            read_array(archive, name, weight.value.shape, np.dtype(descr))
            for name, weight, descr in zip(names, own, dtypes, strict=True)
        ]


def _names(members: list[str]) -> list[str]:
    """The names of the arrays, in order."""
    for prefix in ("w", "arr_"):
        count = sum(name.startswith(prefix) for name in members)
        names = [f"{prefix}{i}" for i in range(count)]
        if {f"{name}.npy" for name in names} == set(members) - {"config.npy"}:
            return names
    raise ValueError(
        f"it holds {names_told(members)}, not weights as w0, w1, ..., or arr_0, arr_1, ..."
    )


def _left_over(names: list[str], own: list[Weight]) -> list[str]:
    both = min(len(names), len(own))
    missing = [f"{one.name}: wants {one.value.shape}; nothing is left" for one in own[both:]]
    return missing + [
        f"the file has {name}, which the model does not have" for name in names[both:]
    ]
