"""A small model's file, and what changes it: its members, arrays and description."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import fastmask as fm
from fastmask.layers import LSTM, Dense, Masking

Members = dict[str, bytes]


def small_model() -> fm.Sequential:
    model = fm.Sequential([Masking(), LSTM(3, name="reader"), Dense(2, "softmax")], name="small")
    model.build((None, None, 2))
    return model


def saved(folder: Path) -> Path:
    path = folder / "model.npz"
    fm.save_model(small_model(), path)
    return path


def members_of(path: Path) -> Members:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def write(path: Path, members: Members, compression: int = zipfile.ZIP_STORED) -> None:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)


def npy(array: Any, **options: Any) -> bytes:
    stream = io.BytesIO()
    np.save(stream, np.asarray(array), **options)
    return stream.getvalue()


def header(shape: str, dtype: str = "<f4", fortran: str = "False") -> bytes:
    text = f"{{'descr': {dtype!r}, 'fortran_order': {fortran}, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text


def with_config(change: Callable[[Any], Any]) -> Callable[[Members], Any]:
    """Change the decoded config of a file."""

    def edit(members: Members) -> None:
        config = json.loads(members["config.npy"][128:])
        changed = change(config)
        config = config if changed is None else changed
        text = config if isinstance(config, bytes) else json.dumps(config).encode()
        members["config.npy"] = npy(np.frombuffer(text, np.uint8))

    return edit
