"""The weights in an HDF5 file with a group for each layer, as Keras writes models in .h5 files.

The root group, or its group model_weights, lists the names of the layers, and each layer's group
the names of its weights. Layers with weights take them one after the other.
"""

from __future__ import annotations

from ..._typing import Array
from ...layers import Layer
from ..hdf5 import Hdf5
from ..keras.places import in_order
from ..keras_names import children_of
from .stored import Misfit, with_known_floats

_LAYERS, _WEIGHTS, _GROUP = "layer_names", "weight_names", "model_weights"


def has_weights(file: Hdf5) -> bool:
    """Whether a file has this form."""
    return _GROUP in file or file.texts("", _LAYERS) is not None


def values(model: Layer, file: Hdf5) -> list[Array]:
    """The weights for a model.

    Raises:
        Misfit: there are other layers with weights, or weights of other shapes.
    """
    around = f"{_GROUP}/" if _GROUP in file else ""
    names = file.texts(around.rstrip("/"), _LAYERS) or []
    there = {name: file.texts(f"{around}{name}", _WEIGHTS) or [] for name in names}
    found = {f"{around}{name}": weights for name, weights in there.items() if weights}
    layers = [one for one in children_of(model) or [model] if next(one._all_weights(), None)]
    known = {f"{around}{layer.name}": layer for layer in layers}
    if set(known) == set(found):  # names tell more than the order
        layers = [known[name] for name in found]
    own = [list(in_order(layer, children_of)) for layer in layers]
    if len(own) != len(found):
        raise Misfit(
            [f"{len(own)} layers have weights, but in the file {len(found)}: {', '.join(found)}"]
        )
    paths: dict[int, str] = {}
    lines: list[str] = []
    for pairs, (group, weights) in zip(own, found.items(), strict=True):
        if len(pairs) != len(weights):
            shapes = ", ".join(str(weight.value.shape) for _, weight in pairs)
            lines.append(f"{group}: wants {shapes}, but has {', '.join(weights)}")
            continue
        for (_, weight), name in zip(pairs, weights, strict=True):
            paths[id(weight.value)] = path = f"{group}/{name}"
            shape = file.info(path).shape
            if shape != weight.value.shape:
                lines.append(f"{path}: wants {weight.value.shape}, but it is {shape}")
    if lines:
        raise Misfit(lines)
    every = [paths[id(weight.value)] for weight in model._all_weights()]
    return [with_known_floats(file.array(path)) for path in every]
