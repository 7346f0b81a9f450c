"""Weights from files of other programs: the right ones, or one error that lists all faults."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastmask as fm
from fastmask import layers as L

from .weight_files import DTYPES, safetensors

SAVED = Path(__file__).parent / "data" / "models"


def stack() -> Any:
    model = fm.Sequential(
        [L.Masking(), *(L.Bidirectional(L.LSTM(7, return_sequences=True)) for _ in range(2))]
    )
    model.build((None, None, 6))
    return model


def classifier() -> Any:
    """A model with each kind of layer that torch has."""
    model = fm.Sequential(
        [
            L.Embedding(11, 4, mask_zero=True),
            L.Bidirectional(L.GRU(3, return_sequences=True)),
            L.LayerNormalization(),
            L.SimpleRNN(5),
            L.BatchNormalization(),
            L.Dense(2, use_bias=False),
        ]
    )
    model.build((None, None))
    return model


def drawn(random: np.random.Generator, **shapes: tuple[int, ...]) -> dict[str, Any]:
    return {name: random.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


def recurrent(random: np.random.Generator, prefix: str, gates: int, f: int, u: int) -> Any:
    sizes = {"weight_ih": (gates * u, f), "weight_hh": (gates * u, u)}
    sizes |= dict.fromkeys(("bias_ih", "bias_hh"), (gates * u,))
    return drawn(
        random, **{name.replace("weight", f"{prefix}weight"): s for name, s in sizes.items()}
    )


def state_of_classifier() -> tuple[dict[str, Any], list[Any]]:
    """A state dict with torch's names, in an arbitrary order, and our weights."""
    random = np.random.default_rng(5)

    def new(*shape: int) -> Any:
        return random.normal(size=shape).astype(np.float32)

    def zrh(rows: Any) -> Any:
        r, z, n = rows.reshape(3, -1, *rows.shape[1:])
        return np.concatenate([z, r, n])

    table, dense, moments = new(11, 4), new(2, 5), [new(5) for _ in range(4)]
    norm = [new(6), new(6)]
    gru = [[new(9, 4), new(9, 3), new(9), new(9)] for _ in range(2)]
    rnn = [new(5, 6), new(5, 5), new(5), new(5)]
    words = "weight_ih weight_hh bias_ih bias_hh".split()
    state = {
        "out.weight": dense,
        **{f"b.read.{w}_l0": value for w, value in zip(words, rnn, strict=True)},
        **{f"gru.{w}_l0_reverse": value for w, value in zip(words, gru[1], strict=True)},
        **{f"gru.{w}_l0": value for w, value in zip(words, gru[0], strict=True)},
        "a.weight": norm[0],
        "a.bias": norm[1],
        "bn.num_batches_tracked": np.array(7),
        **{
            f"bn.{w}": value
            for w, value in zip(
                "weight bias running_mean running_var".split(), moments, strict=True
            )
        },
        "words.weight": table,
    }
    ours = [
        table,
        *(
            one
            for ih, hh, b, c in gru
            for one in (zrh(ih).T, zrh(hh).T, np.stack([zrh(b), zrh(c)]))
        ),
        *norm,
        *(rnn[0].T, rnn[1].T, rnn[2] + rnn[3]),
        *moments,
        dense.T,
    ]
    return state, ours


@pytest.mark.parametrize("ending", ["pt", "safetensors"])
def test_saved_by_torch(ending: str) -> None:
    model = stack()
    model.load_weights(SAVED / f"torch_lstm.{ending}")
    with np.load(SAVED / "torch_lstm.io.npz") as file:
        np.testing.assert_allclose(model(file["x0"]).data, file["y0"], atol=1e-6)


def test_every_kind_of_module(tmp_path: Path) -> None:
    state, ours = state_of_classifier()
    model = classifier()
    safetensors(tmp_path / "a.safetensors", state)
    model.load_weights(tmp_path / "a.safetensors")
    for one, other in zip(model.get_weights(), ours, strict=True):
        np.testing.assert_array_equal(one, other)


def test_halves_become_float32(tmp_path: Path) -> None:
    model = fm.Sequential([L.Dense(2)])
    model.build((None, 3))
    exact = np.array([[1, -2.5, 0.125], [3, 0, -0.5]], np.float32)
    for dtype in ("F64", "F32", "F16", "BF16"):
        path = tmp_path / f"{dtype}.safetensors"
        safetensors(path, {"weight": exact, "bias": exact[:, 0]}, dtype)
        model.load_weights(str(path))
        np.testing.assert_array_equal(model.weights[0], exact.T)
        assert model.weights[0].dtype == np.float32


