"""fastmask's own model file: a zip of .npy files, as `numpy.savez` writes it.

    config.npy         uint8: JSON with format, version and the model (see `models.config`)
    w0.npy, w1.npy ... the weights, in the order of `get_weights`

A file may come from a stranger. So the reader does not use pickle, makes only known classes,
requires exactly these members, stored without compression, and checks what they claim: the sizes
of all members must fit into the file, and the weights' shapes must be those of the described
model, before an array is made.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np

from .._typing import Array
from ..layers import Layer
from ..layers._call_graph import CallGraph
from ..layers._weights import filling
from ..models.config import deserialize, number_of_layers, serialize
from ..models.known_classes import classes_of, known_classes
from ._npy import read_array
from ._reading import different_keys, opened, refusing
from ._writing import write_whole
from ._zips import archive_in, check_stored, names_told

_FORMAT, _VERSION = "fastmask", 1
_CONFIG = "config.npy"
_MOST_CONFIG_BYTES = 16 * 2**20
_MOST_LAYERS = 4096  # a file of a few megabytes could describe more than are made in an hour


def save(model: Layer, path: Path) -> None:
    """See `fastmask.save_model`."""
    text = _description_of(model)
    weights = {f"w{i}": _little_endian(value) for i, value in enumerate(model.get_weights())}
    config = np.frombuffer(text.encode(), np.uint8)

    def fill(file: IO[bytes]) -> None:
        np.savez(file, config=config, **weights)  # type: ignore[arg-type]  # NumPy: bool

    write_whole(path, fill)


def _description_of(model: Layer) -> str:
    """The JSON text from which `load` can make the model again."""
    layers = list(model._all_layers())
    _check_built(layers, "model must be built before it is saved")
    try:
        described = serialize(model)
        _check_number(described)
        text = json.dumps({"format": _FORMAT, "version": _VERSION, "model": described})
        if len(text) > _MOST_CONFIG_BYTES:
            raise ValueError(f"its description takes more than {_MOST_CONFIG_BYTES} bytes")
        with filling("shapes", model.count_params()):
            again = deserialize(described, classes_of(layers))
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"model {model.name!r} cannot be saved: {error}") from error
    pairs = zip(layers, again._all_layers(), strict=False)
    own = [(one, made) for one, made in pairs if not isinstance(one, CallGraph)]
    for layer, made in [*own, (model, again)]:
        found, wanted = ([weight.shape for weight in one.weights] for one in (made, layer))
        if found != wanted:
            raise ValueError(
                f"model {model.name!r} cannot be saved: layer {layer.name!r}, made again from its "
                f"get_config() and built, has weights of shapes {found}, not {wanted}: get_config "
                "must return the arguments of the constructor, and build must build the layers "
                "inside it"
            )
    return text


def _check_built(layers: list[Layer], expected: str) -> None:
    for layer in reversed(layers):  # name the layer rather than the model around it
        if not layer.built:
            raise ValueError(f"{expected}, but {layer.name!r} is not")


def _check_number(description: object) -> None:
    count = number_of_layers(description)
    if count > _MOST_LAYERS:
        raise ValueError(f"a file holds at most {_MOST_LAYERS} layers, not {count}")


def load(path: Path, custom_objects: Mapping[str, Any] | None) -> Any:
    """See `fastmask.load_model`."""
    classes = known_classes(custom_objects)
    with (
        opened(path) as file,
        refusing(path, "is not a model that can be read"),
        archive_in(file) as archive,
    ):
        return _read(archive, file.size, classes)


def _read(archive: zipfile.ZipFile, limit: int, classes: Mapping[str, type[Layer]]) -> Any:
    members = archive.infolist()
    _check_members(members, limit)
    description = description_in(archive)
    with filling("shapes", limit):
        skeleton = deserialize(description, classes)
    _check_built(list(skeleton._all_layers()), "all its layers must be built")
    expected = [weight.value for weight in skeleton._all_weights()]
    if len(members) != 1 + len(expected):
        raise ValueError(f"it has {len(members) - 1} weights, but the model has {len(expected)}")
    weights = [
        read_array(archive, f"w{i}", value.shape, value.dtype) for i, value in enumerate(expected)
    ]
    with filling("uninitialized"):
        model = deserialize(description, classes)
    model.set_weights(weights)
    return model


def _check_members(members: list[zipfile.ZipInfo], limit: int) -> None:
    names = [member.filename for member in members]
    wanted = {_CONFIG, *(f"w{i}.npy" for i in range(len(members) - 1))}
    if "config.json" in names:
        raise ValueError("it is a model of Keras 3: name it .keras")
    if _CONFIG not in names:
        raise ValueError(
            f"it holds {names_told(names)}, but no config, so it is not a model that save_model "
            "wrote; weights alone are read by model.load_weights(path)"
        )
    if len(set(names)) != len(names):
        raise ValueError("two of its members have the same name")
    if set(names) != wanted:
        strange = names_told(name for name in names if name not in wanted)
        raise ValueError(f"it must hold config, w0, w1, ... and nothing else, but has {strange}")
    check_stored(members, limit, "which save_model does not do")


def description_in(archive: zipfile.ZipFile) -> Any:
    """The description of a model, for `deserialize`.

    Raises:
        ValueError: there is none, or it is too long, or of another version.
    """
    if archive.getinfo(_CONFIG).file_size > _MOST_CONFIG_BYTES:
        raise ValueError(f"its config is longer than {_MOST_CONFIG_BYTES} bytes")
    text = read_array(archive, "config", None, np.dtype(np.uint8)).tobytes()
    description = json.loads(text, object_pairs_hook=different_keys)
    if not isinstance(description, dict) or description.get("format") != _FORMAT:
        raise ValueError(f"its config does not say that its format is {_FORMAT}")
    if description.get("version") != _VERSION:
        raise ValueError(
            f"its version is {description.get('version')!r}; this fastmask reads {_VERSION}"
        )
    model = description.get("model")
    _check_number(model)
    return model


def _little_endian(value: Array) -> Array:
    return value.astype(value.dtype.newbyteorder("<"), copy=False)
