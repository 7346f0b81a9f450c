"""Layers that compute with tensors of another library: the error says to compute with NumPy."""

from __future__ import annotations

from collections.abc import Iterator
from types import ModuleType, TracebackType
from typing import Any

import numpy as np

_LIBRARIES = ("keras", "torch", "jax", "jaxlib", "tensorflow")
_NOT_OF_USERS = (*_LIBRARIES, "fastmask", "numpy")


def check_of_numpy(layer: Any, inputs: Any, outputs: Any) -> None:
    """Check that what `call` returned for NumPy arrays is no tensor of another library.

    Raises:
        TypeError: it is one.
    """
    for one in outputs if isinstance(outputs, (list, tuple)) else (outputs,):
        if type(one) is np.ndarray or _library(type(one).__module__) not in _LIBRARIES:
            continue
        if type(inputs[0] if isinstance(inputs, list) else inputs) is np.ndarray:
            kind = f"{type(one).__module__}.{type(one).__name__}"
            raise TypeError(f"{_must(layer)}, but returns a {kind}")


def explain_tensors(layer: Any, error: Exception) -> None:
    """Raise an error of `call` again with an explanation, if `call` uses another library.

    Raises:
        TypeError: it does.
    """
    used = None if _MUST in str(error) else next(_used(error.__traceback__), None)
    if used is not None:
        raise TypeError(f"{_must(layer)}, but uses {used}: {error}") from error


_MUST = "must compute with NumPy"


def _must(layer: Any) -> str:
    kind = type(layer).__name__
    return f"layer {layer.name!r} (of type {kind}) {_MUST}, as in np.tanh(x), not keras.ops.tanh(x)"


def _library(module: str) -> str:
    return module.partition(".")[0]


def _used(place: TracebackType | None) -> Iterator[str]:
    """The names from other libraries in the user's functions of a traceback."""
    while place is not None:
        frame, place = place.tb_frame, place.tb_next
        if _library(str(frame.f_globals.get("__name__"))) in _NOT_OF_USERS:
            continue
        for name in (*frame.f_code.co_names, *frame.f_code.co_freevars):
            value = frame.f_locals.get(name, frame.f_globals.get(name))
            module = value.__name__ if isinstance(value, ModuleType) else _module_of(value)
            if _library(module) in _LIBRARIES:
                yield module if isinstance(value, ModuleType) else f"{module}.{name}"


def _module_of(value: object) -> str:
    return str(getattr(value, "__module__", None))
