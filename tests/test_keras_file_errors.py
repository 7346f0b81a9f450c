"""Keras files that are refused: the error says all that is wrong, and where."""

from __future__ import annotations

import json
import re
import sys
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastmask as fm
from fastmask.layers._operation import Operation
from fastmask.layers._operations import (
    OPERATIONS,
    REVERSED_MASK,
    REVERSED_STEPS,
    WITH_MASK_OF,
    WITHOUT_MASK,
)

from .keras_files import MODELS, Scale, Written, refused


@pytest.fixture
def written(tmp_path: Path) -> Written:
    return Written(tmp_path)


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
            "3 of its 5 layers are not supported",
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

    @pytest.mark.parametrize(
        "activation",
        ["elu", {"module": "builtins", "class_name": "function", "config": "lab>own"}],
    )
    def test_activations_that_recurrent_layers_lack(
        self, activation: Any, written: Written
    ) -> None:
        def change(config: Any) -> None:
            config["config"]["layers"][4]["config"]["activation"] = activation

        path = written.archive("conv_lstm", change)
        name = activation if isinstance(activation, str) else "lab>own"
        told = f"lstm_1: has the activation '{name}'; recurrent layers take only 'linear', 'relu'"
        instead = "as a cell with fastmask.cell, and give it by the layer's name"
        for own in ({}, {name: np.sin}):
            refused(path, told, instead, "custom_objects={'lstm_1': cell}", custom_objects=own)
        told = "lstm_1: needs its cell by its own name, custom_objects={'lstm_1': cell}"
        refused(path, told, custom_objects={"LSTM": fm.cells.minimal_gated_unit})

    def test_all_in_one_error_also_operations(self, written: Written) -> None:
        def change(config: Any) -> None:
            layers = config["config"]["layers"]
            layers[-1]["class_name"] = "Other"
            next(one for one in layers if one["class_name"] == "NotEqual")["class_name"] = "FFT"

        path = written.archive("seq2seq", change)
        refused(path, "2 of its 6 layers are not", "is the operation 'fft',", "is of class Other")

    def test_modules_are_not_imported(self, written: Written) -> None:
        def change(config: Any) -> None:
            config["config"]["layers"][2]["module"] = "antigravity"

        fm.load_model(written.archive("conv_lstm", change))
        assert "antigravity" not in sys.modules

    def test_a_vocabulary_elsewhere(self, written: Written) -> None:
        def change(config: Any) -> None:
            config["config"]["layers"][1]["config"]["vocabulary"] = "/etc/passwd"

        refused(written.archive("text_bilstm", change), "has a vocabulary in a file elsewhere")

    def test_other_quantization(self, written: Written) -> None:
        def change(config: Any) -> None:
            config["config"]["layers"][1]["config"]["dtype"]["config"]["mode"] = "int4"

        refused(written.archive("int8", change), "is quantized as 'int4'; only int8 is supported")

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
                fm.load_model(path, custom_objects=wrong)  # type: ignore[arg-type]  # wrong on purpose
        refused(
            path,
            "scale: needs a subclass of fastmask.layers.Layer",
            custom_objects={"Scale": np.sin},
        )
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
        refused(path, "1 of its ", " layers is not supported", ": is of class Dense, and cannot")
        path = written.archive("conv_lstm", lambda config: config.update(class_name="Own"))
        refused(path, "its 1 layer is not supported:", "is of class Own, which is not known")

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
        with pytest.raises(ValueError, match=r"at most 4096|from 0 to 4096|from 1 to 65536"):
            Operation(name, [{"input": 0}], options)(np.ones((2, 3, 4)))
