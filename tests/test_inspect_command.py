"""`fastmask inspect`: what is in a file of any kind, whether it can be loaded or not."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastmask as fm
from fastmask import cli
from fastmask import layers as L
from fastmask.layers._operation import Operation
from fastmask.layers._operations import REVERSED_MASK
from fastmask.loaders.description import describe

from .test_load_weights import SAVED, state_of_classifier
from .weight_files import node, onnx, safetensors, tensor

NO_RAGGED = "cannot take a Ragged, whose rows have different numbers of steps"
KERAS = "sharded.weights.json"


def inspected(path: Path, capsys: pytest.CaptureFixture[str]) -> list[str]:
    """The lines that the command prints, with single spaces between words."""
    status = cli.main(["inspect", str(path)])
    said = capsys.readouterr()
    assert not said.err
    lines = [" ".join(line.split()) for line in said.out.splitlines()]
    assert status == ("not supported" in lines[-1])
    return lines


class Scale(L.Layer):
    """A layer that cannot be made from a file."""

    supports_masking = True

    def call(self, inputs: Any) -> Any:
        return 2 * inputs


def minimal(f: Any, n: Any, h: Any) -> Any:
    """A cell that is not one of `fastmask.cells`."""
    return h + f * n


def model_of(*layers: Any) -> Any:
    model = fm.Sequential(layers)
    model.build((None, None))
    return model


class TestOwnFiles:
    def test_a_model(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        inner = fm.Sequential([L.LSTM(3, return_sequences=True, name="read")], name="inner")
        words = L.Embedding(9, 2, mask_zero=True, name="words")
        fm.save_model(model_of(words, inner, L.Flatten(name="flat")), tmp_path / "a.npz")
        assert inspected(tmp_path / "a.npz", capsys) == [
            "a.npz: 90 parameters",
            "inputs: (None, None) int32",
            "outputs: (None, None) float32",
            "layer type shapes parameters mask supported",
            "---------- --------- --------------- ---------- ---------- ---------",
            "words Embedding (None, None, 2) 18 made yes",
            "inner/read LSTM (None, None, 3) 72 used, kept yes",
            "flat Flatten (None, None) 0 dropped yes",
            f"needs padding: layer 'flat' (of type Flatten) {NO_RAGGED}",
        ]

    def test_layers_that_need_padding(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        x = fm.Input((None, 3), name="x")
        turned = Operation("transpose", [{"input": 0}, [0, 2, 1]], name="turned")
        total = Operation("sum", [{"input": 0}], {"axis": 2}, name="total")
        after = L.Permute((2, 1), name="after")
        for out, words in (
            (
                total(turned(x)),
                "'turned' (transpose) cannot compute each row of a Ragged by itself",
            ),
            (total(after(L.Dense(2)(x))), "'after' (of type Permute) cannot take a Ragged, whose"),
            (total(after(after(turned(x)))), "'turned' (transpose) cannot compute"),  # at once
            (L.GlobalMaxPooling1D()(L.Conv1D(2, 3)(x)), ""),
            (L.Dense(3)(L.Dot(axes=(1, 1))([x, x])), ""),
        ):
            fm.save_model(fm.Model(x, out), tmp_path / "a.npz")
            notes = [one for one in inspected(tmp_path / "a.npz", capsys) if "padding" in one]
            assert [one.startswith(f"needs padding: layer {words}") for one in notes] == [
                True
            ] * bool(words)

    def test_a_class_of_ones_own(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        fm.save_model(
            model_of(L.Embedding(9, 2, name="words"), Scale(name="s")), tmp_path / "a.npz"
        )
        lines = inspected(tmp_path / "a.npz", capsys)
        assert lines[:2] == ["a.npz: 18 parameters", "inputs: (None, None) int32"]
        assert lines[4].endswith(" Sequential ? 18 ? yes")
        assert lines[5:] == [
            "words Embedding (None, None, 2) 18 - yes",
            "s Scale ? ? ? no",
            "s: the class is not known; load_model(path, custom_objects={'Scale': Scale}) takes it",
            "1 of its 3 layers is not supported",
        ]

    def test_what_does_not_follow_a_class_of_ones_own_is_known(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        ids, more = fm.Input((None,), dtype="int32", name="ids"), fm.Input((3,), name="more")
        words = L.Embedding(9, 2, mask_zero=True, name="words")(ids)
        last = L.LSTM(3, name="read")(Scale(name="s")(words))
        beside = L.Dense(3, name="beside")(L.GRU(4, name="other")(words))
        out = L.Dense(1, name="out")(L.Add(name="sum")([last, beside, more]))
        around = L.Bidirectional(L.RNN(fm.cell(minimal)(2)), name="around")
        fm.save_model(fm.Model([ids, more], [out, around(words)]), tmp_path / "a.npz")
        lines = inspected(tmp_path / "a.npz", capsys)
        assert lines[1] == "inputs: ids (None, None) int32, more (None, 3) float32"
        assert lines[2] == "outputs: out, around"
        known = {line.split()[0]: line.split(maxsplit=2)[2] for line in lines[6:-1]}
        assert known["words"] == "(None, None, 2) 18 made yes"
        assert known["other"] == "(None, 4) 96 used yes"
        assert known["beside"] == "(None, 3) 15 - yes"
        assert known["s"] == "? ? ? no"
        assert [known[name] for name in ("read", "out")] == ["? 72 ? yes", "? 4 ? yes"]
        assert [known[name] for name in ("sum", "around")] == ["? 0 ? yes", "? ? ? yes"]
        assert lines[-1] == "3 of its 13 layers are not supported"

    def test_a_list_of_weights(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        np.savez(tmp_path / "a.npz", np.zeros((2, 3)), np.zeros(3))
        lines = inspected(tmp_path / "a.npz", capsys)
        assert lines[0] == "a.npz: 9 parameters"
        assert lines[3:] == [
            "arr_0.npy - (2, 3) 6 - yes",
            "arr_1.npy - (3,) 3 - yes",
            "weights alone: model.load_weights reads them",
        ]


class TestOtherFiles:
    def test_torch(self, capsys: pytest.CaptureFixture[str]) -> None:
        for ending in ("pt", "safetensors"):
            lines = inspected(SAVED / f"torch_lstm.{ending}", capsys)
            assert lines[0] == f"torch_lstm.{ending}: 2,128 parameters in 4 modules"
            own = "weight_ih (28, 6), weight_hh (28, 7), bias_ih (28,), bias_hh (28,) 420 used yes"
            assert lines[3] == f"l0 LSTM {own}"
            assert lines[4] == f"l0 LSTM, backwards {own}"
            assert "model.load_weights" in lines[-1]

    def test_all_kinds(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        state, _ = state_of_classifier()
        more = {"c.weight": (4, 3, 2), "c.bias": (4,), "p.weight_ih_l0": (6, 1)}
        more |= {"m.in_proj_weight": (6, 2), "p.weight_hh_l0": (6, 3), "q.weight_hr_l0": (1, 2)}
        state |= {name: np.zeros(shape) for name, shape in more.items()}
        safetensors(tmp_path / "a.safetensors", state)
        lines = inspected(tmp_path / "a.safetensors", capsys)
        kinds = {line.split()[0]: line.split()[1] for line in lines[3:-4]}
        assert kinds == {
            "out": "Embedding",
            "b.read.l0": "SimpleRNN",
            "gru.l0": "GRU",
            "c": "Conv1D",
            "a": "LayerNormalization",
            "bn": "BatchNormalization",
            "words": "Embedding",
            "p.l0": "?",
            "m": "?",
            "q.l0": "?",
        }
        assert sum("no layer has projections, proj_size" in line for line in lines) == 1
        assert lines[-1] == "3 of its 11 layers are not supported"

    def test_cells(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        state = {}
        for name, cell in fm.cells.CELLS.items():
            layer = L.RNN(cell(8))
            layer.build((None, None, 3))
            state |= {f"{name}.{one.name}": one.value for one in layer.cell._weights}
        state |= {"own.kernel": np.ones((3, 12)), "own.bias": np.ones(12)}
        state |= {"odd.kernel": np.ones((3, 7)), "odd.p": np.ones(3)}
        safetensors(tmp_path / "a.safetensors", state)
        lines = inspected(tmp_path / "a.safetensors", capsys)
        kinds = {line.split()[0]: line.split()[1] for line in lines[3:-4]}
        wanted = {
            name: f"RNN({name if cell.vectors else 'cell'}(8))"
            for name, cell in fm.cells.CELLS.items()
        }
        assert kinds == wanted | {"own": "RNN(cell(units))", "odd": "?"}
        assert "RNN(cell(units)): weights of a cell" in lines[-3]

    def test_onnx(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        nodes = [node("Gemm", "x w b", "y"), node("Erf", "y", "z"), node("Loop", "z", "out")]
        onnx(tmp_path / "a.onnx", nodes, [tensor("w", np.ones((2, 3))), tensor("b", np.ones(3))])
        lines = inspected(tmp_path / "a.onnx", capsys)
        assert lines[3] == "y Dense weight (3, 2), bias (3,) 9 kept yes"
        assert lines[4] == "nodes with graphs of their own, which are not read: Loop (1)"


def test_files_that_cannot_be_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with zipfile.ZipFile(tmp_path / "module.pt", "w") as archive:
        archive.writestr("a/data.pkl", b"\x80\2c__main__\nNet\n)\x81.")
    for name, content, words in (
        ("a.npz", b"nothing", "a.npz is not a file that can be read"),
        ("a.pt", b"nothing", "it is no zip"),
        ("a.safetensors", b"\xff" * 9, "header claims"),
        ("a.onnx", b"\xff" * 9, "a number does not end"),
        ("a.pkl", b"nothing", "must end in"),
        ("a.ckpt", b"nothing", "rename it to .pt"),
        (
            "module.pt",
            None,
            "names '__main__.Net', which no state dict needs: it is a whole module",
        ),
        ("none.npz", None, "none.npz: No such file"),
    ):
        if content is not None:
            (tmp_path / name).write_bytes(content)
        assert cli.main(["inspect", str(tmp_path / name)]) == 2
        said = capsys.readouterr()
        assert not said.out
        assert words in said.err
        assert said.err.count("\n") == 1


def test_weights_of_keras(capsys: pytest.CaptureFixture[str]) -> None:
    both = [inspected(SAVED / name, capsys) for name in ("weights_only.weights.h5", KERAS)]
    for lines in both:
        assert "parameters" in lines[0]
        assert "layers/embedding Embedding (40, 8) 320 made, with mask_zero yes" in lines
        cell = "layers/bidirectional/forward_layer/cell"
        assert f"{cell} GRUCell (8, 18), (6, 18), (2, 18) 288 used yes" in lines
        assert "layers/lstm/cell LSTMCell (12, 20), (5, 20), (20,) 360 used yes" in lines
        assert "model.load_weights" in lines[-1]


def test_every_kind_of_saved_file(capsys: pytest.CaptureFixture[str]) -> None:
    kinds = {".keras", ".h5", ".json", ".pt", ".safetensors"}
    shown = set()
    for path in sorted(SAVED.iterdir()):
        if path.suffix in kinds:
            lines = inspected(path, capsys)
            assert lines[0].startswith(f"{path.name}: "), path
            assert len(lines) > 3, path
            supported = not any("not supported" in line for line in lines)
            assert supported == (path.name != "custom_layer.keras"), path
            shown.add(path.suffix)
    assert shown == kinds


def test_nothing_is_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compiling for a layer that is only shown would take seconds."""

    def computed(*_: object) -> None:
        raise AssertionError

    monkeypatch.setattr("fastmask.layers._cell.forward", computed)
    for name in ("text_bilstm.keras", "keras2_stack.h5", "masking_stack.keras"):
        assert all(row.shapes != "None" for row in describe(SAVED / name).rows), name


