"""Files that are not what their names say, or are incomplete: the error says what they are."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

import fastmask as fm
from fastmask import layers as L
from fastmask.loaders.description import describe

MODELS = Path(__file__).parent / "data" / "models"
HDF5, ZIP = "conv_lstm.h5", "conv_lstm.keras"


def dense() -> fm.Sequential:
    model = fm.Sequential([L.Dense(2)])
    model.build((None, 3))
    return model


def refused(path: Path, words: str) -> None:
    """Every function refuses the file, and says why."""
    for read in (fm.load_model, dense().load_weights, describe):
        with pytest.raises(ValueError, match=f"^{path} .*: {words}$"):
            read(path)


@pytest.mark.parametrize("name", ["a.keras", "a.npz"])
def test_an_hdf5_file_with_another_name(name: str, tmp_path: Path) -> None:
    shutil.copy(MODELS / HDF5, tmp_path / name)
    refused(tmp_path / name, r"it is an HDF5 file: name it \.h5")


def test_a_keras_file_with_another_name(tmp_path: Path) -> None:
    shutil.copy(MODELS / ZIP, tmp_path / "a.h5")
    refused(tmp_path / "a.h5", r"it is a zip file: if it is a model of Keras 3, name it \.keras")
    shutil.copy(MODELS / ZIP, tmp_path / "a.npz")
    with pytest.raises(ValueError, match=r": it is a model of Keras 3: name it \.keras$"):
        fm.load_model(tmp_path / "a.npz")


def test_incomplete_files(tmp_path: Path) -> None:
    path = tmp_path / "a.keras"
    content = (MODELS / ZIP).read_bytes()
    path.write_bytes(content[: len(content) // 2])
    refused(path, "it is damaged or incomplete: the list of its members, at its end, is missing")
    path.write_bytes(b"")
    refused(path, "it is empty")
    path.write_text("hello")
    refused(path, "it is not a zip file")


def test_arrays_that_are_no_model(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, x0=np.zeros(2), x1=np.zeros(3), y0=np.zeros(4))
    with pytest.raises(ValueError, match=r"it holds x0, x1, y0, but no config, so it is not a"):
        fm.load_model(path)
    with pytest.raises(ValueError, match=r"it holds x0, x1, y0, not weights as w0, w1, \.\.\."):
        dense().load_weights(path)
    np.savez(path, *(np.zeros(1) for _ in range(7)))
    with pytest.raises(
        ValueError, match=r"arr_3, arr_4, \.\.\., but .* model\.load_weights\(path\)"
    ):
        fm.load_model(path)


def test_compressed_weights(tmp_path: Path) -> None:
    path, model = tmp_path / "a.npz", dense()
    np.savez_compressed(path, *model.get_weights())
    for read in (model.load_weights, describe):
        with pytest.raises(ValueError, match=r"savez_compressed: save it with numpy\.savez$"):
            read(path)
