"""Text and category layers: against Keras, in models, from files, and their errors."""

from __future__ import annotations

import copy
import importlib.util
import pickle
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastmask as fm
from fastmask import layers as L
from fastmask.layers._hashes import farmhash, siphash

from . import text_cases
from .text_cases import CASES, TEXTS, WORDS

Array = Any


def made(name: str) -> Any:
    case = CASES[name]
    layer = case.make(L)
    if case.adapt is not None:
        layer.adapt(case.adapt)
    return layer


@pytest.mark.parametrize("name", CASES)
def test_equals_keras(name: str) -> None:
    case, expected = CASES[name], text_cases.expected(name)
    layer = made(name)
    assert text_cases.knows(layer) == (
        expected.known if not name.startswith("intervals") else pytest.approx(expected.known)
    )
    array = np.array(case.inputs)
    for inputs in (case.inputs, array, array.astype(object if array.dtype.kind == "U" else "f8")):
        y = layer(inputs)
        known = np.array(expected.output)
        assert y.shape == known.shape or not y.size
        if y.dtype.kind == "f":
            np.testing.assert_allclose(y, known, atol=2e-6)
        else:
            assert y.tolist() == expected.output
    assert y.dtype == layer._output_dtype or y.dtype.kind == "U"
    shape = layer.compute_output_shape(array.shape)
    assert len(shape) == y.ndim
    assert all(n in (None, size) for n, size in zip(shape, y.shape, strict=True))


@pytest.mark.optional
def test_keras_still_answers_so() -> None:
    if not all(map(importlib.util.find_spec, ("keras", "tensorflow"))):
        pytest.skip("needs keras and tensorflow")
    script = Path(__file__).parent / "data" / "make_text_golden.py"
    check = subprocess.run(
        [sys.executable, str(script), "--check"], capture_output=True, text=True, check=False
    )
    assert check.returncode == 0, check.stdout + check.stderr


@pytest.mark.parametrize("name", CASES)
def test_made_again(name: str, tmp_path: Path) -> None:
    case, layer = CASES[name], made(name)
    expected = layer(case.inputs)
    model = fm.Sequential([layer])
    fm.save_model(model, tmp_path / "m.npz")
    read = fm.load_model(tmp_path / "m.npz")
    others = (type(layer).from_config(layer.get_config()), copy.deepcopy(layer))
    pickled = pickle.loads(pickle.dumps(layer))  # noqa: S301 - of this test
    for one in (*others, pickled, read, model):
        y = one(case.inputs)
        assert (y.tolist(), y.dtype) == (expected.tolist(), expected.dtype)
    assert layer.get_weights() == []


def test_kinds_of_texts() -> None:
    layer = L.TextVectorization(vocabulary=WORDS)
    expected = layer(TEXTS).tolist()
    encoded = [text.encode() for text in TEXTS]
    kinds = [np.array(TEXTS), np.array(TEXTS, object), np.array(encoded), encoded, tuple(TEXTS)]
    kinds += [np.array(encoded, object), np.array(TEXTS)[:, None], [[text] for text in TEXTS]]
    if hasattr(np.dtypes, "StringDType"):
        kinds.append(np.array(TEXTS, np.dtypes.StringDType()))
    for one in kinds:
        assert layer(one).tolist() == expected
    assert layer([]).shape == (0, 0)
    assert layer(np.array([], str)).shape == (0, 0)


def test_long_texts_take_no_more_than_they_are() -> None:
    texts = ["a " * 300_000, *["b"] * 3000]  # 7 GB, as an array of str
    y = fm.Sequential([L.TextVectorization(output_sequence_length=2, vocabulary=["a", "b"])])
    assert y(texts).tolist() == [[2, 2], *[[3, 0]] * 3000]
    assert y.predict(texts, verbose=0).tolist() == y(texts).tolist()


def test_functions_of_the_user() -> None:
    seen = []

    def shout(texts: Array) -> Array:
        seen.append((texts.dtype.kind, texts.shape))
        return np.char.upper(texts)

    layer = L.TextVectorization(
        standardize=shout, split=lambda texts: np.char.split(texts, ","), vocabulary=["A", "B"]
    )
    assert layer([["a,b"], ["b,,c"]]).tolist() == [[2, 3, 0], [3, 0, 1]]
    assert seen == [("U", (2, 1))]
    with pytest.raises(ValueError, match=r"standardize of layer .* is a function"):
        fm.save_model(fm.Sequential([layer]), "never.npz")
    wrong = L.TextVectorization(standardize=lambda texts: texts[:1], vocabulary=["a"])
    with pytest.raises(ValueError, match="standardize must return a text for each of 2"):
        wrong(["a", "b"])
    wrong = L.TextVectorization(split=lambda texts: texts, vocabulary=["a"])
    with pytest.raises(ValueError, match="split must return a list of tokens for each of 2"):
        wrong(["a", "b"])


