"""`fm.Predictor`: batches of every kind, with predictions as a further column."""

from __future__ import annotations

import importlib
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastmask as fm
from fastmask import layers as L
from fastmask.backends import threads as _threads
from fastmask.tables import predictor as _predictor

ROWS = [[3, 4, 5], [], [7], [1, 2, 3, 4, 5, 6], [9, 9]]
WHO = ["Ada", "Bob", "Cyd", "Dan", "Eve"]


def built(*layers: Any, shape: tuple[int | None, ...] = (None, None)) -> Any:
    """A model with the same seeded weights each time."""
    model = fm.Sequential(layers)
    model.build(shape)
    random = np.random.default_rng(3)
    model.set_weights([random.normal(size=weight.shape) for weight in model.weights])
    return model


def reader() -> Any:
    return built(L.Embedding(20, 3, mask_zero=True), L.SimpleRNN(2))


def tagger() -> Any:
    return built(L.Embedding(20, 3, mask_zero=True), L.SimpleRNN(2, return_sequences=True))


def padded() -> np.ndarray[Any, Any]:
    return fm.pad(ROWS).data


def objects(rows: list[Any]) -> np.ndarray[Any, Any]:
    """Rows as an array of arrays, the form that Ray uses."""
    array = np.empty(len(rows), object)
    array[:] = [np.array(row, np.int64) for row in rows]
    return array


def tagged_rows(model: Any) -> list[Any]:
    """A model's output for each row, only the valid steps."""
    whole = model(padded()).data
    return [whole[b, : len(row)].tolist() for b, row in enumerate(ROWS)]


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


