"""Models in Keras files: the same outputs, and errors."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tracemalloc
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastmask as fm
from fastmask.layers._operation import (
    OPERATIONS,
    REVERSED_MASK,
    REVERSED_STEPS,
    WITH_MASK_OF,
    WITHOUT_MASK,
    Operation,
)

MODELS = Path(__file__).parent / "data" / "models"
# Keras is not exact in these: it rounds to bfloat16, and quantises activations, too.
TOLERANCES = {"mixed_bfloat16": 3e-2, "int8": 3e-2}


class Scale(fm.layers.Layer):
    supports_masking = True

    def __init__(self, by: float, **options: Any) -> None:
        super().__init__(**options)
        self.by = by

    def call(self, inputs: Any) -> Any:
        return inputs * np.float32(self.by)


def outputs_of(model: Any, x: Any) -> list[Any]:
    found = model.predict(x, verbose=0)
    if isinstance(found, dict):
        found = [found[name] for name in sorted(found)]
    each = found if isinstance(found, (list, tuple)) else [found]
    return [one.data if isinstance(one, fm.Masked) else one for one in each]


def test_outputs_of_some() -> None:
    outputs_are_those_of_keras([MODELS / f"{name}.keras" for name in ("conv_lstm", "int8")])


@pytest.mark.slow
@pytest.mark.timeout(300)
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
        found = outputs_of(model, x)
        assert len(found) == len(expected)
        assert isinstance(model(x), (list, dict)) == (len(expected) > 1), path.name
        for one, other in zip(found, expected, strict=True):
            np.testing.assert_allclose(
                one, other, rtol=0, atol=TOLERANCES.get(name, 1e-6), err_msg=path.name
            )


class Written:
    """Changes Keras files; needs h5py for `.h5` files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def archive(self, name: str, change: Callable[[Any], object]) -> Path:
        """A `.keras` file with a changed description."""
        path = self.folder / f"{name}.keras"
        with (
            zipfile.ZipFile(MODELS / f"{name}.keras") as old,
            zipfile.ZipFile(path, "w") as new,
        ):
            for member in old.namelist():
                content = old.read(member)
                if member == "config.json":
                    config = json.loads(content)
                    change(config)
                    content = json.dumps(config).encode()
                new.writestr(member, content)
        return path


@pytest.fixture
def written(tmp_path: Path) -> Written:
    return Written(tmp_path)


def refused(path: Path, *parts: str, **options: Any) -> None:
    with pytest.raises(ValueError, match="is not a model that can be read") as caught:
        fm.load_model(path, **options)
    for part in parts:
        assert part in str(caught.value), (part, str(caught.value))


class TestWhatIsRefused:
    def test_all_that_is_wrong_is_said_at_once(self, written: Written) -> None:
        def change(config: Any) -> None:
            layers = config["config"]["layers"]
            layers[1]["class_name"] = "Embeding"
            layers[2]["config"]["strange"] = 3
            layers[3]["config"]["activation"] = "tan"

        path = written.archive("conv_lstm", change)
        refused(
            path,
            "3 things of its ",
            "embedding_1: is of class Embeding, which is not known; if you write it",
            "custom_objects={'Embeding': Embeding})",
            "conv1d: has the argument strange=3, which is not supported",
            "tan",
        )

    @pytest.mark.parametrize(
        ("kind", "text"),
        [
            ("Lambda", "whose code is not run"),
            ("TFSMLayer", "runs a SavedModel of TensorFlow, which is not loaded"),
            ("TorchModuleWrapper", "a pickled module of torch"),
        ],
    )
    def test_code(self, kind: str, text: str, written: Written) -> None:
        def change(config: Any) -> None:
            config["config"]["layers"][2].update(class_name=kind, module="os", config={"name": "f"})

        refused(written.archive("conv_lstm", change), "f: ", text)

    def test_modules_are_not_imported(self, written: Written) -> None:
        def change(config: Any) -> None:
            config["config"]["layers"][2]["module"] = "antigravity"

        fm.load_model(written.archive("conv_lstm", change))
        assert "antigravity" not in sys.modules

    def test_a_vocabulary_elsewhere(self, written: Written) -> None:
        def change(config: Any) -> None:
            config["config"]["layers"][1]["config"]["vocabulary"] = "/etc/passwd"

        refused(written.archive("text_bilstm", change), "has a vocabulary in a file elsewhere")

    def test_other_quantisation(self, written: Written) -> None:
        def change(config: Any) -> None:
            config["config"]["layers"][1]["config"]["dtype"]["config"]["mode"] = "int4"

        refused(written.archive("int8", change), "is quantised as 'int4'; only int8 is supported")

    def test_other_shapes(self, written: Written) -> None:
        def change(config: Any) -> None:
            config["config"]["layers"][1]["config"]["output_dim"] = 9

        refused(
            written.archive("mixed_bfloat16", change),
            "layers/embedding: embeddings must have shape (40, 9), and the file has (40, 8)",
            "layers/lstm/cell: kernel must have shape (9, 24)",
        )

    def test_sizes_beyond_the_file(self, written: Written) -> None:
        for size in (10**7, 10**9, 10**15):

            def change(config: Any, size: int = size) -> None:
                config["config"]["layers"][1]["config"]["output_dim"] = size

            tracemalloc.start()
            refused(written.archive("mixed_bfloat16", change), "")
            assert tracemalloc.get_traced_memory()[1] < 2**26
            tracemalloc.stop()

    def test_names_and_damage(self, tmp_path: Path) -> None:
        content = (MODELS / "int8.keras").read_bytes()
        path = tmp_path / "a.keras"
        path.write_bytes(content.replace(b"metadata.json", b"../etc/passwd"))
        refused(path, "has a name that leads out of it")
        place = content.index(b"SNOD")
        for damaged in (content[:-30], content[:place] + b"x" + content[place + 1 :], b""):
            path.write_bytes(damaged)
            refused(path, "")
        weight = content.index(b"HDF") + 6000  # in the weights themselves
        path.write_bytes(content[:weight] + b"\0\1\2\3" + content[weight + 4 :])
        refused(path, "its checksum is wrong")
        path.write_bytes((MODELS / "weights_only.weights.h5").read_bytes())
        refused(path.rename(tmp_path / "a.h5"), "holds weights alone")

    def test_custom_objects(self) -> None:
        path = MODELS / "custom_layer.keras"
        for wrong in ({"Scale": 3}, {3: Scale}, [Scale]):
            with pytest.raises(TypeError, match="custom_objects must"):
                fm.load_model(path, custom_objects=wrong)  # type: ignore[arg-type]
        refused(path, "scale: needs a class of layers", custom_objects={"Scale": np.sin})
        refused(path, "scale: is of class Scale, which is not known")


