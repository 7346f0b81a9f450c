"""Lists of rows as input of `predict`: padding, and errors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fastmask as fm
from fastmask import layers as L
from fastmask.layers._operation import Operation

ROWS = [[1, 2, 3], [4], [5, 6]]


def of_four_steps(*, inside: bool = False) -> fm.Model:
    ids = fm.Input((4,), "int32", name="ids")
    model = fm.Model(ids, L.Embedding(9, 2, mask_zero=True)(ids))
    if not inside:
        return model
    outer = fm.Input((4,), "int32")
    return fm.Model(outer, model(outer))


def of_texts(shape: tuple[int, ...] = (), **options: Any) -> fm.Model:
    words = L.TextVectorization(vocabulary=["a", "b"], **options)
    texts = fm.Input(shape, "string", name="texts")
    return fm.Model(texts, words(texts))


def last_and_most(shape: tuple[int | None, ...] = (None, None)) -> fm.Model:
    """A model that needs at least one step in each row."""
    key = [{"slice": [None, None, None]}, -1]
    last = Operation("get_item", [{"input": 0}, key], name="last")
    x = fm.Input(shape[1:])
    y = L.Embedding(9, 2)(x) if len(shape) == 2 else x
    return fm.Model(x, L.Concatenate()([last(y), L.GlobalMaxPooling1D()(y)]))


@pytest.mark.filterwarnings("ignore:(?s)Layer '.*mask")  # which is lost as for other rows
class TestNoSteps:
    def test_all_rows_are_empty(self) -> None:
        """Each row gives what it gives in a batch with a row of one step, to which it is padded."""
        for model, row in ((last_and_most(), [3]), (last_and_most((None, None, 4)), [[1.0] * 4])):
            expected = model.predict([row, []], verbose=0)[1:]
            empty = np.zeros((0, *np.shape(row)[1:]))
            for rows in ([[]], [[], []], [empty], np.array([empty, None], object)[:1]):
                found = model.predict(rows, verbose=0)
                np.testing.assert_array_equal(found, np.repeat(expected, len(rows), axis=0))
            assert model.predict([], verbose=0).shape == (0, expected.shape[1])
            for ragged in (fm.ragged([]), fm.ragged([[], []])):
                assert model.predict(ragged, verbose=0).shape == (len(ragged), expected.shape[1])

    def test_texts(self) -> None:
        words = fm.Input((None,), "string")
        ids = L.StringLookup(vocabulary=["a", "b"], mask_token="")(words)
        model = fm.Model(words, L.Embedding(4, 2, mask_zero=True)(ids))
        found = model.predict([[], []], verbose=0)
        assert isinstance(found, fm.Ragged)
        assert (
            found.lengths.tolist() == model.predict([["a"], []], verbose=0).lengths.tolist()[1:] * 2
        )

    def test_several_inputs(self) -> None:
        one, two = fm.Input((None,), "int32"), fm.Input((None,), "int32")
        words = L.Embedding(9, 2)
        model = fm.Model(
            [one, two], L.Add()([L.GlobalMaxPooling1D()(words(x)) for x in (one, two)])
        )
        expected = model.predict([[[0], [0]], [[1, 2], [3, 0]]], verbose=0)
        found = model.predict([[[], []], [[1, 2], [3]]], verbose=0)
        np.testing.assert_array_equal(found, expected)

    def test_a_step_that_is_not_there(self) -> None:
        with pytest.raises(
            ValueError, match=r"inputs of layer 'last' \(get_item\) do not fit: ind"
        ):
            last_and_most()(np.zeros((1, 0), int))


class TestFixedNumberOfSteps:
    @pytest.mark.parametrize("inside", [False, True])
    @pytest.mark.parametrize("rows", [ROWS, [[1, 2], [3, 4]], [[5]], [[1], []], [[], []]])
    def test_shorter_lists_are_padded(self, rows: list[list[int]], inside: bool) -> None:
        model = of_four_steps(inside=inside)
        expected = model(fm.Masked(fm.pad(rows, 4, dtype="int32").data, fm.pad(rows, 4).mask))
        found = model.predict(rows, verbose=0)
        np.testing.assert_array_equal(found.data, expected.data)
        np.testing.assert_array_equal(found.mask.valid, expected.mask.valid)
        column = fm.Predictor(model, "ids")({"ids": rows})["prediction"]
        steps = [found.data[row, : len(one)].tolist() for row, one in enumerate(rows)]
        assert [np.reshape(one, (-1, 2)).tolist() for one in column] == steps

    def test_vectors(self) -> None:
        x = fm.Input((3, 2))
        rows = [[[1.0, 2.0]], [[3.0, 4.0], [5.0, 6.0]]]
        found = fm.Model(x, L.Masking()(x)).predict(rows, verbose=0)
        assert found.shape == (2, 3, 2)
        assert found.mask.lengths.tolist() == [1, 2]

    def test_what_is_no_list_of_sequences_is_not_padded(self) -> None:
        for x in (np.ones((2, 3), int), [[1] * 5, [2]]):
            with pytest.raises(ValueError, match=r"must have shape \(None, 4\), not \(2, [35]\)"):
                of_four_steps().predict(x, verbose=0)
        x = fm.Input((4,))
        with pytest.raises(ValueError, match=r"must have shape \(None, 4\), not \(2, 3\)"):
            fm.Model(x, L.Rescaling(2.0)(x)).predict([[1.0] * 3, [2.0] * 3], verbose=0)

    def test_a_column_of_lists(self) -> None:
        class Column:
            """Converts to NumPy as columns of Arrow, pandas and Polars do."""

            def __array__(self, *_: Any, **__: Any) -> Any:
                rows = np.empty(3, object)
                rows[:] = [np.array(row) for row in ROWS]
                return rows

        model = of_four_steps()
        found, expected = (model.predict(x, verbose=0) for x in (Column(), ROWS))
        np.testing.assert_array_equal(found.data, expected.data)
        np.testing.assert_array_equal(found.mask.valid, expected.mask.valid)


class TestErrors:
    @pytest.mark.parametrize(
        ("x", "words"),
        [
            ([[1, None], [3]], r"^x\[0\] has a null at step 1$"),
            ([[1, None], [3, 4]], r"^x\[0\] has a null at step 1$"),
            ([[1], None], r"^x\[1\] is null$"),
            ([[1, 2, 3, None], [3, 4, 5, 6]], r"^x\[0\] has a null at step 3$"),
        ],
    )
    def test_nulls(self, x: Any, words: str) -> None:
        with pytest.raises(ValueError, match=words):
            of_four_steps().predict(x, verbose=0)

    def test_nulls_in_the_second_input(self) -> None:
        a, b = fm.Input((None,)), fm.Input((None,))
        with pytest.raises(ValueError, match=r"^x\[1\]\[0\] has a null at step 0$"):
            fm.Model([a, b], L.Add()([a, b])).predict([[[1], [2]], [[None], [1, 2]]], verbose=0)

    def test_no_argument_that_predict_does_not_have(self) -> None:
        words = "^x must hold sequences of numbers, but they hold <U1, int64$"
        with pytest.raises((TypeError, ValueError), match=words):
            of_four_steps().predict([[1], ["a", "b"]], verbose=0)

    @pytest.mark.parametrize("x", [[[1, 2], [3]], [[1, 2], [3, 4]], [1, 2]])
    def test_numbers_for_texts(self, x: Any) -> None:
        with pytest.raises(TypeError, match=r"^x must hold texts, not (\[1, 2\]|1)$"):
            of_texts().predict(x, verbose=0)

    @pytest.mark.parametrize("shape", [(), (1,)])
    @pytest.mark.parametrize("x", [[["a", "b"], ["b"]], [["a", "b"], ["a", "b"]], [["a"], []]])
    def test_lists_of_texts_for_texts(self, x: Any, shape: tuple[int, ...]) -> None:
        model = of_texts(shape)
        words = "holds lists of texts, but the model takes one text for each row: join them"
        with pytest.raises(ValueError, match=f"^x {words}"):
            model.predict(x, verbose=0)
        for column in (x, fm.ragged(x)):
            with pytest.raises(ValueError, match=rf"^column 't' {words}; t\[\d\] has \d"):
                fm.Predictor(model, "t")({"t": column})

    @pytest.mark.parametrize("shape", [(), (1,)])
    def test_lists_of_one_text(self, shape: tuple[int, ...]) -> None:
        model, x = of_texts(shape), [["a b"], ["b"]]
        expected = [[2, 3], [3, 0]]
        assert model.predict(x, verbose=0).tolist() == expected
        for column in (x, fm.ragged(x), ["a b", ["b"]]):
            assert fm.Predictor(model, "t")({"t": column})["prediction"].tolist() == expected

    def test_lists_of_tokens(self) -> None:
        rows = [["a", "b"], ["b"]]
        tokens = fm.Input((None,), "string")
        words = L.StringLookup(vocabulary=["a", "b"])  # an unmasked "" would be an unknown token
        ids = L.Embedding(9, 2, mask_zero=True)(words(tokens))
        model = fm.Model(tokens, [words(tokens), ids])
        numbers, vectors = model.predict(rows, verbose=0)
        assert numbers.to_list() == [[1, 2], [2]]
        assert vectors.lengths.tolist() == [2, 1]
        free = fm.Sequential([L.StringLookup(vocabulary=["a", "b"], mask_token="")])
        assert free.predict(["a", "b"], verbose=0).tolist() == [2, 3]
        assert free.predict([["a", "b"], ["b", "a"]], verbose=0).tolist() == [[2, 3], [3, 2]]
        column = fm.Predictor(free, "t")({"t": fm.ragged(rows)})["prediction"]
        assert [list(one) for one in column] == [[2, 3], [3]]

    def test_lists_of_numbers_for_one_number(self) -> None:
        x = fm.Input(())
        predict = fm.Predictor(fm.Model(x, L.Rescaling(2.0)(x)), "x")
        assert predict({"x": [[1], [2]]})["prediction"].tolist() == [2, 4]
        with pytest.raises(ValueError, match=r"x\[1\] has 2 values, but the model takes 1$"):
            predict({"x": [[1], [2, 3]]})

    def test_tokens_for_texts(self) -> None:
        tokens = fm.ragged([["a", "b"], ["b"]])
        with pytest.raises(TypeError, match="it takes one text for each row, so join the tokens"):
            of_texts().layers[0](tokens)
        with pytest.raises(ValueError, match="holds lists of texts, but the model takes one"):
            of_texts().predict(tokens, verbose=0)
        split = of_texts((None,), split=None)
        with pytest.raises(TypeError, match=r"pad it, x\.to_masked\(\)\.data"):
            split.predict(tokens, verbose=0)
        assert split(tokens.to_masked().data).tolist() == [[2, 3], [3, 0]]


@pytest.mark.optional
def test_columns_of_arrow() -> None:
    pa = pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    model = of_four_steps()
    expected = model.predict(ROWS, verbose=0)
    for column in (pa.array(ROWS), pa.chunked_array([ROWS[:1], ROWS[1:]])):
        found = model.predict(column, verbose=0)
        np.testing.assert_array_equal(found.data, expected.data)
        np.testing.assert_array_equal(found.mask.valid, expected.mask.valid)
    x = fm.Input((None,))
    for rows in ([[1.0, None], [2.0]], [[1.0], None]):
        with pytest.raises(ValueError, match="null"):  # NumPy would make it NaN
            fm.Model(x, L.Rescaling(2.0)(x)).predict(pa.array(rows), verbose=0)
