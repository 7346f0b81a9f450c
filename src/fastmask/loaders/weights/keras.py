"""The weights that Keras saves: `.weights.h5`, `.weights.json` and its parts, or a model's file.

Each weight is an array `PATH/vars/NUMBER`, with the path of its layer (see `keras_names`). The
.weights.json file says in which files, beside it, the arrays of a path are. Models in .h5 files,
and older files, have them in another order (see `keras_groups`).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

import numpy as np

from ..._checks import shown
from ..._typing import Array, Shape
from ...layers import Layer
from ...layers._weights import Weight
from .._reading import Reader, different_keys, opened_beside
from ..hdf5 import Hdf5
from ..keras.archive import Archive
from ..keras_arrays import arrays_in
from ..keras_names import children_of, counted, layers_by_name, snake_case
from . import keras_groups
from .stored import Misfit, with_known_floats

_NAMES = ("layers", "_layer_checkpoint_dependencies")  # of a model's layers: Keras 3, and 2.13
_MOST_FILES = 4096


def values(model: Layer, file: Reader) -> list[Array]:
    """The weights for a model."""
    with files_of(file) as files:
        if keras_groups.has_weights(files[0]):
            return keras_groups.values(model, files[0])
        where = {name: one for one in files for name in arrays_in(one)}
        return _matched(model, where)


@contextmanager
def files_of(file: Reader) -> Iterator[list[Hdf5]]:
    """The HDF5 file itself, or the HDF5 files that a .weights.json file names."""
    path = Path(file.name)
    with ExitStack() as stack:
        if path.suffix.lower() == ".keras":
            archive = Archive(file)
            if archive.weights is None:
                raise ValueError("it has no weights")
            yield [archive.weights]
            archive.finish()
            return
        if path.suffix.lower() != ".json":
            yield [Hdf5(file, file.size)]
            return
        named = sorted(set(_names(file)))
        if len(named) > _MOST_FILES:
            raise ValueError(f"it names more than {_MOST_FILES} files")
        parts = [stack.enter_context(opened_beside(path, name)) for name in named]
        yield [
            Hdf5(part, part.size, name=repr(name)) for part, name in zip(parts, named, strict=True)
        ]


def _names(file: Reader) -> Iterator[str]:
    """The names of files in a .weights.json file."""
    content = json.loads(file.read(file.size), object_pairs_hook=different_keys)
    places = content.get("weight_map") if isinstance(content, dict) else None
    if not isinstance(places, dict):
        raise ValueError("it has no weight_map, as Keras writes it")
    for place in places.values():
        for name in place if isinstance(place, list) else [place]:
            if not isinstance(name, str):
                raise ValueError(f"weight_map must hold names of files, not {shown(name)}")
            yield name


def _matched(model: Layer, where: dict[str, Hdf5]) -> list[Array]:
    """The weights of all layers.

    Raises:
        Misfit: some are missing, have other shapes, or are too many.
    """
    root = next((name for name in _NAMES if any(one.startswith(f"{name}/") for one in where)), "")
    children = partial(_children, model, root, where)
    wanted: dict[str, Weight] = {}
    scales: dict[str, str] = {}  # of int8 weights
    lines: list[str] = []
    for path, layer in layers_by_name(model, children).items():
        named = path.startswith(f"{_NAMES[0]}/") and root  # else an attribute of a subclass
        around = f"{root}{path.removeprefix(_NAMES[0])}" if named else path
        around = f"{around}/vars/".lstrip("/")
        wanted |= {f"{around}{i}": weight for i, weight in enumerate(layer._weights)}
        first = f"{around}0"
        if first in where and where[first].info(first).dtype == np.int8:
            scales[first] = f"{around}{len(layer._weights)}"  # it comes after all weights
    for name, weight in wanted.items():
        lines += _differs(name, weight.name, weight.value.shape, where)
    for name, scale in scales.items():
        shape = wanted[name].value.shape
        of_rows = wanted[name].name == "embeddings"
        lines += _differs(scale, "scale", shape[:1] if of_rows else shape[-1:], where)
    lines += [
        f"the file has {name} {where[name].info(name).shape}, for which there is no weight"
        for name in where
        if name not in wanted and name not in scales.values()
    ]
    if lines:
        raise Misfit(lines)
    read = {id(one.value): _read(name, one, where, scales) for name, one in wanted.items()}
    return [read[id(weight.value)] for weight in model._all_weights()]


def _children(model: Layer, root: str, where: dict[str, Hdf5], layer: Layer) -> list[Layer] | None:
    """The layers of a model; if the file has their names, those of one class in its order."""
    own = children_of(layer)
    if layer is not model or own is None:
        return own
    files = list(dict.fromkeys(where.values()))
    alike: dict[str, list[Layer]] = {}
    for one in own:
        alike.setdefault(snake_case(type(one).__name__), []).append(one)
    result: list[Layer] = []
    for kind, layers in alike.items():
        groups = [f"{root}/{name}/vars" for name in counted([kind] * len(layers))]
        names = [next(filter(None, (f.text(g, "name") for f in files)), "") for g in groups]
        known = {one.name: one for one in layers}
        result += [known[name] for name in names] if set(names) == set(known) else layers
    return result


def _differs(name: str, what: str, wanted: Shape, where: dict[str, Hdf5]) -> list[str]:
    shape = where[name].info(name).shape if name in where else None
    if shape == wanted:
        return []
    found = "is not in the file" if shape is None else f"it is {shape}"
    return [f"{name} ({what}): wants {wanted}, but {found}"]


def _read(name: str, weight: Weight, where: dict[str, Hdf5], scales: dict[str, str]) -> Array:
    """The array of a weight, with int8 numbers scaled, and bfloat16 as float32."""
    array = where[name].array(name)
    if name in scales:
        scale = where[scales[name]].array(scales[name]).astype(np.float64)
        return array / (scale[:, np.newaxis] if weight.name == "embeddings" else scale)
    return with_known_floats(array)
