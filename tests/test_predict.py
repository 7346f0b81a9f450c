"""`predict`: ragged sequences, several inputs, order, memory, progress."""

from __future__ import annotations

import sys
import tracemalloc
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import fastmask as fm
from fastmask.layers import LSTM, Dense, Embedding, Layer, Masking
from fastmask.models import progress as _progress

LENGTHS = [3, 9, 1, 0, 5, 5, 2, 8, 0, 4]
ROWS = [np.random.default_rng(n).normal(size=(n, 2)).astype(np.float32) for n in LENGTHS]
X = np.ones((3, 2, 3))
IDS = [np.random.default_rng(n).integers(1, 10, n).tolist() for n in LENGTHS]


class Widths(Layer):
    """Records the shapes of its inputs."""

    supports_masking = True

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Any] = []

    def call(self, inputs: Any) -> Any:
        self.seen.append(inputs.shape)
        return inputs


@pytest.mark.parametrize("size", [1, 3, 4, 100])
def test_ragged_as_one_by_one(size: int) -> None:
    model = fm.Sequential([LSTM(4, return_sequences=True), LSTM(3)])
    expected = np.concatenate([model(row[None]) for row in ROWS])
    got = model.predict(ROWS, batch_size=size, verbose=0)
    np.testing.assert_allclose(got, expected, atol=1e-6)


@pytest.mark.parametrize("size", [1, 3, 100])
def test_ragged_sequences_out(size: int) -> None:
    model = fm.Sequential([LSTM(4, return_sequences=True, return_state=True)])
    y, h, c = model.predict(ROWS, batch_size=size, verbose=0)
    np.testing.assert_array_equal(y.mask.lengths, LENGTHS)
    assert y.shape == (10, 9, 4)
    assert (h.shape, c.shape) == ((10, 4), (10, 4))
    for row, got, state in zip(ROWS, y.data, h, strict=True):
        one, last, _ = model(row[None])
        np.testing.assert_allclose(got[: len(row)], one[0], atol=1e-6)
        np.testing.assert_array_equal(
            got[len(row) :],
            np.tile(got[len(row) - 1 : len(row)] if len(row) else 0 * got[:1], (9 - len(row), 1)),
        )
        np.testing.assert_allclose(state, last[0], atol=1e-6)


def test_ids_and_kinds_of_lists() -> None:
    model = fm.Sequential([Embedding(10, 4, mask_zero=True), LSTM(3)])
    expected = model(fm.pad(IDS))
    for rows in (IDS, tuple(IDS), [np.array(row, int) for row in IDS]):
        np.testing.assert_allclose(
            model.predict(rows, batch_size=3, verbose=0), expected, atol=1e-6
        )
    ragged = np.empty(len(IDS), object)
    ragged[:] = IDS
    np.testing.assert_allclose(model.predict(ragged, verbose=0), expected, atol=1e-6)


def test_batches_are_padded_to_the_longest_of_all() -> None:
    widths = Widths()
    fm.Sequential([widths]).predict(ROWS, batch_size=3, verbose=0)
    assert [shape[:2] for shape in widths.seen] == [(3, 9), (3, 9), (3, 9), (1, 9)]


class Halves(fm.layers.Layer):
    """The guide's TemporalSplit, whose result depends on the length that rows are padded to."""

    def call(self, inputs: Any) -> Any:
        return np.array_split(inputs, 2, axis=1)

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:  # noqa: ARG002 - Keras's form
        return None if mask is None else np.array_split(mask, 2, axis=1)


@pytest.mark.parametrize("size", [1, 2, 3, 100])
def test_outputs_that_depend_on_positions(size: int) -> None:
    inputs = fm.Input((None, 2))
    backwards = LSTM(3, return_sequences=True, go_backwards=True)(inputs)
    model = fm.Model(inputs, [backwards, *Halves()(inputs)])
    for got, expected in zip(
        model.predict(ROWS, batch_size=size, verbose=0), model(fm.pad(ROWS)), strict=True
    ):
        np.testing.assert_array_equal(got.mask.valid, expected.mask.valid)
        np.testing.assert_allclose(got.data, expected.data, atol=1e-6)


class MaskOfShortOnes(fm.layers.Layer):
    """Returns no mask if all steps are valid."""

    def call(self, inputs: Any) -> Any:
        return inputs

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:  # noqa: ARG002 - Keras's form
        return None if mask is None or mask.all() else mask


