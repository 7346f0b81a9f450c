"""What is in a model's file, found out without building the model.

The module of each format has a function that returns a `Description`; nothing in a file is run,
imported or believed, as when it is loaded.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

from .._checks import alternatives
from ..layers import RNN, Bidirectional, Embedding
from ..layers._cell import KernelCell
from ..models.known_classes import known_classes
from ._reading import may_be_torch, opened, refusing

_FORMATS = {
    ".weights.h5": "keras_weights",
    ".weights.json": "keras_weights",
    ".npz": "npz",
    ".keras": "keras",
    ".h5": "keras",
    ".hdf5": "keras",
    ".safetensors": "tensors",
    ".pt": "tensors",
    ".pth": "tensors",
    ".onnx": "tensors",
}


class Row(NamedTuple):
    """A layer, or what stands for one."""

    layer: str  # its name in the file, after those around it: "encoder/words"
    type: str
    shapes: str  # of its output in a model; of its arrays in a file of weights
    parameters: int | None  # None if they are not known
    mask: str  # what it does with a mask: see `fastmask.Model.summary`
    support: str  # "yes", or why not


class Description(NamedTuple):
    """What is in a file."""

    title: str
    rows: list[Row]
    notes: list[str]  # further remarks
    inputs: str = ""  # names, shapes and dtypes of a model's inputs, in order
    outputs: str = ""  # the same for its outputs; only names if the model cannot be loaded
    faults: Sequence[str] = ()  # why a model cannot be loaded, other than for one of the rows


def describe(path: Path) -> Description:
    """What is in a file of any of the kinds that can be read.

    Raises:
        ValueError: the ending is unknown, or the file is damaged.
        OSError: it cannot be read.
    """
    name = path.name.lower()
    module = next((one for ending, one in _FORMATS.items() if name.endswith(ending)), None)
    if module is None:
        raise ValueError(f"{path} must end in {alternatives(_FORMATS)}{may_be_torch(name)}")
    with opened(path) as file, refusing(path, "is not a file that can be read"):
        found: Description = import_module(f".descriptions.{module}", __package__).describe(file)
        return found


def not_supported(wrong: int, count: int) -> str:
    """How many layers of a file are not supported."""
    if count == 1:
        return "its 1 layer is not supported"
    return f"{wrong} of its {count} layers {'is' if wrong == 1 else 'are'} not supported"


def effect_on_masks(kind: str) -> str:
    """What layers of a class do with a mask, as far as the class alone tells."""
    cls = known_classes().get(kind)
    if cls is None:
        return "?"
    if issubclass(cls, (RNN, Bidirectional, KernelCell)):
        return "used"
    if issubclass(cls, Embedding):
        return "made, with mask_zero"
    return "kept" if cls.supports_masking else "dropped"