class TestMessages:
    def test_files_are_named(self, tmp_path: Path) -> None:
        content = (MODELS / "masking_stack.h5").read_bytes()
        for name, start, text in (
            ("text.h5", b"x" * 200, "it is not an HDF5 file"),
            ("cut.h5", content[:-100], f"it is truncated: it must have {len(content)} bytes"),
        ):
            (tmp_path / name).write_bytes(start)
            refused(tmp_path / name, f"{name} is not a model that can be read: {text}")
        place = (MODELS / "int8.keras").read_bytes()
        (tmp_path / "a.keras").write_bytes(place.replace(b"\x89HDF", b"xHDF"))
        refused(tmp_path / "a.keras", "its member model.weights.h5 is not an HDF5 file")

    def test_descriptions_that_are_none(self, tmp_path: Path) -> None:
        model = {"class_name": "Sequential", "config": {"layers": [[]]}}
        for content in ([], 3, None, "text", [model], model):
            with zipfile.ZipFile(tmp_path / "a.keras", "w") as file:
                file.writestr("config.json", json.dumps(content))
            refused(tmp_path / "a.keras", "a layer must have class_name and config, not ")

    def test_numbers_and_classes(self, written: Written) -> None:
        def change(config: Any) -> None:
            config["config"]["layers"][-1]["config"]["units"] = -3

        path = written.archive("conv_lstm", change)
        refused(
            path, "1 thing of its ", "layers is not supported", ": is of class Dense, and cannot"
        )
        path = written.archive("conv_lstm", lambda config: config.update(class_name="Own"))
        refused(path, "1 thing in it is not supported:", "is of class Own, which is not known")

    def test_long_ones_end_with_a_word(self, written: Written) -> None:
        text = "word " * 200

        def change(config: Any) -> None:
            config["config"]["layers"][1]["class_name"] = text

        with pytest.raises(ValueError, match=r"word \.\.\.$") as caught:
            fm.load_model(written.archive("conv_lstm", change))
        assert len(str(caught.value)) < 1000

    def test_operations_are_listed(self) -> None:
        page = (Path(__file__).parents[1] / "docs" / "from-keras.md").read_text()
        listed = page.partition("### Operations")[2].partition("If a model")[0]
        on_masks = {WITHOUT_MASK, WITH_MASK_OF, REVERSED_MASK, REVERSED_STEPS}
        assert set(re.findall("`(.*?)`", listed)) == set(OPERATIONS) - on_masks

    @pytest.mark.parametrize(
        ("name", "options"),
        [
            ("tile", {"repeats": [1, 100, 100]}),
            ("pad", {"pad_width": [[0, 0], [10**6, 0], [0, 10**6]]}),
            ("one_hot", {"num_classes": 10**9}),
        ],
    )
    def test_operations_that_make_large_arrays(self, name: str, options: dict[str, Any]) -> None:
        with pytest.raises(ValueError, match=r"at most 4096|must be 1 to 65536"):
            Operation(name, [{"input": 0}], options)(np.ones((2, 3, 4)))


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
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout == "[]\n"