class TestModels:
    """Strings as inputs of models."""

    TEXTS = ("the cat", "sat", "", "dog the the cat")

    def model(self) -> Any:
        vectors = L.TextVectorization(output_sequence_length=5, vocabulary=WORDS)
        return fm.Sequential(
            [
                fm.Input(shape=(), dtype="string"),
                vectors,
                L.Embedding(12, 4, mask_zero=True),
                L.LSTM(3),
            ]
        )

    def test_sequential(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        model, texts = self.model(), list(self.TEXTS)
        ids = L.TextVectorization(output_sequence_length=5, vocabulary=WORDS)(texts)
        expected = fm.Sequential(model.layers[1:])(ids)
        fm.save_model(model, tmp_path / "m.npz")
        for one in (model, fm.load_model(tmp_path / "m.npz")):
            for x in (texts, np.array(texts), np.array(texts, object), np.array(texts)[:, None]):
                np.testing.assert_array_equal(one.predict(x, batch_size=3, verbose=0), expected)
                np.testing.assert_array_equal(one(x), expected)
        model.summary()
        assert "(None, 5)" in capsys.readouterr().out
        assert [row.did for row in fm.trace_masks(model, texts)] == ["-", "made", "used"]

    def test_functional(self, tmp_path: Path) -> None:
        texts, numbers = fm.Input((), "string", "texts"), fm.Input((2,))
        ids = L.TextVectorization(vocabulary=WORDS)(texts)
        assert (ids.shape, ids.dtype) == ((None, None), np.int64)
        counts = L.TextVectorization(output_mode="tf_idf", vocabulary=["a"], idf_weights=[2.0])
        read = L.GRU(3)(L.Embedding(12, 4, mask_zero=True)(ids))
        model = fm.Model([texts, numbers], L.Concatenate()([read, numbers, counts(texts)]))
        fm.save_model(model, tmp_path / "m.npz")
        x = [list(self.TEXTS), np.ones((4, 2))]
        y = model.predict(x, batch_size=4, verbose=0)
        assert y.shape == (4, 7)
        again = fm.load_model(tmp_path / "m.npz")
        np.testing.assert_allclose(again.predict(x, batch_size=1, verbose=0), y, atol=1e-6)

    @pytest.mark.parametrize("shape", [(), (1,)])
    def test_texts_of_either_shape(self, shape: tuple[int, ...]) -> None:
        texts = fm.Input(shape, "string")
        model = fm.Model(texts, L.TextVectorization(vocabulary=WORDS)(texts))
        expected = [[2, 3], [4, 0]]
        for x in (["the cat", "sat"], [["the cat"], ["sat"]], np.array(["the cat", "sat"])):
            assert model(x).tolist() == model.predict(x, verbose=0).tolist() == expected
        with pytest.raises(ValueError, match="must have shape"):
            model([["the cat", "sat"]])

    def test_built_by_a_call(self) -> None:
        model = fm.Sequential(
            [L.StringLookup(vocabulary=["a", "b"], output_mode="multi_hot"), L.Dense(2)]
        )
        assert model([["a", "x"], ["b", "b"]]).shape == (2, 2)
        assert model.predict(np.array([["a", "x"]] * 40), verbose=0).shape == (40, 2)

    def test_numbers_are_refused(self) -> None:
        with pytest.raises(TypeError, match="inputs must hold strings, not dtype float64"):
            self.model()(np.ones(3))
        with pytest.raises(TypeError, match="inputs must hold strings, but one is None"):
            self.model()(np.array(["a", None], object))
        with pytest.raises(TypeError, match=r"x holds strings, which model .* does not take"):
            fm.Sequential([L.Dense(2)]).predict(np.array([["a"]]), verbose=0)


class TestAdapt:
    """Vocabularies learnt from data."""

    def test_batches(self) -> None:
        whole = L.TextVectorization()
        whole.adapt(TEXTS)

        def batches() -> Iterator[Array]:
            yield np.array(TEXTS[:2])
            yield (np.array(TEXTS[2:]), np.ones(3))

        for data in (batches(), (text for text in [TEXTS])):
            layer = L.TextVectorization()
            layer.adapt(data)
            assert layer.get_vocabulary() == whole.get_vocabulary()
        first = L.TextVectorization()
        first.adapt(batches(), steps=1)
        assert first.get_vocabulary(False) == ["the", "sat", "on", "mat", "dog", "cat"]
        assert first.vocabulary_size() == 8

    def test_again(self) -> None:
        layer = L.StringLookup()
        layer.adapt(["a", "b", "a"])
        layer.adapt(["c"])
        assert layer.get_vocabulary() == ["[UNK]", "c"]
        layer.set_vocabulary(["d", "e"])
        assert layer(["e", "c"]).tolist() == [2, 0]

    def test_a_vector_keeps_its_size(self) -> None:
        layer = L.StringLookup(output_mode="count")
        layer.adapt(["a", "b"])
        layer(["a"])
        layer.set_vocabulary(["c", "d"])
        with pytest.raises(ValueError, match="must keep its 2 tokens"):
            layer.set_vocabulary(["c"])

    def test_numbers(self) -> None:
        random = np.random.default_rng(0)
        x = random.normal(size=(50, 6))
        valid = random.random((50, 6)) < 0.5
        masked, plain = L.Discretization(num_bins=3), L.Discretization(num_bins=3)
        masked.adapt(fm.Masked(x[:, :, None], valid))
        plain.adapt(x[valid])
        assert masked.bin_boundaries == plain.bin_boundaries
        several = L.Discretization(num_bins=3)
        several.adapt([x[:25], x[25:]])
        assert several.bin_boundaries == pytest.approx(np.quantile(x, [1 / 3, 2 / 3]), abs=0.05)


def test_vocabulary_in_a_file(tmp_path: Path) -> None:
    path = tmp_path / "words.txt"
    path.write_text("the\nécole\n", "utf-8")
    layer = L.TextVectorization(vocabulary=str(path))
    assert layer.get_vocabulary() == ["", "[UNK]", "the", "école"]
    path.write_text("3\n-4\n", "utf-8")
    assert L.IntegerLookup(vocabulary=str(path))([3, -4]).tolist() == [1, 2]
    with pytest.raises(OSError, match="No such file"):
        L.StringLookup(vocabulary=str(tmp_path / "none.txt"))


@pytest.mark.parametrize("kind", ["StringLookup", "IntegerLookup", "TextVectorization"])
def test_a_config_names_no_file(kind: str) -> None:
    cls = getattr(L, kind)
    config = {**cls(vocabulary=[1] if kind == "IntegerLookup" else ["a"]).get_config()}
    with pytest.raises(ValueError, match=f"vocabulary of a {kind} in a file must be a list"):
        cls.from_config({**config, "vocabulary": "/etc/passwd"})


def test_configs_of_keras() -> None:
    config = {"max_tokens": 30, "ngrams": [1, 2], "vocabulary": None, "vocabulary_size": 17}
    layer = L.TextVectorization.from_config({**config, "dtype": {"config": {"name": "float32"}}})
    assert layer.ngrams == (1, 2)
    layer.adapt(["a b"])
    assert layer.get_vocabulary(False) == ["b", "a b", "a"]
    known = L.StringLookup.from_config({"vocabulary": ["a"], "oov_method": "floormod"})
    assert known(["a"]).tolist() == [1]


def test_hashes_of_others() -> None:
    # FARM_FINGERPRINT of BigQuery's documentation and the vectors of SipHash's paper.
    assert farmhash(b"a") == 12917804110809363939
    assert farmhash(b"fastmask") == 8481435208604967998
    key = [int.from_bytes(bytes(range(first, first + 8)), "little") for first in (0, 8)]
    assert siphash(bytes(range(15)), key) == 0xA129CA6149BE45E5
    assert siphash(b"", key) == 0x726FDB47DD0E0E31


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: L.TextVectorization(standardize="upper"), ValueError, "standardize must be one"),
        (lambda: L.TextVectorization(split="comma"), ValueError, "split must be one of"),
        (lambda: L.TextVectorization(ngrams=0), ValueError, "ngrams must be at least 1"),
        (lambda: L.TextVectorization(ngrams=()), ValueError, "ngrams must have a width"),
        (lambda: L.TextVectorization(ngrams="2"), TypeError, "ngrams must be an integer"),
        (lambda: L.TextVectorization(ragged=True), ValueError, "ragged must be False"),
        (lambda: L.TextVectorization(sparse=True), ValueError, "sparse must be False"),
        (lambda: L.TextVectorization(encoding="utf-9"), ValueError, "encoding must be the name"),
        (lambda: L.TextVectorization(output_mode="ints"), ValueError, "output_mode must be one"),
        (
            lambda: L.TextVectorization(output_mode="count", output_sequence_length=3),
            ValueError,
            "output_sequence_length must be None",
        ),
        (lambda: L.TextVectorization(1), ValueError, "max_tokens must be at least 2"),
        (lambda: L.TextVectorization(pad_to_max_tokens=True), ValueError, "max_tokens must be g"),
        (lambda: L.TextVectorization()(["a"]), ValueError, "has no vocabulary: give it one"),
        (lambda: L.TextVectorization(vocabulary=[]), ValueError, "vocabulary must be a list"),
        (lambda: L.TextVectorization(vocabulary=["a", "a"]), ValueError, r"twice, but has \['a'"),
        (lambda: L.TextVectorization(vocabulary=["a", ""]), ValueError, "mask_token '' at its"),
        (lambda: L.TextVectorization(3, vocabulary=["a", "b"]), ValueError, "at most max_tokens"),
        (lambda: L.TextVectorization(vocabulary=[1]), TypeError, "vocabulary must hold strings"),
        (lambda: L.TextVectorization(vocabulary=["", "[UNK]"]), ValueError, "a token besides"),
        (lambda: L.TextVectorization(vocabulary=WORDS)([["a", "b"]]), ValueError, "split must be"),
        (lambda: L.TextVectorization(vocabulary=WORDS).adapt(["a"]), ValueError, "cannot adapt"),
        (lambda: L.TextVectorization().adapt([""]), ValueError, "at least one token"),
        (
            lambda: L.TextVectorization(split=None, ngrams=2, vocabulary=WORDS)(["a"]),
            ValueError,
            r"must have shape \(batch, tokens\), not \(1,\)",
        ),
        (lambda: L.TextVectorization(vocabulary=WORDS)("a"), TypeError, "lists of texts, such"),
        (lambda: L.TextVectorization(vocabulary=WORDS)(["\ud800"]), ValueError, "UTF-8 can hold"),
        (lambda: L.StringLookup(num_oov_indices=-1), ValueError, "num_oov_indices must be at"),
        (lambda: L.StringLookup(invert=True, output_mode="count"), ValueError, "output_mode must"),
        (lambda: L.StringLookup(idf_weights=[1.0]), ValueError, "vocabulary must be given"),
        (
            lambda: L.StringLookup(output_mode="tf_idf", vocabulary=["a"]),
            ValueError,
            "idf_weights must be given",
        ),
        (
            lambda: L.StringLookup(output_mode="tf_idf", vocabulary=["a"], idf_weights=[1, 2]),
            ValueError,
            "idf_weights must be one for each of 1 tokens",
        ),
        (lambda: L.StringLookup(salt=[1, 2, 3]), ValueError, "salt must be an integer or two"),
        (
            lambda: L.StringLookup(num_oov_indices=0, vocabulary=["a"])(["b"]),
            ValueError,
            "hold 'b', which is not in its vocabulary",
        ),
        (
            lambda: L.StringLookup(output_mode="count", vocabulary=["a"])([[["a"]]]),
            ValueError,
            "one axis or two",
        ),
        (lambda: L.StringLookup(vocabulary=["a"])([["a"], ["a", "b"]]), TypeError, "one is "),
        (lambda: L.IntegerLookup(vocabulary_dtype="int32"), ValueError, "vocabulary_dtype must"),
        (lambda: L.IntegerLookup(vocabulary=["a"]), TypeError, "token in vocabulary must be an"),
        (lambda: L.IntegerLookup(salt=3), ValueError, "oov_method must be 'farmhash'"),
        (lambda: L.IntegerLookup(vocabulary=[1])([0.5]), ValueError, "must hold integers"),
        (lambda: L.CategoryEncoding(), TypeError, "num_tokens must be an integer"),
        (lambda: L.CategoryEncoding(3)([[0, 3]]), ValueError, "ids from 0 to 2, but one is 3"),
        (lambda: L.CategoryEncoding(3)([[0, -1]]), ValueError, "but one is -1"),
        (lambda: L.CategoryEncoding(3)([[[0]]]), ValueError, "one axis or two"),
        (lambda: L.CategoryEncoding(3, "int"), ValueError, "output_mode must be one of"),
        (
            lambda: L.CategoryEncoding(3)([[0]], count_weights=[[1.0]]),
            ValueError,
            "count_weights of layer .* must not be given",
        ),
        (lambda: L.Discretization(), ValueError, "bin_boundaries or num_bins must"),
        (lambda: L.Discretization([1.0, 0.0]), ValueError, "ascending order"),
        (lambda: L.Discretization(num_bins=3)([1.0]), ValueError, "has no boundaries yet"),
        (lambda: L.Discretization([1.0]).adapt([1.0]), ValueError, "cannot adapt"),
        (lambda: L.Discretization(num_bins=3, epsilon=0), ValueError, "epsilon must be between"),
    ],
)
def test_misuse(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()


def test_weights_of_categories() -> None:
    weights = np.array([[0.5, 1.0, 2.0], [1.0, 1.0, 0.0]])
    y = L.CategoryEncoding(3, "count")([[0, 1, 1], [2, 2, 0]], count_weights=weights)
    assert y.tolist() == [[0.5, 3.0, 0.0], [0.0, 0.0, 2.0]]