class TestMisfits:
    def test_all_in_one_error(self, tmp_path: Path) -> None:
        state, _ = state_of_classifier()
        del state["words.weight"]
        state["out.weight"] = np.zeros((2, 6))
        state["more.weight"] = state["more.bias"] = np.zeros(8)
        path = tmp_path / "a.safetensors"
        safetensors(path, state)
        model = classifier()
        before = model.get_weights()
        with pytest.raises(ValueError, match="do not fit model") as caught:
            model.load_weights(path)
        lines = str(caught.value).splitlines()
        assert lines[0] == f"the weights in {path} do not fit model {model.name!r}:"
        names = [layer.name for layer in model.layers]
        assert sorted(lines[1:]) == sorted(
            [
                f"  {names[0]}: wants weight (11, 4), but it is (2, 6) in the file's 'out'",
                f"  {names[5]}: wants weight (2, 5); nothing like that is left in the file",
                "  the file's 'more' has weight (8,), bias (8,), for which there is no layer",
            ]
        )
        for one, other in zip(model.get_weights(), before, strict=True):
            np.testing.assert_array_equal(one, other)

    def test_another_gru(self, tmp_path: Path) -> None:
        random = np.random.default_rng(6)
        words = {"weight_ih_l0": (9, 2), "weight_hh_l0": (9, 3)}
        safetensors(tmp_path / "a.safetensors", drawn(random, **words))
        model = fm.Sequential([L.GRU(3, reset_after=False, use_bias=False, name="read")])
        model.build((None, None, 2))
        with pytest.raises(ValueError, match="read: reset_after is False, but the file's 'l0' has"):
            model.load_weights(tmp_path / "a.safetensors")

    def test_projections_and_missing_biases(self, tmp_path: Path) -> None:
        random = np.random.default_rng(7)
        model = fm.Sequential([L.LSTM(3)])
        model.build((None, None, 2))
        words = {"weight_ih_l0": (12, 2), "weight_hh_l0": (12, 3)}
        for more in ({}, {"weight_hr_l0": (2, 3), "bias_ih_l0": (12,), "bias_hh_l0": (12,)}):
            safetensors(tmp_path / "a.safetensors", drawn(random, **words, **more))
            with pytest.raises(ValueError, match="for which there is no layer"):
                model.load_weights(tmp_path / "a.safetensors")


class TestWhichOfSeveral:
    """Modules with the same shapes."""

    @staticmethod
    def model(*names: str) -> Any:
        model = fm.Sequential([L.Dense(2, use_bias=False, name=name) for name in names])
        model.build((None, 2))
        return model

    @staticmethod
    def state(*names: str) -> Mapping[str, Any]:
        return {f"{name}.weight": np.full((2, 2), float(i)) for i, name in enumerate(names)}

    def firsts(self, model: Any, path: Path) -> list[float]:
        model.load_weights(path)
        return [float(weight[0, 0]) for weight in model.weights]

    def test_numbers(self, tmp_path: Path) -> None:
        path = tmp_path / "a.safetensors"
        safetensors(path, self.state("net.10", "net.9", "net.2"))
        assert self.firsts(self.model("a", "b", "c"), path) == [2.0, 1.0, 0.0]

    def test_names(self, tmp_path: Path) -> None:
        path = tmp_path / "a.safetensors"
        safetensors(path, self.state("decoder", "net.encoder"))
        assert self.firsts(self.model("net_encoder", "decoder"), path) == [1.0, 0.0]

    def test_unknown_order(self, tmp_path: Path) -> None:
        path = tmp_path / "a.safetensors"
        safetensors(path, self.state("decoder", "encoder"))
        with pytest.raises(ValueError, match="decoder, encoder in the file fit the layers a, b"):
            self.model("a", "b").load_weights(path)