@pytest.mark.parametrize(
    ("name", "inputs"),
    [
        ("seq2seq.keras", "source (None, None) int32, target (None, None) int32"),
        ("keras2_names.h5", "num (None, 5) float32, words (None, None) int32"),
        ("text_bilstm.keras", "(None,) str"),
        ("custom_layer.keras", "(None, None) int32"),  # which is not supported
    ],
)
def test_inputs(name: str, inputs: str) -> None:
    assert describe(SAVED / name).inputs == f"inputs: {inputs}"


@pytest.mark.parametrize(
    ("name", "outputs"),
    [
        ("seq2seq.keras", "dense_8 (None, None, 30) float32"),
        ("keras2_names.h5", "p (None, 1) float32, q (None, 2) float32"),
        ("text_bilstm.keras", "(None, 1) float32"),
        ("custom_layer.keras", ""),
    ],
)
def test_outputs(name: str, outputs: str) -> None:
    assert describe(SAVED / name).outputs == (outputs and f"outputs: {outputs}")


def test_outputs_that_are_not_known(tmp_path: Path) -> None:
    x = fm.Input((None, 3), name="x")
    fm.save_model(fm.Model(x, {"z": Scale(name="s")(x), "a": L.LSTM(2)(x)}), tmp_path / "a.npz")
    assert describe(tmp_path / "a.npz").outputs == "outputs: z, a"
    back = L.LSTM(2, go_backwards=True, return_sequences=True, name="back")(L.Masking()(x))
    turned = Operation(REVERSED_MASK, [{"input": 0}])(back)  # as in models of Keras
    fm.save_model(fm.Model(x, [turned, Scale(name="s")(x)]), tmp_path / "b.npz")
    assert describe(tmp_path / "b.npz").outputs == "outputs: back, s"
