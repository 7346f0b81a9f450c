"""Load weights from a file into a built model; the extension of the file gives its format.

All formats are read as modules (`stored.Module`): parts with torch's names, whose arrays are not
read yet. `matching` finds the layer of each, by shapes; then the arrays are read and converted to
the layer's weights (`forms`).
"""

from __future__ import annotations

import os
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..._checks import alternatives
from .._reading import may_be_torch, opened, refusing
from .stored import Misfit

if TYPE_CHECKING:
    from ...layers import Layer

FORMATS = {
    ".weights.h5": "keras",
    ".weights.json": "keras",
    ".keras": "keras",
    ".h5": "keras",
    ".hdf5": "keras",
    ".npz": "npz",
    ".onnx": "onnx",
    ".pt": "state_dict",
    ".pth": "state_dict",
    ".safetensors": "safetensors",
}
_MOST_LINES = 40


def load_weights(model: Layer, path: str | os.PathLike[str]) -> None:
    """See `fastmask.Model.load_weights`."""
    try:
        file_name = Path(path)
    except TypeError:
        raise TypeError(f"path must be the name of a file, not {path!r}") from None
    reader = import_module(f".{_format(file_name.name)}", __name__)
    unbuilt = [layer.name for layer in model._all_layers() if not layer.built]
    if unbuilt:
        other = (
            "; its own build does not build it"
            if model.built
            else ", or its build(input_shape), with a shape such as (None, None) for ids or "
            "(None, None, 3) for vectors"
        )
        raise ValueError(
            f"model {model.name!r} must be built before it takes weights from a file, but layer "
            f"{unbuilt[-1]!r} is not: call the model on some data{other}"
        )
    misfits: list[str] = []
    with opened(file_name) as file, refusing(file_name, "has no weights that can be read"):
        try:
            with np.errstate(all="ignore"):  # a damaged file may hold any numbers
                values = reader.values(model, file)
        except Misfit as misfit:
            misfits = misfit.lines
    if misfits:
        raise ValueError(_told(misfits, model.name, file_name))
    with np.errstate(all="ignore"):
        model.set_weights(values)
    for layer in model._all_layers():
        layer._of_keras = _format(file_name.name) == "keras"


def _format(name: str) -> str:
    for ending, module in FORMATS.items():
        if name.lower().endswith(ending):
            return module
    known = alternatives(FORMATS)
    raise ValueError(f"path must end in {known}, not {name!r}{may_be_torch(name)}")


def _told(lines: list[str], model: str, path: Path) -> str:
    shown = [f"{line:.300}" for line in lines[:_MOST_LINES]]
    if len(lines) > _MOST_LINES:
        shown.append(f"and {len(lines) - _MOST_LINES} more")
    return "\n  ".join([f"the weights in {path} do not fit model {model!r}:", *shown])