class TestNpz:
    def test_of_keras_and_of_save_model(self, tmp_path: Path) -> None:
        random = np.random.default_rng(8)
        model = classifier()
        weights = [random.normal(size=w.shape) for w in model.weights]
        np.savez(tmp_path / "list.npz", *weights)
        model.load_weights(tmp_path / "list.npz")
        fm.save_model(model, tmp_path / "model.npz")
        again = classifier()
        again.load_weights(tmp_path / "model.npz")
        for one, other, wanted in zip(model.weights, again.weights, weights, strict=True):
            np.testing.assert_array_equal(one, wanted.astype(np.float32))
            np.testing.assert_array_equal(other, one)

    def test_misfits(self, tmp_path: Path) -> None:
        model = fm.Sequential([L.Dense(2)])
        model.build((None, 3))
        path = tmp_path / "a.npz"
        for arrays, lines in (
            ([np.zeros((2, 3))], ["kernel: wants (3, 2)", "bias: wants (2,); nothing is left"]),
            ([np.zeros((3, 2)), np.zeros(2), np.zeros(1)], ["the file has arr_2"]),
            ([np.zeros((3, 2)), np.array(["a", "b"])], ["bias: wants (2,); the file's arr_1"]),
        ):
            np.savez(path, *arrays)
            with pytest.raises(ValueError, match="do not fit model") as caught:
                model.load_weights(path)
            assert all(line in str(caught.value) for line in lines)
        np.savez(path, kernel=np.zeros((3, 2)))
        with pytest.raises(ValueError, match="it holds kernel, not weights as w0, w1"):
            model.load_weights(path)


class TestArguments:
    def test_not_built(self) -> None:
        model = fm.Sequential([L.LSTM(3, name="read")])
        with pytest.raises(ValueError, match=r"must be built before .* 'read' is not: call the"):
            model.load_weights(SAVED / "torch_lstm.pt")

    def test_paths(self, tmp_path: Path) -> None:
        model = stack()
        with pytest.raises(
            ValueError, match=r"path must end in .*\.npz.*, not 'a\.ckpt'; .*rename it to \.pt"
        ):
            model.load_weights("a.ckpt")
        with pytest.raises(TypeError, match="path must be the name of a file, not 3"):
            model.load_weights(3)
        with pytest.raises(FileNotFoundError):
            model.load_weights(tmp_path / "a.pt")
        (tmp_path / "b.pt").mkdir()
        with pytest.raises(ValueError, match="is a folder"):
            model.load_weights(tmp_path / "b.pt")


def repacked(changes: Mapping[str, bytes | None], method: int = zipfile.ZIP_STORED) -> bytes:
    """torch_lstm.pt with other members."""
    stream = io.BytesIO()
    with (
        zipfile.ZipFile(SAVED / "torch_lstm.pt") as old,
        zipfile.ZipFile(stream, "w", method) as new,
    ):
        for name in old.namelist():
            content = changes.get(name.removeprefix("torch_lstm/"), old.read(name))
            if content is not None:
                new.writestr(name, content)
    return stream.getvalue()


def pickle_of_lstm() -> bytes:
    with zipfile.ZipFile(SAVED / "torch_lstm.pt") as archive:
        return archive.read("torch_lstm/data.pkl")


