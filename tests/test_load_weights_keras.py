"""Weights saved by Keras: in one HDF5 file, or in several with a map."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastmask as fm
from fastmask import layers as L

SAVED = Path(__file__).parent / "data" / "models"
FILES = ("weights_only.weights.h5", "sharded.weights.json")


def reader(units: int = 6) -> Any:
    model = fm.Sequential(
        [
            L.Embedding(40, 8, mask_zero=True),
            L.Bidirectional(L.GRU(units, return_sequences=True)),
            L.LSTM(5),
        ]
    )
    model.build((None, None))
    return model


@pytest.mark.parametrize("name", FILES)
def test_saved_by_keras(name: str) -> None:
    model = reader()
    model.load_weights(SAVED / name)
    with np.load(SAVED / "weights_only.io.npz") as file:
        np.testing.assert_allclose(model(file["x0"]), file["y0"], atol=1e-6)


@pytest.mark.parametrize("name", FILES)
def test_misfits(name: str) -> None:
    model = reader(units=7)
    model.add(L.Dense(3))
    model.build((None, None))
    before = model.get_weights()
    with pytest.raises(ValueError, match="do not fit model") as caught:
        model.load_weights(SAVED / name)
    lines = str(caught.value).splitlines()[1:]
    assert len(lines) == 9
    cell = "layers/bidirectional/forward_layer/cell/vars"
    assert f"  {cell}/0 (kernel): wants (8, 21), but it is (8, 18)" in lines
    assert "  layers/dense/vars/1 (bias): wants (3,), but is not in the file" in lines
    for one, other in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(one, other)
    words = fm.Sequential([L.Embedding(40, 8)])
    words.build((None, None))
    with pytest.raises(
        ValueError, match=r"the file has layers/lstm/cell/vars/2 \(20,\), for which"
    ):
        words.load_weights(SAVED / name)


def test_of_the_file_of_a_model() -> None:
    names = "masking_stack.h5 masking_stack.keras seq2seq.keras two_inputs.h5 multi_head.keras"
    for name in (*names.split(), "keras2_functional.h5", "int8.keras"):
        model = fm.load_model(SAVED / name)
        expected = model.get_weights()
        model.set_weights([np.zeros_like(weight) for weight in expected])
        model.load_weights(SAVED / name)
        for one, other in zip(model.weights, expected, strict=True):
            np.testing.assert_array_equal(one, other, name)


@pytest.mark.parametrize("name", ["masking_stack.h5", "masking_stack.keras"])
def test_another_model(name: str) -> None:
    model = fm.Sequential([L.Dense(3, name="one"), L.Dense(4)])
    model.build((None, 5))
    with pytest.raises(ValueError, match="do not fit model"):
        model.load_weights(SAVED / name)
    model = fm.Sequential([L.Masking(), L.LSTM(9, return_sequences=True)])
    model.add(L.BatchNormalization())
    model.add(L.GRU(2))
    model.add(L.Dense(2))
    model.build((None, None, 5))
    with pytest.raises(ValueError, match=r"wants \(.*but it is \("):
        model.load_weights(SAVED / name)


class TestMaps:
    """A .weights.json names files in its own folder, or is refused."""

    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        for name in sorted(SAVED.glob("sharded*")):
            shutil.copy(name, tmp_path)
        return tmp_path / "sharded.weights.json"

    def refused(self, path: Path, content: Any, words: str) -> None:
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        with pytest.raises(ValueError, match=f"has no weights that can be read: .*{words}"):
            reader().load_weights(path)

    def test_places(self, path: Path, tmp_path: Path) -> None:
        folder = tmp_path / "inner"
        folder.mkdir()
        (tmp_path / "link.h5").symlink_to(tmp_path / "sharded_00000.weights.h5")
        for name, words in (
            ("../sharded_00000.weights.h5", "must be a file in its own folder"),
            (str(tmp_path / "sharded_00000.weights.h5"), "must be a file in its own folder"),
            ("inner/x.h5", "must be a file in its own folder"),
            ("..", "must be a file in its own folder"),
            ("link.h5", "which is a link"),
            ("inner", "is a folder"),
            ("sharded.weights.json", "is not an HDF5 file"),
        ):
            self.refused(path, {"weight_map": {"a": name}}, words)
        path.write_text(json.dumps({"weight_map": {"a": "none.h5"}}))
        with pytest.raises(FileNotFoundError):
            reader().load_weights(path)

    def test_contents(self, path: Path) -> None:
        for content, words in (
            ("", "Expecting value"),
            ("[1]", "it has no weight_map"),
            ('{"weight_map": [1]}', "it has no weight_map"),
            ('{"weight_map": {"a": [3]}}', "must hold names of files, not 3"),
            ('{"weight_map": {"a": {"b": 3}}}', "must hold names of files, not {'b': 3}"),
            ("[" * 100_000, "recursion|Recursion"),
        ):
            self.refused(path, content, words)


LIVE = """
import sys
import keras, numpy as np
from keras import layers as K
random, folder = np.random.default_rng(9), sys.argv[1]
ids, x = keras.Input((None,), dtype="int32"), keras.Input((6, 4))
seq = dict(return_sequences=True)
inner = keras.Sequential([keras.Input((None, 4)), K.Dense(3), K.Dropout(0.1), K.LSTM(3, **seq)])
read = K.LSTM(4, return_sequences=True)
a = read(read(K.Embedding(20, 4)(ids)))
b = K.BatchNormalization()(K.Conv1D(4, 3, padding="same")(x))
c = K.TimeDistributed(K.Dense(4))(K.LayerNormalization()(b))
d = K.MultiHeadAttention(2, 3)(c, c)
e = K.RNN([K.LSTMCell(3), K.GRUCell(4)], return_sequences=True)(d)
f = K.Bidirectional(K.SimpleRNN(2), backward_layer=K.GRU(3, go_backwards=True))(e)
g = K.Dense(2)(K.GRU(3, reset_after=False)(inner(a)))
model = keras.Model([ids, x], [f, g])
model.set_weights([random.uniform(0.1, 0.9, size=w.shape) for w in model.get_weights()])
model.save_weights(f"{folder}/a.weights.h5")
model.save_weights(f"{folder}/b.weights.json", max_shard_size=3e-6)
start = keras.Input((None,), dtype="int32")
few = keras.Sequential([start, K.Embedding(9, 4), K.Dense(3), K.Dense(2, use_bias=False)])
few.set_weights([random.uniform(-0.9, 0.9, size=w.shape) for w in few.get_weights()])
np.save(f"{folder}/exact.npy", keras.ops.convert_to_numpy(few(np.array([[1, 2, 8]]))))
few.quantize("int8")
few.save_weights(f"{folder}/int8.weights.h5")
inputs = random.integers(1, 20, size=(2, 6)), random.normal(size=(2, 6, 4)).astype("f4")
outputs = [keras.ops.convert_to_numpy(y) for y in model(list(inputs))]
np.savez(f"{folder}/io.npz", *inputs, *outputs)
"""


@pytest.mark.optional
def test_every_kind_of_layer(tmp_path: Path) -> None:
    if not all(map(find_spec, ("keras", "torch", "h5py"))):
        pytest.skip("needs the extras keras and torch")
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", LIVE, str(tmp_path)],
        env=os.environ | {"KERAS_BACKEND": "torch", "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    ids, x = fm.Input((None,), dtype="int32"), fm.Input((6, 4))
    inner = fm.Sequential(
        [fm.Input((None, 4)), L.Dense(3), L.Dropout(0.1), L.LSTM(3, return_sequences=True)]
    )
    read = L.LSTM(4, return_sequences=True)
    a = read(read(L.Embedding(20, 4)(ids)))
    b = L.BatchNormalization()(L.Conv1D(4, 3, padding="same")(x))
    c = L.TimeDistributed(L.Dense(4))(L.LayerNormalization()(b))
    d = L.MultiHeadAttention(2, 3)(c, c)
    e = L.RNN([L.LSTMCell(3), L.GRUCell(4)], return_sequences=True)(d)
    f = L.Bidirectional(L.SimpleRNN(2), backward_layer=L.GRU(3, go_backwards=True))(e)
    g = L.Dense(2)(L.GRU(3, reset_after=False)(inner(a)))
    model = fm.Model([ids, x], [f, g])
    with np.load(tmp_path / "io.npz") as file:
        first, second, *expected = file.values()
    for name in ("a.weights.h5", "b.weights.json"):
        model.set_weights([np.zeros(weight.shape) for weight in model.weights])
        model.load_weights(tmp_path / name)
        for one, other in zip(model([first, second]), expected, strict=True):
            np.testing.assert_allclose(one, other, atol=1e-5)
    few = fm.Sequential([L.Embedding(9, 4), L.Dense(3), L.Dense(2, use_bias=False)])
    few.build((None, None))
    few.load_weights(tmp_path / "int8.weights.h5")
    np.testing.assert_allclose(few([[1, 2, 8]]), np.load(tmp_path / "exact.npy"), atol=0.05)
    few = fm.Sequential([L.Embedding(9, 4), L.Dense(3), L.Dense(2)])  # a bias that is a scale there
    few.build((None, None))
    with pytest.raises(ValueError, match=r"dense_1/vars/2 \(scale\): wants \(2,\), but is not in"):
        few.load_weights(tmp_path / "int8.weights.h5")