class TestOtherForms:
    """Files of kinds that Keras no longer writes, written here with h5py."""

    pytestmark = pytest.mark.optional

    def stack(self, folder: Path, layers: list[Any], weights: dict[str, dict[str, Any]]) -> Any:
        """A loaded Keras 2 model whose inputs have four features."""
        h5py = pytest.importorskip("h5py", reason="h5py is not installed")
        first = {"batch_input_shape": [None, None, 4], "dtype": "float32", "name": "input"}
        made = [{"class_name": "InputLayer", "config": first}, *layers]
        config = {"class_name": "Sequential", "config": {"name": "model", "layers": made}}
        path = folder / "old.h5"
        with h5py.File(path, "w") as file:
            file.attrs["model_config"] = json.dumps(config)
            file.attrs["keras_version"] = np.bytes_("2.2.4")
            group = file.create_group("model_weights")
            group.attrs["layer_names"] = [name.encode() for name in weights]
            for name, arrays in weights.items():
                one = group.create_group(name)
                names = [f"{name}/{key}:0" for key in arrays]
                one.attrs["weight_names"] = [key.encode() for key in names]
                for key, value in zip(names, arrays.values(), strict=True):
                    one[key] = value
        return fm.load_model(path)

    def cudnn(self, kind: str, gates: int, folder: Path) -> tuple[Any, list[Any], Any]:
        rng = np.random.default_rng(gates)
        kernel, recurrent, bias = (
            rng.uniform(-0.7, 0.7, shape).astype(np.float32)
            for shape in ((4, 3 * gates), (3, 3 * gates), (2 * 3 * gates,))
        )
        config = {"name": "r", "units": 3, "return_sequences": True, "time_major": False}
        arrays = {"kernel": kernel, "recurrent_kernel": recurrent, "bias": bias}
        model = self.stack(folder, [{"class_name": kind, "config": config}], {"r": arrays})
        x = rng.standard_normal((2, 5, 4)).astype(np.float32)
        # In cuDNN's memory layout: matrices whose rows are multiplied with the inputs.
        inputs = [part.ravel().reshape(3, 4) for part in np.split(kernel, gates, axis=1)]
        states = [part.ravel().reshape(3, 3) for part in np.split(recurrent, gates, axis=1)]
        return model(x), [inputs, states, np.split(bias, 2 * gates)], x

    @pytest.mark.slow
    def test_cudnn_lstm(self, tmp_path: Path) -> None:
        found, (w, u, b), x = self.cudnn("CuDNNLSTM", 4, tmp_path)
        sigmoid = fm.activations.get("sigmoid")
        h = c = np.zeros((2, 3))
        for t in range(5):
            i, f, g, o = (x[:, t] @ w[k].T + h @ u[k].T + b[k] + b[4 + k] for k in range(4))
            c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
            h = sigmoid(o) * np.tanh(c)
            np.testing.assert_allclose(found[:, t], h, atol=1e-6)

    @pytest.mark.slow
    def test_cudnn_gru(self, tmp_path: Path) -> None:
        found, (w, u, b), x = self.cudnn("CuDNNGRU", 3, tmp_path)
        sigmoid = fm.activations.get("sigmoid")
        h = np.zeros((2, 3))
        for t in range(5):
            a = [x[:, t] @ w[k].T + b[k] for k in range(3)]
            r = [h @ u[k].T + b[3 + k] for k in range(3)]
            z = sigmoid(a[0] + r[0])
            h = z * h + (1 - z) * np.tanh(a[2] + sigmoid(a[1] + r[1]) * r[2])
            np.testing.assert_allclose(found[:, t], h, atol=1e-6)

    def test_lora_is_merged(self, tmp_path: Path) -> None:
        rng = np.random.default_rng(2)
        a, b = rng.random((4, 2)).astype("f4"), rng.random((2, 3)).astype("f4")
        kernel, bias = rng.random((4, 3)).astype("f4"), rng.random(3).astype("f4")
        arrays = {"bias": bias, "lora_kernel_a": a, "lora_kernel_b": b, "kernel": kernel}
        for alpha in (None, 3.0):
            config = {"name": "d", "units": 3, "lora_rank": 2, "lora_alpha": alpha}
            model = self.stack(tmp_path, [{"class_name": "Dense", "config": config}], {"d": arrays})
            merged = kernel + (alpha or 2) / 2 * (a @ b)
            np.testing.assert_allclose(model.get_weights()[0], merged, atol=1e-6)
            np.testing.assert_array_equal(model.get_weights()[1], bias)

    def test_bfloat16(self, tmp_path: Path) -> None:
        kernel = np.array([[1.5], [-2.25], [0.0078125], [3e38]], np.float32)
        raw = (kernel.view(np.uint32) >> 16).astype(np.uint16).view("V2")
        config = {"name": "d", "units": 1, "use_bias": False}
        layers = [{"class_name": "Dense", "config": config}]
        model = self.stack(tmp_path, layers, {"d": {"kernel": raw}})
        np.testing.assert_allclose(model.get_weights()[0], kernel, rtol=2**-7)
