"""Layers of the user's own in Keras files: their arguments, and weights that they do not create."""

from __future__ import annotations

from typing import Any

import pytest

import fastmask as fm

from .keras_files import MODELS, refused


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

    with pytest.raises(ValueError, match=r"1 thing of its .*\n.*unexpected keyword") as caught:
        fm.load_model(MODELS / "conv_lstm.keras", custom_objects={"Dense": Empty})
    assert "DTypePolicy" not in str(caught.value)
