"""A handler of XLA's foreign function interface, written in Python: no compiler, no copies.

XLA calls it with a frame that describes its own buffers, which NumPy sees as arrays. What is to be
computed stands in the one attribute of the call, as text: so a program from JAX's compilation cache
finds it in another process.

The structures are those of the header c_api.h that comes with jaxlib, for the CPU.
"""

from __future__ import annotations

import ctypes
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from .._typing import Array

KNOWN = [(0, 3)]
"""The versions of the interface with these structures."""

Host = Callable[[str, Sequence[Array], Sequence[Array]], None]
"""Computes what the text says: outputs to be written, inputs."""

_EXECUTE = 3  # the stage of a call
_METADATA = 1  # the type of an extension that asks for versions
_STRING = 4  # the type of an attribute
_INTERNAL = 13  # the code of an error
_DTYPES = {1: np.dtype(np.bool_), 11: np.dtype(np.float32), 12: np.dtype(np.float64)}

_pointer, _size, _int32, _int64 = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int32, ctypes.c_int64


def _struct(name: str, **fields: Any) -> Any:
    head = [("struct_size", _size), ("extension", _pointer)]
    return type(name, (ctypes.Structure,), {"_fields_": head + list(fields.items())})


_to = ctypes.POINTER
_Extension = _struct("Extension")  # its second word is the type
_Metadata = type(
    "Metadata",
    (ctypes.Structure,),
    {
        "_fields_": [
            ("struct_size", _size),
            ("version_size", _size),
            ("version_extension", _pointer),
            ("major", _int32),
            ("minor", _int32),
            ("traits", ctypes.c_uint32),
        ]
    },
)
_MetadataExtension = type(
    "MetadataExtension",
    (ctypes.Structure,),
    {
        "_fields_": [
            ("struct_size", _size),
            ("type", _int32),
            ("next", _pointer),
            ("metadata", _to(_Metadata)),
        ]
    },
)
_Buffer = _struct("Buffer", dtype=_int32, data=_pointer, rank=_int64, dims=_to(_int64))
_Buffers = _struct("Buffers", count=_int64, types=_pointer, each=_to(_to(_Buffer)))
_Text = type("Text", (ctypes.Structure,), {"_fields_": [("start", _pointer), ("length", _size)]})
_Attributes = _struct(
    "Attributes", count=_int64, types=_to(_int32), names=_pointer, each=_to(_to(_Text))
)
_Error = _struct("Error", message=ctypes.c_char_p, code=_int32)
_Api = _struct(
    "Api",
    version_size=_size,
    version_extension=_pointer,
    major=_int32,
    minor=_int32,
    internal=_pointer,
    new_error=ctypes.CFUNCTYPE(_pointer, _to(_Error)),
)
_Frame = _struct(
    "Frame",
    api=_to(_Api),
    context=_pointer,
    stage=_int32,
    inputs=_Buffers,
    outputs=_Buffers,
    attributes=_Attributes,
)


def why_not() -> str:
    """Why the installed jaxlib cannot call a handler; empty where it can."""
    try:
        header = (Path(jax.ffi.include_dir()) / "xla/ffi/api/c_api.h").read_text()
    except (AttributeError, OSError) as error:
        return f"the version of XLA's interface is unknown: {error}"
    numbers = [re.search(rf"define XLA_FFI_API_{w} (\d+)", header) for w in ("MAJOR", "MINOR")]
    version = tuple([int(found[1]) for found in numbers if found])
    return "" if version in KNOWN else f"XLA's interface has the version {version}, not {KNOWN}"


def register(name: str, host: Host) -> None:
    """Let XLA call `host` for targets of a name on the CPU, as long as the process lives."""

    def handler(frame: Any) -> int | None:
        call = frame.contents
        try:
            if call.extension and _answered(call):
                return None
            if call.stage == _EXECUTE:
                outputs = _arrays(call.outputs)
                host(_text(call.attributes), outputs, _arrays(call.inputs))
        except BaseException as error:
            told = f"{type(error).__name__}: {error}".encode()
            made = _Error(ctypes.sizeof(_Error), None, told, _INTERNAL)
            pointer: int | None = call.api.contents.new_error(ctypes.byref(made))
            return pointer
        return None

    function = ctypes.CFUNCTYPE(_pointer, _to(_Frame))(handler)
    _kept.append(function)
    new_capsule = ctypes.pythonapi.PyCapsule_New
    new_capsule.restype = ctypes.py_object
    new_capsule.argtypes = [_pointer, ctypes.c_char_p, _pointer]
    jax.ffi.register_ffi_target(
        name, new_capsule(ctypes.cast(function, _pointer), None, None), platform="cpu"
    )


_kept: list[Any] = []  # what XLA may call


def _answered(call: Any) -> bool:
    """Whether the call was no call but asked for the version, which it has been told."""
    asked: Any = ctypes.cast(call.extension, _to(_MetadataExtension)).contents
    if asked.type != _METADATA:
        return False
    metadata, api = asked.metadata.contents, call.api.contents
    metadata.major, metadata.minor, metadata.traits = api.major, api.minor, 0
    return True


def _text(attributes: Any) -> str:
    if attributes.count != 1 or attributes.types[0] != _STRING:
        raise RuntimeError("the call does not have the one attribute that it must have")
    text = attributes.each[0].contents
    return ctypes.string_at(text.start, text.length).decode()


def _arrays(buffers: Any) -> list[Array]:
    return [_array(buffers.each[i].contents) for i in range(buffers.count)]


def _array(buffer: Any) -> Array:
    shape, dtype = buffer.dims[: buffer.rank], _DTYPES[buffer.dtype]
    size = dtype.itemsize
    for length in shape:
        size *= length
    if not size:
        return np.empty(shape, dtype)
    memory: Any = (ctypes.c_char * size).from_address(buffer.data)
    array: Array = np.frombuffer(memory, dtype).reshape(shape)
    return array
