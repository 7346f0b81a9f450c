"""Paths and classes that cannot be saved or loaded: the message says what can."""

from __future__ import annotations

from pathlib import Path

import pytest

import fastmask as fm

from .wrong_calls import Call, Mine, Wrong, X, assert_says, built, each_row

FILES: list[Wrong] = [
    *(
        (
            f"load {ending}",
            lambda ending=ending: fm.load_model(f"m{ending}"),
            ValueError,
            ("path must", f"'m{ending}'", "holds weights alone: make", "model.load_weights(path)"),
        )
        for ending in (".weights.h5", ".weights.json", ".json")
    ),
    *(
        (
            f"load {ending}",
            lambda ending=ending: fm.load_model(f"m{ending}"),
            ValueError,
            ("path must end in .npz", f"'m{ending}'", "rename it to .pt", "From PyTorch"),
        )
        for ending in (".ckpt", ".bin")
    ),
    *(
        (
            f"load {ending}",
            lambda ending=ending: fm.load_model(f"m{ending}"),
            ValueError,
            ("path must end in .npz", f"'m{ending}'", "model.load_weights(path)", "From PyTorch"),
        )
        for ending in (".pt", ".pth", ".safetensors", ".onnx")
    ),
    (
        "save .keras",
        lambda: fm.save_model(built(), "m.keras"),
        ValueError,
        ("path must end in .npz, not 'm.keras': save_model writes no other format",),
    ),
    (
        "load .txt",
        lambda: fm.load_model("m.txt"),
        ValueError,
        (".npz, .keras, .h5 or .hdf5, not 'm.txt'",),
    ),
    (
        "a list of classes",
        lambda: fm.load_model("m.npz", custom_objects=[Mine]),
        TypeError,  # type: ignore[arg-type]  # on purpose
        ("custom_objects must be like {'Mine': Mine}, not [",),
    ),
    (
        "an object of a class",
        lambda: fm.load_model("m.npz", custom_objects={"Mine": Mine()}),  # type: ignore[dict-item]  # on purpose
        TypeError,
        ("custom_objects must hold classes", "{'Mine': Mine}", "not 'Mine': <Mine"),
    ),
    (
        "save what is no model",
        lambda: fm.save_model("m.npz", built()),
        TypeError,  # type: ignore[arg-type]  # on purpose
        ("model must be a fastmask model or layer, not str",),
    ),
]


@each_row(FILES)
def test_message(call: Call, kind: type[Exception], parts: tuple[str, ...]) -> None:
    assert_says(call, kind, parts)


def load_without_classes(folder: Path) -> None:
    model = fm.Sequential([Mine()])
    model(X)
    fm.save_model(model, folder / "mine.npz")
    fm.load_model(folder / "mine.npz")


def test_own_layer_without_its_class(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"load_model\(path, custom_objects=\{'Mine': Mine\}\)"):
        load_without_classes(tmp_path)


def test_saving_into_a_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        fm.save_model(built(), tmp_path / "missing" / "m.npz")
    assert str(caught.value).endswith(f"'{tmp_path / 'missing'}'")