class TestHostileStateDicts:
    """No name in a pickle is looked up, and its sizes are not trusted."""

    @pytest.mark.parametrize(
        ("old", "new", "words"),
        [
            (b"ctorch._utils\n_rebuild_tensor_v2", b"cos\nsystem", "it names 'os.system'"),
            (
                b"ccollections\nOrderedDict",
                b"c__main__\nNet",
                r"it names '__main__\.Net', .* module",
            ),
            (b"ctorch\nFloatStorage", b"ctorch\nFloatStorage2", "it names 'torch.FloatStorage2'"),
            (b"FloatStorage", b"DoubleStorage", "storage '0' must have 168 numbers of F64"),
            (b"X\1\0\0\0000", b"X\4\0\0\0../0", "There is no item named"),
            (b"K\x1cK\x06\x86", b"K\x1cK\x07\x86", "lies beyond the end of its storage"),
            (b")R", b"NR", "has a NoneType in the place of a tuple"),
            (b"q\0)R", b"q\0r\xff\xff\xff\xff)R", ""),  # a memo of 4 294 967 295 entries
            (b"(X", b"(" + 40_000 * b"(" + b"X", "cannot|has a|pop|strict|mark|index|zip"),
            (b"}q", b"\x89\x85" + 50_000 * b"\x85" + b"K\1s}q", "has a "),  # a deep key of a dict
        ],
    )
    def test_pickles(self, old: bytes, new: bytes, words: str, tmp_path: Path) -> None:
        data = pickle_of_lstm()
        assert old in data
        path = tmp_path / "a.pt"
        path.write_bytes(repacked({"data.pkl": data.replace(old, new)}))
        if not words:
            stack().load_weights(path)
            return
        with pytest.raises(ValueError, match=words):
            stack().load_weights(path)

    @pytest.mark.parametrize(
        ("changes", "words"),
        [
            ({"data.pkl": None}, "it has no data.pkl"),
            ({"data/3": b""}, "storage '3' must have 28 numbers of F32"),
            ({"data/3": None}, "There is no item named"),
            ({"byteorder": b"big"}, "not in little-endian order"),
            ({"data.pkl": b"\x80\2N."}, "it holds a NoneType, not a state dict"),
            ({"data.pkl": b"\x80\2}X\5\0\0\0epochK\3s."}, "it holds a dict with 'epoch', not a"),
        ],
    )
    def test_members(self, changes: Any, words: str, tmp_path: Path) -> None:
        path = tmp_path / "a.pt"
        path.write_bytes(repacked(changes))
        with pytest.raises(ValueError, match=f"has no weights that can be read: .*{words}"):
            stack().load_weights(path)

    def test_compressed_or_no_zip(self, tmp_path: Path) -> None:
        path = tmp_path / "a.pt"
        path.write_bytes(repacked({}, zipfile.ZIP_DEFLATED))
        with pytest.raises(ValueError, match="compressed"):
            stack().load_weights(path)
        path.write_bytes(pickle_of_lstm())
        with pytest.raises(
            ValueError, match=r"no zip, as torch\.save has written since torch 1\.6"
        ):
            stack().load_weights(path)

    def test_the_only_state_dict_of_a_checkpoint(self, tmp_path: Path) -> None:
        inner = pickle_of_lstm()[2:-1]
        data = b"\x80\2}(X\5\0\0\0epochK\3X\5\0\0\0model" + inner + b"u."
        path = tmp_path / "a.pt"
        path.write_bytes(repacked({"data.pkl": data}))
        one, other = stack(), stack()
        one.load_weights(path)
        other.load_weights(SAVED / "torch_lstm.pt")
        for a, b in zip(one.weights, other.weights, strict=True):
            np.testing.assert_array_equal(a, b)


class TestHostileSafetensors:
    @pytest.mark.parametrize(
        ("header", "words"),
        [
            (
                {"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 16]}},
                "do not have its size",
            ),
            (
                {"a": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 2**42]}},
                "beyond the end",
            ),
            ({"a": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 8]}}, "sizes of at least 0"),
            (
                {"a": {"dtype": "F32", "shape": [True], "data_offsets": [0, 8]}},
                "sizes of at least 0",
            ),
            ({"a": {"dtype": "F32", "shape": "2", "data_offsets": [0, 8]}}, "a list of sizes"),
            ({"a": {"dtype": "F8", "shape": [2], "data_offsets": [0, 8]}}, "dtype 'F8' is none of"),
            ({"a": {"dtype": 3, "shape": [2], "data_offsets": [0, 8]}}, "do not have its size"),
            ({"a": {"dtype": "F32", "shape": [2]}}, "must have dtype, shape and data_offsets"),
            ([1, 2], "its header is not a JSON object"),
        ],
    )
    def test_headers(self, header: Any, words: str, tmp_path: Path) -> None:
        text = json.dumps(header).encode()
        path = tmp_path / "a.safetensors"
        path.write_bytes(len(text).to_bytes(8, "little") + text + bytes(8))
        with pytest.raises(ValueError, match=words):
            stack().load_weights(path)

    @pytest.mark.parametrize("content", [b"", b"\xff" * 8, b"\x10" + bytes(7), b"[" * 10**6])
    def test_others(self, content: bytes, tmp_path: Path) -> None:
        path = tmp_path / "a.safetensors"
        path.write_bytes(
            len(content).to_bytes(8, "little") + content if len(content) > 99 else content
        )
        with pytest.raises(ValueError, match="has no weights that can be read"):
            stack().load_weights(path)


def test_all_dtypes_are_known() -> None:
    assert {"F32", "F16", "BF16", "F64"} <= set(DTYPES)
