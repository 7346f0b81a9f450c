"""`fm.Predictor` on dicts: columns of every form, with predictions as a further column."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastmask as fm
from fastmask import layers as L

from .predictor_cases import ROWS, WHO, built, padded, reader, tagged_rows, tagger


def objects(rows: list[Any]) -> np.ndarray[Any, Any]:
    """Rows as an array of arrays, the form that Ray uses."""
    array = np.empty(len(rows), object)
    array[:] = [np.array(row, np.int64) for row in rows]
    return array


class TestDicts:
    def test_each_form_of_a_column(self) -> None:
        model = reader()
        predict = fm.Predictor(model, "ids")
        expected = model(padded())
        for ids in (ROWS, objects(ROWS), fm.ragged(ROWS), tuple(ROWS)):
            batch = {"ids": ids, "who": np.array(WHO)}
            found = predict(batch)
            assert list(found) == ["ids", "who", "prediction"]
            assert list(batch) == ["ids", "who"]
            assert found["ids"] is ids
            np.testing.assert_allclose(found["prediction"], expected, atol=1e-6)
        whole = predict({"ids": padded()})
        np.testing.assert_allclose(whole["prediction"], expected, atol=1e-6)

    @pytest.mark.optional
    def test_what_other_libraries_have(self) -> None:
        torch = pytest.importorskip("torch")
        ak = pytest.importorskip("awkward")
        predict = fm.Predictor(reader(), "ids")
        expected = reader()(padded())
        rows = [torch.tensor(row, dtype=torch.int64) for row in ROWS]
        nested = torch.nested.nested_tensor(rows, layout=torch.jagged)
        whole = torch.tensor(padded())
        for ids in (whole, nested, ak.Array(ROWS), fm.pad(ROWS)):
            found = predict({"ids": ids})["prediction"]
            np.testing.assert_allclose(found, expected, atol=1e-6)
        times = np.array(["2024-01-01"], "M8[ns]")
        with pytest.raises(ValueError, match=r"ids\[0\] must hold numbers, not .*datetime64"):
            fm.Predictor(built(L.Dense(1), shape=(None, 1)), "ids")({"ids": times})

    def test_sequences_out(self) -> None:
        model = tagger()
        found = fm.Predictor(model, "ids", output="tags")({"ids": objects(ROWS)})["tags"]
        assert found.dtype == object
        for one, row in zip(found, tagged_rows(model), strict=True):
            np.testing.assert_allclose(one, np.reshape(row, (-1, 2)), atol=1e-6)

    def test_several_inputs_and_outputs(self) -> None:
        words, number = fm.Input((None,), "int32", name="words"), fm.Input((1,), name="number")
        read = L.SimpleRNN(2)(L.Embedding(20, 3, mask_zero=True)(words))
        model = fm.Model([words, number], {"both": L.Concatenate()([read, number]), "read": read})
        batch = {"n": np.array([0.5, 1.5, -1, 0, 2]), "w": ROWS}
        expected = model([padded(), batch["n"][:, None]])
        for column in (["w", "n"], ("w", "n"), {"number": "n", "words": "w"}):
            found = fm.Predictor(model, column, batch_size=2)(batch)
            assert list(found) == ["n", "w", "prediction_both", "prediction_read"]
            np.testing.assert_allclose(found["prediction_both"], expected["both"], atol=1e-6)
            np.testing.assert_allclose(found["prediction_read"], expected["read"], atol=1e-6)
        with pytest.raises(ValueError, match=r"inputs of model .* must be 'words', 'number', not"):
            fm.Predictor(model, {"words": "w"})

    def test_texts(self) -> None:
        words = fm.Input((None,), dtype="string")
        ids = L.StringLookup(vocabulary=["good", "bad"], mask_token="")(words)
        model = fm.Model(words, L.SimpleRNN(2)(L.Embedding(4, 3, mask_zero=True)(ids)))
        rows = [["good", "bad"], ["odd"], []]
        expected = model([["good", "bad"], ["odd", ""], ["", ""]])
        found = fm.Predictor(model, "words")({"words": rows})["prediction"]
        np.testing.assert_allclose(found, expected, atol=1e-6)

    def test_no_rows(self) -> None:
        for model, shape in ((reader(), (0, 2)), (tagger(), (0,))):
            for ids in ([], objects([]), padded()[:0]):
                assert fm.Predictor(model, "ids")({"ids": ids})["prediction"].shape == shape
        features = fm.Predictor(built(L.Dense(2), shape=(None, 3)), "x")
        for none in ([], objects([]), np.zeros((0, 3))):
            assert features({"x": none})["prediction"].shape == (0, 2)

    def test_mistakes(self) -> None:
        predict = fm.Predictor(reader(), "ids")
        for batch, words in (
            ({"ids": [[1], None]}, r"ids\[1\] has no value"),
            ({"ids": [[1], [2, None]]}, r"ids\[1\] must hold numbers, not \[2, None\]"),
            ({"ids": [[1], ["a"]]}, r"ids\[1\] must hold numbers, not \['a'\]"),
            ({"ids": np.arange(3)}, r"ids\[0\] must be a list, not 0"),
            (
                {"ids": [[1]] * 70 + [[2, 20]] + [[99]]},
                r"^ids\[70\]: .* from 0 to 19, but one is 20",
            ),
            ({"ids": [[[1]]]}, r"^ids\[0\]: inputs of layer"),
            ({"other": [[1]]}, "there is no column 'ids', only other"),
            ({}, "there is no column 'ids'"),
            ({"ids": [[1]], "prediction": [2]}, "there is a column 'prediction' already"),
            (
                {"ids": [[1]], "other": [1, 2]},
                "the same number of rows, not {'ids': 1",
            ),
        ):
            with pytest.raises(ValueError, match=words):
                predict(batch)
        with pytest.raises(TypeError, match="column 'ids' of a batch must hold rows, not 5"):
            predict({"ids": 5})
        with pytest.raises(TypeError, match=r"batch must be a dict of arrays, .*not list"):
            predict([[1]])

    def test_numbers_among_texts(self) -> None:
        layers = L.StringLookup(vocabulary=["a", "1"]), L.Embedding(4, 2), L.SimpleRNN(2)
        predict = fm.Predictor(built(*layers), "t")
        assert predict({"t": [["a", "1"], []]})["prediction"].shape == (2, 2)
        with pytest.raises(ValueError, match=r"t\[1\] must hold text, not \['a', 1\]"):
            predict({"t": [["a"], ["a", 1]]})

    def test_rows_of_several_columns_that_do_not_fit(self) -> None:
        inputs = [fm.Input((None,)), fm.Input((None,))]
        layer = L.Embedding(20, 3, mask_zero=True)
        model = fm.Model(inputs, L.Add()([L.SimpleRNN(2)(layer(one)) for one in inputs]))
        predict = fm.Predictor(model, ["one", "other"], batch_size=2)
        with pytest.raises(ValueError, match=r"^one\[3\], other\[3\]: .* but one is 33"):
            predict({"one": ROWS, "other": [[1], [], [2], [33], [44]]})


class TestPadding:
    """Models with a layer that cannot take a `Ragged`."""

    ROWS = ([[2.0], [4.0]], [[6.0]], [[1.0], [2.0], [3.0]])

    @staticmethod
    def means() -> Any:
        x = fm.Input((None, 1))
        turned = L.Permute((2, 1), name="turned")(x)
        return fm.Model(x, L.Lambda(lambda x: x.mean(axis=2))(turned), name="means")

    def test_one_warning_says_why(self) -> None:
        model = self.means()
        predict = fm.Predictor(model, "x")
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            both = predict({"x": list(self.ROWS[:2])})["prediction"]
            assert predict({"x": list(self.ROWS)})["prediction"].tolist() == [2, 2, 2]
        assert both.tolist() == [3, 3]
        (one,) = told  # not also of the mask that the padding had
        assert one.filename == __file__
        text = str(one.message)
        assert text.startswith(
            "model 'means' needs padding: layer 'turned' (of type Permute) cannot take a Ragged, "
            "whose rows have different numbers of steps. From now on each batch"
        )
        assert text.endswith("with a batch size of 1 each row is computed alone")
        with pytest.warns(UserWarning, match="Layer 'turned' .* destroy the mask"):
            model(fm.Masked(np.ones((1, 2, 1)), np.array([[True, False]])))

    def test_rows_by_themselves(self) -> None:
        """Single rows need no padding, so there is no warning (which would be an error here)."""
        predict = fm.Predictor(self.means(), "x", batch_size=1)
        assert predict({"x": list(self.ROWS)})["prediction"].tolist() == [3, 6, 2]


class TestArguments:
    def test_mistakes(self, tmp_path: Path) -> None:
        model = reader()
        ends = [fm.Input((2,), name=name) for name in ("left", "right")]
        pair = fm.Model(ends, L.Add()(ends))
        for arguments, kind, words in (
            ((3, "ids"), TypeError, "model must be a model or the name of a file, not 3"),
            ((model, 3), TypeError, "column must be the name of a column"),
            ((model, ["a", "b"]), ValueError, "has 1 input, so it needs as many columns"),
            ((pair, "a"), ValueError, r"has 2 inputs \('left', 'right'\), so it .* not 1: a"),
            ((model, "ids", 3), TypeError, "output must be the name of a column, not 3"),
            ((model, "ids", "p", 0), ValueError, "batch_size must be at least 1, not 0"),
            ((model, "ids", "p", None, 0), ValueError, "threads must be at least 1, not 0"),
            ((fm.Sequential([L.LSTM(2)]), "ids"), ValueError, "must be built, but it is not"),
            ((tmp_path / "none.npz", "ids"), FileNotFoundError, "none.npz"),
        ):
            with pytest.raises(kind, match=words):
                fm.Predictor(*arguments)

    def test_a_layer(self) -> None:
        layer = L.SimpleRNN(2)
        layer.build((None, None, 3))
        x = np.random.default_rng(7).normal(size=(4, 5, 3))
        np.testing.assert_allclose(
            fm.Predictor(layer, "x")({"x": x})["prediction"], layer(x), atol=1e-6
        )