class TestProcesses:
    def test_pickled_by_path(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        fm.save_model(reader(), tmp_path / "m.npz")
        monkeypatch.chdir(tmp_path)
        reads: list[Any] = []
        real = _predictor.load_model
        monkeypatch.setattr(
            _predictor, "load_model", lambda path: (reads.append(path), real(path))[1]
        )
        predict = fm.Predictor("m.npz", "ids", "p", 2, 1)
        sent = pickle.dumps(predict)
        assert len(sent) < 300
        monkeypatch.chdir("/")
        again = pickle.loads(sent)  # noqa: S301 - of this test
        path = str(tmp_path / "m.npz")
        assert repr(again) == repr(predict) == f"Predictor({path!r}, 'ids', 'p')"
        fm.Predictor(tmp_path / "m.npz", ["ids"])
        assert len(reads) == 1
        np.testing.assert_array_equal(again({"ids": ROWS})["p"], predict({"ids": ROWS})["p"])
        fm.save_model(tagger(), tmp_path / "m.npz")
        os.utime(tmp_path / "m.npz", (1, 1))
        third = pickle.loads(sent)  # noqa: S301 - of this test
        assert third({"ids": ROWS})["p"].dtype == object
        assert len(reads) == 2

    def test_pickled_as_a_whole(self) -> None:
        predict = fm.Predictor(reader(), "ids")
        again = pickle.loads(pickle.dumps(predict))  # noqa: S301 - of this test
        np.testing.assert_array_equal(
            again({"ids": ROWS})["prediction"], predict({"ids": ROWS})["prediction"]
        )

    def test_one_batch_after_the_other(self) -> None:
        predict = fm.Predictor(reader(), "ids")
        given = iter([{"ids": ROWS[:2]}, {"ids": ROWS[2:]}])
        each = pickle.loads(pickle.dumps(predict.each))  # noqa: S301 - of this test
        found = each(given)
        first = next(found)
        assert next(given)["ids"] == ROWS[2:]
        assert len(first["prediction"]) == 2


class TestThreads:
    @pytest.fixture(autouse=True)
    def _nobody_said(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ("FASTMASK_NUM_THREADS", "OMP_NUM_THREADS"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setattr(_threads, "_chosen", 11)
        monkeypatch.setattr(_threads, "_by_user", False)

    def used(self, monkeypatch: pytest.MonkeyPatch, threads: int | None = None) -> int:
        """The threads that a call's kernels may use."""
        seen: list[int] = []
        predict = fm.Predictor(reader(), "ids", threads=threads)

        def compute(_rows: Any) -> dict[str, Any]:
            seen.append(fm.get_num_threads())
            return {}

        monkeypatch.setattr(predict, "_compute", compute)
        predict({"ids": ROWS})
        assert fm.get_num_threads() == _threads._chosen
        return seen[0]

    def test_who_says(self, monkeypatch: pytest.MonkeyPatch) -> None:
        assert self.used(monkeypatch) == 11
        worker: list[Any] = []

        class Distributed:
            @staticmethod
            def get_worker() -> Any:
                if not worker:
                    raise ValueError("No worker found")
                return worker[0]

        monkeypatch.setitem(sys.modules, "distributed", Distributed)
        assert self.used(monkeypatch) == 11
        worker.append("one of Dask's")
        assert self.used(monkeypatch) == 1
        for text, count in (("3", 3), ("4,2", 4), ("many", 1), ("", 1)):
            monkeypatch.setenv("OMP_NUM_THREADS", text)
            assert self.used(monkeypatch) == count
        monkeypatch.setenv("OMP_NUM_THREADS", "3")
        fm.set_num_threads(5)
        assert self.used(monkeypatch) == 5
        assert self.used(monkeypatch, threads=2) == 2


@pytest.mark.optional
class TestArrow:
    def test_tables_and_record_batches(self) -> None:
        pa = pytest.importorskip("pyarrow")
        model = reader()
        predict = fm.Predictor(model, "ids")
        expected = model(padded())
        columns = {"who": WHO, "ids": pa.array(ROWS, pa.list_(pa.int32()))}
        schema = pa.table(columns).schema.with_metadata({"of": "mine"})
        table = pa.table(columns, schema)
        for whole in (table, pa.concat_tables([table[:2], table[2:]]), table.to_batches()[0]):
            found = predict(whole)
            assert type(found) is type(whole)
            assert found.schema.names == ["who", "ids", "prediction"]
            assert found.schema.metadata == {b"of": b"mine"}
            assert found.select(["who", "ids"]).equals(whole)
            assert found.schema.field("prediction").type == pa.list_(pa.float32())
            np.testing.assert_allclose(found["prediction"].to_pylist(), expected, atol=1e-6)
            none = predict(whole[:0])
            assert none.num_rows == 0
            assert none.schema == found.schema

    def test_sequences_and_numbers_out(self) -> None:
        pa = pytest.importorskip("pyarrow")
        model = tagger()
        predict = fm.Predictor(model, "ids")
        batches = pa.table({"ids": ROWS}).to_batches(max_chunksize=2)
        found = pa.Table.from_batches(predict.each(batches))
        assert found.schema.field("prediction").type == pa.list_(pa.list_(pa.float32()))
        for one, row in zip(found["prediction"].to_pylist(), tagged_rows(model), strict=True):
            np.testing.assert_allclose(one, row, atol=1e-6)
        assert predict(batches[0][:0]).schema == found.schema
        number = built(L.SimpleRNN(2), L.Dense(1), shape=(None, None, 2))
        pairs = pa.table({"x": [[[1.0, 2.0]], [], [[3.0, 4.0], [5.0, 6.0]]]})
        scored = fm.Predictor(number, "x")(pairs)["prediction"]
        assert scored.type == pa.float32()
        expected = number(fm.pad([[[1.0, 2.0]], np.zeros((0, 2)), [[3.0, 4.0], [5.0, 6.0]]]))
        np.testing.assert_allclose(scored.to_pylist(), expected[:, 0], atol=1e-6)

    def test_lists_of_more_values_than_32_bits_count(self) -> None:
        pa = pytest.importorskip("pyarrow")
        lists = importlib.import_module("fastmask.data.arrow_lists")
        steps = pa.nulls(2**31 + 5)  # without allocating memory
        found = lists._lists(np.array([0, 2, 2**31 + 5]), steps)
        assert found.type == pa.large_list(pa.null())
        assert lists._lists(np.array([0, 2, 5]), steps).type == pa.list_(pa.null())

    def test_texts(self) -> None:
        pa = pytest.importorskip("pyarrow")
        model = fm.Sequential(
            [L.TextVectorization(vocabulary=["good", "film"]), L.Embedding(4, 3), L.SimpleRNN(2)]
        )
        texts = ["a good film", "", "bad"]
        expected = model(texts)
        for column in (pa.array(texts), pa.array(texts).dictionary_encode()):
            found = fm.Predictor(model, "t")(pa.table({"t": column}))["prediction"]
            np.testing.assert_allclose(found.to_pylist(), expected, atol=1e-6)

    def test_rows_that_do_not_fit(self) -> None:
        pa = pytest.importorskip("pyarrow")
        predict = fm.Predictor(reader(), "ids")
        for rows, words in (
            ([[1], None], r"ids\[1\] has no value"),
            ([[1], [2, None]], r"ids\[1\] must hold numbers, not \[2, None\]"),
            ([["a"]], r"ids\[0\] must hold numbers, not \['a'\]"),
            ([1, 2], r"ids\[0\] must be a list, not 1"),
        ):
            with pytest.raises(ValueError, match=words):
                predict(pa.table({"ids": rows}))
        with pytest.raises(ValueError, match="there is no column 'ids', only other"):
            predict(pa.table({"other": [[1]]})[:0])
        twice = pa.table([pa.array(ROWS), pa.array(ROWS)], ["ids", "ids"])
        with pytest.raises(ValueError, match="there are 2 columns 'ids', only ids, ids"):
            predict(twice)
        features = fm.Predictor(built(L.Dense(2), shape=(None, 3)), "x")
        with pytest.raises(ValueError, match=r"x\[1\] has 2 values, but the model takes 3"):
            features(pa.table({"x": [[1, 2, 3], [4, 5]]}))
        assert features(pa.table({"x": [[1, 2, 3], [4, 5, 6]]})).num_rows == 2


@pytest.mark.optional
class TestPandas:
    def test_frames(self) -> None:
        pd = pytest.importorskip("pandas")
        pa = pytest.importorskip("pyarrow")
        model = reader()
        predict = fm.Predictor(model, "ids")
        of_arrow = pd.Series(pa.array(ROWS), dtype=pd.ArrowDtype(pa.list_(pa.int64())))
        for ids in (pd.Series(ROWS), of_arrow):
            frame = pd.DataFrame({"ids": ids, "who": WHO})
            frame.index = [*"edcba"]
            before = frame.copy()
            found = predict(frame)
            pd.testing.assert_frame_equal(found[["ids", "who"]], before)
            assert list(frame.columns) == ["ids", "who"]
            np.testing.assert_allclose(np.stack(found["prediction"]), model(padded()), atol=1e-6)
            none = predict(frame[:0])
            assert list(none.columns) == list(found.columns)
            assert (none.dtypes == found.dtypes).all()
        tags = fm.Predictor(tagger(), "ids")(frame)["prediction"]
        np.testing.assert_allclose(tags.iloc[3], tagged_rows(tagger())[3], atol=1e-6)
        numbers = fm.Predictor(built(L.Dense(1), shape=(None, 1)), "n")
        assert numbers(pd.DataFrame({"n": [1, 2]}))["prediction"].dtype == np.float32
        with pytest.raises(ValueError, match=r"ids\[1\] has no value"):
            predict(pd.DataFrame({"ids": [[1], None]}, index=[*"ab"]))

    def test_missing_values(self) -> None:
        pd = pytest.importorskip("pandas")
        numbers = fm.Predictor(built(L.Dense(1), shape=(None, 1)), "n")
        for dtype in ("Int64", "Float64", "boolean", "string"):
            whole = pd.DataFrame({"n": pd.Series([1, 0], dtype=dtype)})
            if dtype != "boolean":
                assert np.isfinite(numbers(whole)["prediction"]).all()
            some = pd.DataFrame({"n": pd.Series([1, None], dtype=dtype)})
            with pytest.raises(ValueError, match=r"n\[1\] has no value"):
                numbers(some)
        with pytest.raises(ValueError, match=r"n\[1\] has no value"):
            numbers(pd.DataFrame({"n": pd.Series(["1", np.nan], dtype=object)}))
        of_floats = pd.DataFrame({"n": [1.0, np.nan]})  # where NaN is an ordinary number
        assert np.isnan(numbers(of_floats)["prediction"]).tolist() == [False, True]
        features = fm.Predictor(built(L.Dense(2), shape=(None, 3)), "n")
        assert list(features(pd.DataFrame({"n": [[1, 2, 3]]})[:0]).columns) == ["n", "prediction"]


@pytest.mark.optional
class TestPolars:
    def test_frames(self) -> None:
        pl = pytest.importorskip("polars")
        model = reader()
        predict = fm.Predictor(model, "ids")
        frame = pl.DataFrame({"ids": ROWS, "who": WHO})
        found = predict(frame)
        assert found.drop("prediction").equals(frame)
        assert found.schema["prediction"] == pl.List(pl.Float32)
        np.testing.assert_allclose(found["prediction"].to_list(), model(padded()), atol=1e-6)
        assert predict(frame[:0]).schema == found.schema
        with pytest.raises(TypeError, match="LazyFrame: collect it, or give the predictor"):
            predict(frame.lazy())
        schema = {**frame.schema, "prediction": pl.List(pl.Float32)}
        assert frame.lazy().map_batches(predict, schema=schema).collect().equals(found)

    def test_sequences_and_numbers_out(self) -> None:
        pl = pytest.importorskip("polars")
        model = tagger()
        frame = pl.DataFrame({"ids": ROWS})
        found = fm.Predictor(model, "ids", "tags")(frame)
        assert found.schema["tags"] == pl.List(pl.List(pl.Float32))
        for one, row in zip(found["tags"].to_list(), tagged_rows(model), strict=True):
            assert len(one) == len(row)
            np.testing.assert_allclose(np.ravel(one), np.ravel(row), atol=1e-6)
        assert fm.Predictor(model, "ids", "tags")(frame[:0]).schema == found.schema
        numbers = fm.Predictor(built(L.Dense(1), shape=(None, 1)), "n")
        assert numbers(pl.DataFrame({"n": [1, 2]})).schema["prediction"] == pl.Float32


@pytest.mark.optional
def test_polars_alone() -> None:
    """The library that made a frame reads and writes it."""
    pytest.importorskip("polars")
    code = """
import sys, fastmask as fm, polars as pl
model = fm.Sequential([fm.layers.Dense(1)])
model.build((None, 3))
predict = fm.Predictor(model, "x")
assert predict(pl.DataFrame({"x": [[1.0, 2.0, 3.0]]}))["prediction"].dtype == pl.Float32
print([m for m in ("pyarrow", "pandas") if m in sys.modules])
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=50
    )
    assert done.stdout.strip() == "[]", done.stderr
