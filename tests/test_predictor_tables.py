"""`fm.Predictor` on tables of Arrow, pandas and Polars: the same kind of table comes back."""

from __future__ import annotations

import importlib
import subprocess
import sys

import numpy as np
import pytest

import fastmask as fm
from fastmask import layers as L

from .predictor_cases import ROWS, WHO, built, padded, reader, tagged_rows, tagger


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
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=250
    )
    assert done.stdout.strip() == "[]", done.stderr


def test_columns_of_each_other_name_the_input_that_they_do_not_fit() -> None:
    ids, meta = fm.Input((None,), "int32", name="ids"), fm.Input((3,), name="meta")
    both = L.Concatenate()([L.LSTM(2)(L.Embedding(9, 2)(ids)), meta])
    predict = fm.Predictor(fm.Model([ids, meta], both), ["a", "b"])
    with pytest.raises(ValueError, match="has 2 values, but the model takes 3 for its input 'met"):
        predict({"a": [[1.0, 2.0, 3.0]], "b": [[1, 2]]})
