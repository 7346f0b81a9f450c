"""fastmask's own model file: a zip of .npy files, as `numpy.savez` writes it.

    config.npy         uint8: JSON with format, version and the model (see `_serial`)
    w0.npy, w1.npy ... the weights, in the order of `get_weights`

A file may come from a stranger. So the reader does not use pickle, makes only known classes,
wants exactly these members, stored without compression, and looks at what they say of
themselves before it believes it: the sizes of all members must fit into the file, and the
weights' shapes must be those of the described model, before an array is made.
"""

from __future__ import annotations

import io
import json
import os
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy

from .._serial import deserialize, known_classes, serialize
from .._typing import Array
from ..layers import Layer
from ..layers._weights import filling

_FORMAT, _VERSION = "fastmask", 1
_CONFIG = "config.npy"
_MOST_CONFIG_BYTES = 16 * 2**20

# What the standard library and NumPy raise on damaged files, besides ValueError.
_DAMAGE = (
    *(zipfile.BadZipFile, zipfile.LargeZipFile, struct.error, SyntaxError, RecursionError),
    *(TypeError, KeyError, IndexError, AttributeError, EOFError, OverflowError, MemoryError),
    *(NotImplementedError, RuntimeError),
)


def save(model: Layer, path: Path) -> None:
    """See `fastmask.save_model`."""
    text = _description_of(model)
    weights = {f"w{i}": _little_endian(value) for i, value in enumerate(model.get_weights())}
    config = np.frombuffer(text.encode(), np.uint8)
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{os.urandom(4).hex()}")
    try:
        with open(temporary, "xb") as file:
            np.savez(file, config=config, **weights)  # type: ignore[arg-type]  # NumPy: bool
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _description_of(model: Layer) -> str:
    """The JSON text from which `load` can make the model again."""
    layers = list(model._all_layers())
    for layer in reversed(layers):  # name the layer rather than the model around it
        if not layer.built:
            raise ValueError(f"model must be built before it is saved, but {layer.name!r} is not")
    try:
        described = serialize(model)
        text = json.dumps({"format": _FORMAT, "version": _VERSION, "model": described})
        with filling("shapes"):
            again = deserialize(described, {type(layer).__name__: type(layer) for layer in layers})
    except (TypeError, ValueError) as error:
        raise ValueError(f"model {model.name!r} cannot be saved: {error}") from error
    shapes, wanted = ([weight.shape for weight in one.weights] for one in (again, model))
    if shapes != wanted:
        raise ValueError(
            f"model {model.name!r} cannot be saved: made again from its get_config() and built, "
            f"it has weights of shapes {shapes}, not {wanted}"
        )
    return text


def load(path: Path, custom_objects: Mapping[str, type[Layer]] | None) -> Any:
    """See `fastmask.load_model`."""
    classes = known_classes(custom_objects)
    content = path.read_bytes()  # at once, so that errors of the disk are not taken for damage
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            return _read(archive, len(content), classes)
    except (ValueError, *_DAMAGE) as error:
        reason = str(error) or type(error).__name__
        raise ValueError(f"{path} is not a model that can be read: {reason}") from error


def _read(archive: zipfile.ZipFile, limit: int, classes: Mapping[str, type[Layer]]) -> Any:
    members = archive.infolist()
    _check_members(members, limit)
    description = _description(archive.read(_CONFIG))
    with filling("shapes"):
        skeleton = deserialize(description, classes)
    expected = [weight.value for weight in skeleton._all_weights()]
    if len(members) != 1 + len(expected):
        raise ValueError(f"it has {len(members) - 1} weights, but the model has {len(expected)}")
    weights = [
        _array(archive.read(f"w{i}.npy"), f"w{i}", value.shape, value.dtype)
        for i, value in enumerate(expected)
    ]
    with filling("uninitialised"):
        model = deserialize(description, classes)
    model.set_weights(weights)
    return model


def _check_members(members: list[zipfile.ZipInfo], limit: int) -> None:
    names = [member.filename for member in members]
    wanted = {_CONFIG, *(f"w{i}.npy" for i in range(len(members) - 1))}
    if len(set(names)) != len(names) or set(names) != wanted:
        strange = sorted(set(names) ^ wanted)[:3] or "twice the same"
        raise ValueError(f"its members are not config, w0, w1, ...: {strange}")
    if any(member.compress_type != zipfile.ZIP_STORED for member in members):
        raise ValueError("its members are compressed, which save_model does not do")
    if any(member.file_size != member.compress_size for member in members):
        raise ValueError("the sizes of its members contradict each other")
    if sum(member.file_size for member in members) > limit:
        raise ValueError("its members claim to be longer than the file")


def _description(content: bytes) -> Any:
    if len(content) > _MOST_CONFIG_BYTES:
        raise ValueError(f"its config is longer than {_MOST_CONFIG_BYTES} bytes")
    text = _array(content, "config", None, np.dtype(np.uint8)).tobytes()
    description = json.loads(text)
    if not isinstance(description, dict) or description.get("format") != _FORMAT:
        raise ValueError(f"its config does not say that its format is {_FORMAT}")
    if description.get("version") != _VERSION:
        raise ValueError(
            f"its version is {description.get('version')!r}; this fastmask reads {_VERSION}"
        )
    return description.get("model")


def _array(content: bytes, name: str, shape: tuple[int, ...] | None, dtype: np.dtype[Any]) -> Array:
    """The array in a .npy file, which must have `dtype` and `shape` (None: one axis)."""
    stream = io.BytesIO(content)
    if npy.read_magic(stream) != (1, 0):
        raise ValueError(f"{name} is not in version 1.0 of the .npy format")
    stored_shape, fortran, stored_dtype = npy.read_array_header_1_0(stream)
    data = content[stream.tell() :]
    if shape is None:
        shape = (len(data) // dtype.itemsize,)
    if stored_shape != shape or fortran:
        raise ValueError(f"{name} must have shape {shape}, not {stored_shape}")
    if stored_dtype != dtype.newbyteorder("<"):
        raise ValueError(f"{name} must have dtype {dtype}, not {stored_dtype}")
    if len(data) != int(np.prod(shape, dtype=object)) * dtype.itemsize:
        raise ValueError(f"{name} must have {shape} numbers, but its data has another length")
    return np.frombuffer(data, stored_dtype).reshape(shape)


def _little_endian(value: Array) -> Array:
    return value.astype(value.dtype.newbyteorder("<"), copy=False)
