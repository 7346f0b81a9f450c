"""Layers of the user's own in Keras files: their arguments, and weights that they do not create."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastmask as fm

from .keras_files import MODELS, Written, refused


class Nothing(fm.layers.Layer):
    """Takes every argument of Keras's `Dense`, and has no weight."""

    def __init__(self, units: int, **options: Any) -> None:
        super().__init__(name=options.get("name"), dtype=options["dtype"])
        self.units = units

    def call(self, inputs: Any) -> Any:
        return inputs[..., :1]


class Kernel(Nothing):
    """Has the kernel, and no bias."""

    def build(self, input_shape: Any) -> None:
        self.kernel = self.add_weight((input_shape[-1], self.units), "zeros")

    def call(self, inputs: Any) -> Any:
        return inputs @ self.kernel


class Both(Kernel):
    """Has all weights."""

    def build(self, input_shape: Any) -> None:
        super().build(input_shape)
        self.bias = self.add_weight((self.units,), "zeros")


@pytest.mark.parametrize(
    ("file", "cls", "told"),
    [
        ("conv_lstm.keras", Nothing, "layers/dense: the file has vars/0 ("),
        ("conv_lstm.keras", Kernel, "layers/dense: the file has vars/1 ("),
        ("conv_lstm.h5", Nothing, "arrays in the file (kernel, bias), and 0 weights"),
        ("conv_lstm.h5", Kernel, "arrays in the file (kernel, bias), and 1 weights"),
    ],
)
def test_none_is_left_out_silently(file: str, cls: Any, told: str) -> None:
    refused(MODELS / file, told, custom_objects={"Dense": cls})


@pytest.mark.parametrize("file", ["conv_lstm.keras", "conv_lstm.h5"])
def test_a_layer_with_all_of_them_is_loaded(file: str) -> None:
    assert fm.load_model(MODELS / file, custom_objects={"Dense": Both}).count_params()


def test_layers_inside_it_are_not_left_out_either() -> None:
    told = "layers/lstm: the file has cell/vars/0 ("
    refused(MODELS / "conv_lstm.keras", told, custom_objects={"LSTM": Nothing})


def test_the_dtype_policy_in_its_config_is_no_layer() -> None:
    class Empty(fm.layers.Layer):
        def __init__(self) -> None:
            super().__init__()

    with pytest.raises(ValueError, match=r"1 of its .*\n.*unexpected keyword") as caught:
        fm.load_model(MODELS / "conv_lstm.keras", custom_objects={"Dense": Empty})
    assert "DTypePolicy" not in str(caught.value)


def without_names(folder: Path, file: str, kind: bytes, new: bytes, arguments: bytes) -> Path:
    """A file with a class renamed, and with arguments removed from the configs of its layers."""
    removed = re.compile(b'("class_name": ")%s(", "config": {)(%s)' % (kind, arguments))

    def change(found: re.Match[bytes]) -> bytes:
        return found[1] + new + found[2] + b" " * len(found[3])  # of the same length

    content, count = removed.subn(change, (MODELS / file).read_bytes())
    assert count
    (folder / file).write_bytes(content)
    return folder / file


def same_weights(model: Any, other: Any) -> None:
    for one, expected in zip(model.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(one, expected)


def test_names_that_configs_leave_out(tmp_path: Path) -> None:
    """The default `get_config` of a class with arguments of its own leaves the name out."""
    path = without_names(tmp_path, "conv_lstm.h5", b"Dense", b"Other", rb'"name": "\w+", ')
    refused(path, "dense_1: is of class Other, which is not known")
    model = fm.load_model(path, custom_objects={"Other": Both})
    same_weights(model, fm.load_model(MODELS / "conv_lstm.h5"))


def test_a_layer_that_looks_like_an_operation(tmp_path: Path) -> None:
    """A `get_config` without super().get_config() leaves out all that tells layers apart."""

    class Other(Both):
        def __init__(self, units: int, **_: Any) -> None:
            super().__init__(units, dtype="float32")

    basic = rb'"name": "dense_4", "trainable": true, "dtype": {[^{]*{[^}]*}[^}]*}, '
    path = without_names(tmp_path, "two_inputs.h5", b"Dense", b"Other", basic)
    refused(path, "dense_4: is the operation 'other'", "custom_objects={'Other': Other}")
    model = fm.load_model(path, custom_objects={"Other": Other})
    same_weights(model, fm.load_model(MODELS / "two_inputs.h5"))


def test_layers_inside_it_under_another_name() -> None:
    class Named(Nothing):
        def __init__(self, units: int, **options: Any) -> None:
            super().__init__(units, name=options["name"], dtype="float32")
            self.core = Kernel(units, dtype="float32")

        def build(self, input_shape: Any) -> None:
            self.core.build(input_shape)

    told = "layers/lstm/core: has 0 arrays in the file, and 1 weights; the file has 'layers/lstm/c"
    path = MODELS / "conv_lstm.keras"
    refused(path, told + "ell': layers inside a layer must", custom_objects={"LSTM": Named})


def test_the_layer_of_keras_itself() -> None:
    """A Keras class or instance in custom_objects is an error, for files of Keras and fastmask."""
    kind = type("Scale", (), {"__module__": "keras.src.layers.layer"})
    own = type("Gate", (kind,), {"__module__": "my_layers"})
    for wrong in (kind, own):
        told = "must hold|needs a subclass of fastmask.layers.Layer in custom_objects, not <class"
        for name in ("custom_layer.keras", "other.npz"):
            with pytest.raises((TypeError, ValueError), match=told) as caught:
                fm.load_model(MODELS / name, custom_objects={"Scale": wrong})
            assert "a class of Keras: write the layer again as a subclass of" in str(caught.value)
    told = "needs a subclass of fastmask.layers.Layer"
    refused(MODELS / "custom_layer.keras", told, custom_objects={"Scale": np.sin})


def test_functions_by_either_name(tmp_path: Path) -> None:
    def change(config: Any) -> None:
        name = "mine>halved"
        function = {"class_name": "function", "config": name, "registered_name": name}
        config["config"]["layers"][-1]["config"]["activation"] = function

    path = Written(tmp_path).archive("conv_lstm", change)
    refused(path, "has a function 'mine>halved', which is not known")
    for name in ("halved", "mine>halved"):
        model = fm.load_model(path, custom_objects={name: lambda x: x / 2})
        assert model.layers[-1].activation(3) == 1.5
