"""Handlers for XLA's foreign function interface in Python: zero-copy, and without a compiler.

XLA passes a call frame that describes its buffers, which NumPy sees as arrays. The call's only
attribute, a string, says what to compute, so a program from JAX's compilation cache also works in
another process.

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

from fastmask_kernels.xla import (
    API,
    ATTRIBUTES,
    BUFFER_WORDS,
    DATA,
    DIMENSIONS,
    DTYPE,
    EXECUTE,
    EXTENSION,
    FRAME_WORDS,
    HALF,
    INPUTS,
    OUTPUTS,
    RANK,
    STAGE,
    STRING,
)

from .._typing import Array

KNOWN = [(0, 3)]
"""The versions of the interface with these structures."""

Host = Callable[[str, Sequence[Array], Sequence[Array]], None]
"""Computes what a string describes; takes the string, the outputs to write, and the inputs."""

_METADATA = 1  # the type of an extension that asks for the version
_INTERNAL = 13  # the error code of an internal error
_DTYPES = {1: np.dtype(np.bool_), 11: np.dtype(np.float32), 12: np.dtype(np.float64)}

_pointer, _size, _int32, _int64 = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int32, ctypes.c_int64
_BEGIN = 64  # not 0, which NumPy takes for a null pointer
# The address space as one buffer, made once, because making one for each array takes time.
_memory: Any = (ctypes.c_char * (1 << 62)).from_address(_BEGIN)
_to = ctypes.POINTER


def _struct(name: str, **fields: Any) -> Any:
    return type(name, (ctypes.Structure,), {"_fields_": list(fields.items())})


_Metadata = _struct(
    "Metadata",
    struct_size=_size,
    version_size=_size,
    version_extension=_pointer,
    major=_int32,
    minor=_int32,
    traits=ctypes.c_uint32,
)
_Extension = _struct(
    "Extension", struct_size=_size, type=_int32, next=_pointer, metadata=_to(_Metadata)
)
_Error = _struct(
    "Error", struct_size=_size, extension=_pointer, message=ctypes.c_char_p, code=_int32
)
_Api = _struct(
    "Api",
    struct_size=_size,
    extension=_pointer,
    version_size=_size,
    version_extension=_pointer,
    major=_int32,
    minor=_int32,
    internal=_pointer,
    new_error=ctypes.CFUNCTYPE(_pointer, _to(_Error)),
)


def why_not() -> str:
    """Why the installed jaxlib cannot call a handler; empty if it can."""
    try:
        header = (Path(jax.ffi.include_dir()) / "xla/ffi/api/c_api.h").read_text()
    except (AttributeError, OSError) as error:
        return f"the version of XLA's interface is unknown: {error}"
    numbers = [re.search(rf"define XLA_FFI_API_{w} (\d+)", header) for w in ("MAJOR", "MINOR")]
    version = tuple([int(found[1]) for found in numbers if found])
    return "" if version in KNOWN else f"XLA's interface has version {version}, not {KNOWN}"


def handle(frame: int, host: Host) -> int | None:
    """Handle a call from XLA; returns the address of an error, or None."""
    call = read_words(frame, FRAME_WORDS)
    try:
        if call[EXTENSION] and _answered(call):
            return None
        if call[STAGE] & HALF == EXECUTE:
            host(_text(call), _arrays(call, OUTPUTS), _arrays(call, INPUTS))
    except BaseException as error:
        told = f"{type(error).__name__}: {error}".encode()
        made = _Error(ctypes.sizeof(_Error), None, told, _INTERNAL)
        pointer: int | None = _Api.from_address(call[API]).new_error(ctypes.byref(made))
        return pointer
    return None


def address_of(function: Callable[..., int | None], arguments: int = 1) -> int:
    """The address at which C can call a function of this many words, until the process ends."""
    made = ctypes.CFUNCTYPE(_pointer, *[_size] * arguments)(function)
    _kept.append(made)
    return ctypes.cast(made, _pointer).value or 0


def register(name: str, address: int) -> None:
    """Register the handler at an address with XLA, for custom calls to `name` on the CPU."""
    new_capsule = ctypes.pythonapi.PyCapsule_New
    new_capsule.restype = ctypes.py_object
    new_capsule.argtypes = [_pointer, ctypes.c_char_p, _pointer]
    jax.ffi.register_ffi_target(name, new_capsule(address, None, None), platform="cpu")


_kept: list[Any] = []  # kept alive, because XLA may call them


def _answered(call: list[int]) -> bool:
    """Answer a request for the version; returns False if the call is something else."""
    asked: Any = _Extension.from_address(call[EXTENSION])
    if asked.type != _METADATA:
        return False
    metadata, api = asked.metadata.contents, _Api.from_address(call[API])
    metadata.major, metadata.minor, metadata.traits = api.major, api.minor, 0
    return True


def read_words(address: int, count: int) -> list[int]:
    """The words at an address."""
    words: list[int] = (_int64 * count).from_address(address)[:]
    return words


def write_word(address: int, word: int) -> None:
    """Write a word to an address."""
    _int64.from_address(address).value = word


def _text(call: list[int]) -> str:
    count, types, _, each = call[ATTRIBUTES : ATTRIBUTES + 4]
    if count != 1 or _int32.from_address(types).value != STRING:
        raise RuntimeError("the call must have one attribute, a string")
    return ctypes.string_at(*read_words(read_words(each, 1)[0], 2)).decode()


def _arrays(call: list[int], place: int) -> list[Array]:
    count, _, each = call[place : place + 3]
    return list(map(_array, read_words(each, count)))


def _array(buffer: int) -> Array:
    words = read_words(buffer, BUFFER_WORDS)
    shape, dtype = read_words(words[DIMENSIONS], words[RANK]), _DTYPES[words[DTYPE] & HALF]
    return np.ndarray(shape, dtype, _memory, max(words[DATA] - _BEGIN, 0))
