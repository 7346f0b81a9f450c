"""Model files; the extension of a file says which format it has."""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

from .._checks import alternatives, refuse_unknown
from ..layers import Layer

__all__ = ["load_model", "save_model"]

_FORMATS = {".npz": "npz", ".keras": "keras", ".h5": "keras", ".hdf5": "keras"}
_ALONE = (
    "weights alone: make the model, build it, and give it the file with model.load_weights(path)"
)
_PAGE = "'From PyTorch' of the documentation goes through it"
_NOT_OF_KERAS = {  # arguments of Keras's `load_model`
    "compile": "models are never compiled here, because they only predict; leave it out",
    "safe": "code in files is never run here; leave it out",
}
_OF_KERAS = (".weights.h5", ".weights.json")
_OTHERS = {
    ".json": f"it holds {_ALONE}",
    **dict.fromkeys(
        (".pt", ".pth", ".safetensors", ".onnx"), f"it holds {_ALONE}; the page {_PAGE}"
    ),
    **dict.fromkeys(
        (".bin", ".ckpt"),
        "it is a file of another program. If it holds a state dict of PyTorch, rename it to .pt: "
        f"that is {_ALONE}; the page {_PAGE}",
    ),
}


def save_model(model: Layer, path: str | os.PathLike[str]) -> None:
    """Write a model, or a single layer, to a file.

    An existing file is replaced, keeping its mode, only when the new one is complete; a link is
    followed. Leftovers of a killed process are removed when another model is written into the same
    folder.

    Args:
        model: a model whose weights exist: it has been built, or called once.
        path: name of the file, which must end in .npz.

    Raises:
        TypeError: `model` is not a model or layer, or `path` not the name of a file.
        ValueError: the ending is unknown, `path` is not a regular file, the model is not built,
            or a part of it, such as a function given as activation, cannot be written.
        OSError: the file cannot be written.

    Source:
        Keras: `keras.Model.save`.

    Examples:
        >>> import tempfile
        >>> import fastmask as fm
        >>> model = fm.Sequential([fm.layers.Masking(), fm.layers.LSTM(4, name="reader")])
        >>> model.build((None, None, 3))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     fm.save_model(model, f"{folder}/model.npz")
        ...     fm.load_model(f"{folder}/model.npz").layers[-1]
        <LSTM 'reader'>
    """
    if not isinstance(model, Layer):
        raise TypeError(f"model must be a fastmask model or layer, not {type(model).__name__}")
    _format(path, "save_model writes no other format").save(model, Path(path))


def load_model(
    path: str | os.PathLike[str],
    custom_objects: Mapping[str, Any] | None = None,
    **unknown: NoReturn,
) -> Any:
    """Read a model that `save_model` or Keras wrote (`.keras`, or `.h5` of Keras 2 or 3).

    Untrusted files are safe to read: no code in them is run, only known layer classes are created,
    and only weights that are in the file.

    Args:
        path: name of the file.
        custom_objects: your own layer classes and cells in the model, by name; for Keras files also
            functions, "package>Name" for objects registered under that name, and, by the name of
            a recurrent layer with another activation, a cell that takes its place.
        **unknown: nothing; for an error about arguments of Keras's function, such as `compile`.

    Returns:
        The model.

    Raises:
        TypeError: `path` is not the name of a file, `custom_objects` does not map names to what
            it takes, or there is another argument.
        ValueError: the ending is unknown, or the file is not a regular one, damaged, or not a
            model; or it has layers or arguments that are not supported, all of which the message
            lists.
        OSError: the file cannot be read.

    Source:
        Keras: `keras.saving.load_model`.

    Examples:
        See `save_model`.
    """
    refuse_unknown(unknown, load_model, _NOT_OF_KERAS)
    model = _format(path).load(Path(path), custom_objects)
    of_keras = Path(path).suffix.lower() != ".npz"
    for layer in model._all_layers():
        layer._loaded, layer._of_keras = True, of_keras
    return model


def _format(path: str | os.PathLike[str], why_not: str = "") -> Any:
    """The module for a file; `why_not` explains other extensions in the error."""
    try:
        ending = Path(path).suffix.lower()
    except TypeError:
        raise TypeError(f"path must be the name of a file, not {path!r}") from None
    known = (".npz",) if why_not else tuple(_FORMATS)
    if not why_not and os.fspath(path).lower().endswith(_OF_KERAS):
        raise ValueError(f"path must be that of a model, but {os.fspath(path)!r} holds {_ALONE}")
    if ending not in known:
        other = why_not or _OTHERS.get(ending)
        raise ValueError(
            f"path must end in {alternatives(known)}, not {os.fspath(path)!r}"
            + (f": {other}" if other else "")
        )
    return import_module(f".{_FORMATS[ending]}", __name__)
