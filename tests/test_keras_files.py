"""Models in Keras files: the same outputs as in Keras."""

from __future__ import annotations

import re
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastmask as fm

from .keras_files import MODELS, Scale, Written, refused

# Keras is not exact in these: it rounds to bfloat16, and quantizes activations, too.
TOLERANCES = {"mixed_bfloat16": 3e-2, "int8": 3e-2}


def outputs_of(model: Any, x: Any) -> list[Any]:
    found = model.predict(x, verbose=0)
    if isinstance(found, dict):
        found = [found[name] for name in sorted(found)]
    each = found if isinstance(found, (list, tuple)) else [found]
    return [one.data if isinstance(one, fm.Masked) else one for one in each]


DROPS = {"keras2_ops": ["multiply", "get_item", "max"]}  # operations on masked steps


def test_outputs_of_some() -> None:
    outputs_are_those_of_keras([MODELS / f"{name}.keras" for name in ("conv_lstm", "int8")])


@pytest.mark.slow
def test_outputs_of_all() -> None:
    files = [*MODELS.glob("*.keras"), *MODELS.glob("*.h5")]
    files = [path for path in files if not path.name.endswith(".weights.h5")]
    outputs_are_those_of_keras(files)
    assert len(files) >= 24


def outputs_are_those_of_keras(files: list[Path]) -> None:
    for path in files:
        name = path.stem
        with np.load(MODELS / f"{name}.io.npz") as stored:
            inputs = [stored[key] for key in sorted(stored) if key.startswith("x")]
            outputs = sum(key.startswith("y") for key in stored)
            expected = [stored[f"y{number}"] for number in range(outputs)]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about masks that are lost, in Keras too
            model = fm.load_model(path, custom_objects={"mine>Scale": Scale})
        x = inputs if len(inputs) > 1 else inputs[0]
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            found = outputs_of(model, x)
        told = " ".join(str(one.message) for one in caught)
        assert re.findall("operation '(.*?)' drops the mask", told) == DROPS.get(name, []), name
        assert len(caught) == len(DROPS.get(name, []))
        assert len(found) == len(expected)
        assert isinstance(model(x), (list, dict)) == (len(expected) > 1), path.name
        for one, other in zip(found, expected, strict=True):
            np.testing.assert_allclose(
                one, other, rtol=0, atol=TOLERANCES.get(name, 1e-6), err_msg=path.name
            )


@pytest.fixture
def written(tmp_path: Path) -> Written:
    return Written(tmp_path)


def test_functions_of_ones_own(written: Written) -> None:
    def change(config: Any) -> None:
        layers = config["config"]["layers"]
        layers[-1]["config"]["activation"] = {
            "module": "builtins",
            "class_name": "function",
            "config": "double",
            "registered_name": "mine>double",
        }

    path = written.archive("conv_lstm", change)
    refused(path, "has a function 'double', which is not known")
    for name in ("double", "mine>double"):
        model = fm.load_model(path, custom_objects={name: lambda x: 2 * x})
        assert model.layers[-1](np.ones((1, 6))).shape == (1, 3)


def test_a_lambda_with_a_function(written: Written) -> None:
    def change(config: Any) -> None:
        layers = config["config"]["layers"]
        code = {"class_name": "__lambda__", "config": {"code": "4wEAAAA="}}
        function = {"name": "twice", "trainable": True, "function": code}
        layers.insert(2, {"class_name": "Lambda", "module": "keras.layers", "config": function})

    path = written.archive("conv_lstm", change)
    refused(path, "twice: is a Lambda, whose code is not run; give the function")
    model = fm.load_model(path, custom_objects={"twice": lambda x: 2 * x})
    plain = fm.load_model(MODELS / "conv_lstm.keras")
    ids = np.arange(9)[None]
    expected = plain.layers[0](ids) * 2
    for layer in plain.layers[1:]:
        expected = layer(expected)
    np.testing.assert_allclose(model(ids), expected, atol=1e-6)


def test_masks_that_came_along_are_not_computed_again() -> None:
    model = fm.load_model(MODELS / "two_inputs.keras")
    assert not [layer for layer in model.layers if type(layer).__name__ == "Operation"]


@pytest.mark.parametrize("name", ["attention", "keras2_functional"])
def test_a_single_output_is_not_in_a_list(name: str, written: Written) -> None:
    """Keras lists a single output in its files, and returns it alone."""

    def change(config: Any) -> None:
        assert isinstance(config["config"]["output_layers"][0], str)
        config["config"]["output_layers"] = [config["config"]["output_layers"]]

    path = MODELS / f"{name}.h5" if "2" in name else written.archive(name, change)
    model = fm.load_model(path)
    with np.load(MODELS / f"{name}.io.npz") as stored:
        assert model(stored["x0"]).shape == stored["y0"].shape
        assert model.predict(stored["x0"], verbose=0).shape == stored["y0"].shape


def test_nothing_else_is_imported() -> None:
    code = (
        "import sys, fastmask as fm\n"
        f"fm.load_model({str(MODELS / 'masking_stack.h5')!r})\n"
        "print([one for one in ('keras', 'h5py', 'torch', 'tensorflow') if one in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=250
    )
    assert done.stdout == "[]\n"