def test_a_mask_that_only_some_batches_have() -> None:
    rows = [np.ones((n, 3), np.float32) for n in (5, 5, 2, 1)]
    got = fm.Sequential([MaskOfShortOnes()]).predict(rows, batch_size=2, verbose=0)
    np.testing.assert_array_equal(got.mask.lengths, [5, 5, 2, 1])
    assert got.data[:2].all()


def test_several_inputs() -> None:
    a, b = fm.Input((None, 2)), fm.Input((3,))
    model = fm.Model([a, b], [LSTM(4)(a), Dense(2)(b), LSTM(3, return_sequences=True)(a)])
    plain = np.random.default_rng(1).normal(size=(10, 3)).astype(np.float32)
    last, dense, whole = model.predict([ROWS, plain], batch_size=4, verbose=0)
    x = fm.pad(ROWS)
    expected = model([x, plain])
    np.testing.assert_allclose(last, expected[0], atol=1e-6)
    np.testing.assert_allclose(dense, expected[1], atol=1e-6)
    np.testing.assert_array_equal(whole.mask.valid, x.mask.valid)
    again = model.predict([x, plain], batch_size=4, verbose=0)
    np.testing.assert_allclose(again[0], expected[0], atol=1e-6)
    np.testing.assert_allclose(again[2].data, expected[2].data, atol=1e-6)
    with pytest.raises(ValueError, match=r"same number of rows, not \[10, 9\]"):
        model.predict([ROWS, plain[1:]], verbose=0)
    with pytest.raises(ValueError, match=r"x must be a list of 2 inputs \(.* for model"):
        model.predict(plain, verbose=0)


def test_two_ragged_inputs() -> None:
    a, b = fm.Input((None, 2)), fm.Input((None,), "int32")
    model = fm.Model([a, b], [LSTM(4)(a), LSTM(4)(Embedding(10, 3, mask_zero=True)(b))])
    others = IDS[::-1]
    one, two = model.predict([ROWS, others], batch_size=3, verbose=0)
    expected = model([fm.pad(ROWS), fm.pad(others)])
    np.testing.assert_allclose(one, expected[0], atol=1e-6)
    np.testing.assert_allclose(two, expected[1], atol=1e-6)


def test_sequences_of_one_length_are_an_array() -> None:
    model = fm.Sequential([Dense(2)])
    assert model.predict([[1.0, 2.0], [3.0, 4.0]], verbose=0).shape == (2, 2)
    rows = [row[:3] for row in ROWS if len(row) >= 3]
    assert isinstance(fm.Sequential([Dense(2)]).predict(rows, verbose=0), np.ndarray)


def test_outputs_that_lost_their_mask() -> None:
    class Forget(Layer):
        def call(self, inputs: Any) -> Any:
            return inputs

        def compute_mask(self, inputs: Any, mask: Any = None) -> Any:  # noqa: ARG002 - Keras's form
            return None

    y = fm.Sequential([Forget()]).predict(ROWS, batch_size=2, verbose=0)
    np.testing.assert_array_equal(y, fm.pad(ROWS).data)


def test_refuses() -> None:
    model = fm.Sequential([Masking()])
    with pytest.raises(ValueError, match="x must be an array or a list of sequences"):
        model.predict(3, verbose=0)
    for bad, words in (
        (None, "NoneType"),
        ({}, "dict"),
        (np.ones(()), r"\(\)"),
        (X[0], r"\(2, 3\)"),
    ):
        model = fm.Sequential([fm.layers.Lambda(lambda _, bad=bad: bad)])
        with pytest.raises(
            ValueError, match=f"return arrays with a row for each of 3 rows.*{words}"
        ):
            model.predict(X, verbose=0)
    model = fm.Sequential([Masking()])
    with pytest.raises(TypeError, match="x must be one array, one Masked, or a list of plain"):
        model.predict([fm.pad(ROWS)], verbose=0)


class TestNothing:
    """Empty lists, which have no shape or dtype."""

    def test_of_a_built_model(self) -> None:
        words = fm.Sequential([Embedding(10, 3, mask_zero=True), LSTM(4)])
        with pytest.raises(ValueError, match=f"model '{words.name}' has not been built"):
            words.predict([])
        words(np.array([[1, 2]]))
        assert words.predict([], verbose=0).shape == (0, 4)
        flat = fm.Sequential([fm.Input((3, 2)), fm.layers.Flatten(), Dense(2)])
        assert flat.predict((), verbose=0).shape == (0, 2)

    def test_of_a_graph(self) -> None:
        ids, x = fm.Input((None,), "int32"), fm.Input((5,))
        words = Embedding(5, 2, mask_zero=True)(ids)
        model = fm.Model([ids, x], [words, Dense(3)(x)])
        y, z = model.predict([[], []], verbose=0)
        assert (type(y), y.shape, z.shape) == (fm.Masked, (0, 0, 2), (0, 3))
        with pytest.raises(ValueError, match=r"same number of rows, not \[0, 2\]"):
            model.predict([[], np.ones((2, 5))])
        assert fm.Model(ids, words).predict([], verbose=0).shape == (0, 0, 2)

    def test_of_a_subclass(self) -> None:
        class Mine(fm.Model):
            def __init__(self) -> None:
                super().__init__()
                self.dense = Dense(2)

            def call(self, inputs: Any) -> Any:
                return self.dense(inputs)

        model = Mine()
        with pytest.raises(ValueError, match="has not been built"):
            model.predict([])
        model(np.ones((2, 3)))
        assert model.predict([]).shape == (0, 2)


class TestStateful:
    """Nothing is computed if a batch does not fit the states."""

    def model(self) -> tuple[fm.Sequential, Widths]:
        widths = Widths()
        return fm.Sequential([widths, LSTM(2, stateful=True, name="keeper")]), widths

    def test_a_short_last_batch(self) -> None:
        model, widths = self.model()
        x = np.ones((10, 4, 3))
        with pytest.raises(ValueError, match="must divide the number of rows, 10, because layer"):
            model.predict(x, batch_size=4)
        assert widths.seen == []
        assert model.predict(x, batch_size=5).shape == (10, 2)
        assert model.predict(x[:5], batch_size=32).shape == (5, 2)

    def test_other_states_than_kept(self) -> None:
        model, widths = self.model()
        x = np.ones((6, 4, 3))
        model.predict(x, batch_size=3)
        seen = len(widths.seen)
        with pytest.raises(ValueError, match="must have 3 rows, not 2, because layer 'keeper'"):
            model.predict(x, batch_size=2)
        assert len(widths.seen) == seen
        for layer in model.layers:
            if isinstance(layer, LSTM):
                layer.reset_state()
        model.predict(x, batch_size=2)

    def test_ragged_rows_stay_in_their_places(self) -> None:
        model, _ = self.model()
        rows = [np.ones((n, 3), np.float32) * n for n in (1, 4, 3, 2)]
        y = model.predict(rows, batch_size=2)
        again, _ = self.model()
        again(np.zeros((2, 4, 3)))
        again.set_weights(model.get_weights())
        again.layers[1].states = None  # type: ignore[attr-defined]  # on purpose
        x = fm.pad(rows)
        expected = [again(fm.Masked(x.data[s], x.mask[s])) for s in (slice(2), slice(2, 4))]
        np.testing.assert_allclose(y, np.concatenate(expected), rtol=1e-6)


def test_memory_is_that_of_a_batch() -> None:
    model = fm.Sequential([Dense(100), LSTM(2)])
    x = np.zeros((2000, 20, 4), np.float32)
    model.predict(x[:64], batch_size=16, verbose=0)
    tracemalloc.start()
    try:
        model.predict(x, batch_size=16, verbose=0)
        assert tracemalloc.get_traced_memory()[1] < 2e6  # in one batch it would be more than 16e6
    finally:
        tracemalloc.stop()


def test_progress_with_tqdm(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []

    class Bar:
        def __init__(self, **options: Any) -> None:
            seen.append(options)

        def update(self, count: int) -> None:
            seen.append(count)

        def close(self) -> None:
            seen.append("closed")

    clock = iter(range(100))
    monkeypatch.setattr(_progress.time, "monotonic", lambda: 2.0 * next(clock))
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setitem(sys.modules, "tqdm", SimpleNamespace(tqdm=Bar))
    model = fm.Sequential([Dense(2)])
    model.predict(np.ones((3, 2)), batch_size=1)
    assert seen == [{"total": 3, "initial": 0, "unit": "batch"}, 1, 1, 1, "closed"]
    seen.clear()
    model.predict(np.ones((3, 2)), batch_size=1, verbose=0)
    assert seen == []
