"""Embeddings folded into the recurrent layers that they feed."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import fastmask as fm
from fastmask.layers import _cell

V, D = 30, 6


@pytest.fixture(autouse=True)
def limit() -> Iterator[int]:
    before = fm.get_fold_limit()
    yield before
    fm.set_fold_limit(before)


@pytest.fixture
def folded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the cells that looked rows up instead of multiplying."""
    names: list[str] = []
    make = _cell.packed_with_table

    def note(rows: Any, kind: Any, *others: Any) -> Any:
        names.append(kind.prefix)
        return make(rows, kind, *others)

    monkeypatch.setattr(_cell, "packed_with_table", note)
    return names


def some_ids(seed: int = 0, batch: int = 5, time: int = 8) -> Any:
    return np.random.default_rng(seed).integers(0, V, (batch, time))


def model(*layers: Any, mask_zero: bool = True, **options: Any) -> Any:
    first = fm.layers.Embedding(V, D, "random_normal", mask_zero=mask_zero, name="words", **options)
    return fm.Sequential([first, *layers])


def arrays_of(outputs: Any) -> list[Any]:
    each = outputs if isinstance(outputs, (list, tuple)) else [outputs]
    return [one.data if isinstance(one, fm.Masked) else one for one in each]


def assert_folded(made: Any, names: list[str], folded: list[str], ids: Any) -> None:
    """Assert that the layers look sums up, with the same outputs as by products."""
    before = fm.get_fold_limit()
    fm.set_fold_limit(0)
    expected = made(ids)
    assert not folded
    fm.set_fold_limit(before)
    found = made(ids)
    assert folded == names
    folded.clear()
    for a, b in zip(arrays_of(found), arrays_of(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-6)
    if isinstance(expected, fm.Masked):
        np.testing.assert_array_equal(found.mask.valid, expected.mask.valid)


def test_lstm(folded: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    made = model(fm.layers.Dropout(0.5), fm.layers.LSTM(20, return_sequences=True, name="reader"))
    assert_folded(made, ["lstm"], folded, some_ids())
    assert "words (Embedding, folded)" in str(made.summary())
    capsys.readouterr()
    same = copy.deepcopy(made)
    np.testing.assert_array_equal(same(some_ids()).data, made(some_ids()).data)
    np.testing.assert_array_equal(made.predict(some_ids(), verbose=0).data, made(some_ids()).data)


LAYERS: dict[str, Callable[[], Any]] = {
    "lstm": lambda: fm.layers.LSTM(70, return_state=True, go_backwards=True),
    "gru": lambda: fm.layers.GRU(20, return_sequences=True, zero_output_for_mask=True),
    "gru, reset before": lambda: fm.layers.GRU(24, reset_after=False),
    "rnn": lambda: fm.layers.SimpleRNN(70, return_sequences=True, activation="relu"),
    "peephole_lstm": lambda: fm.layers.RNN(fm.cells.peephole_lstm(9)),
    "layer_norm_lstm": lambda: fm.layers.RNN(fm.cells.layer_norm_lstm(9)),
    "minimal_gated_unit": lambda: fm.layers.RNN(fm.cells.minimal_gated_unit(20)),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", LAYERS)
def test_each_cell(name: str, folded: list[str]) -> None:
    prefix = name.partition(",")[0]
    for seed, (batch, time) in enumerate([(1, 1), (2, 30), (5, 8), (40, 6)]):
        ids = some_ids(seed, batch, time)
        ids[0] = 0  # a row without steps
        for mask_zero in (True, False):
            alone, both = LAYERS[name](), fm.layers.Bidirectional(LAYERS[name]())
            assert_folded(model(alone, mask_zero=mask_zero), [prefix], folded, ids)
            assert_folded(model(both, mask_zero=mask_zero), [prefix] * 2, folded, ids)


@pytest.mark.slow
def test_states_go_on_from_batch_to_batch(folded: list[str]) -> None:
    made = model(fm.layers.LSTM(20, stateful=True))
    first, second = made(some_ids()), made(some_ids())
    assert folded == ["lstm"] * 2
    made.layers[1].reset_state()
    fm.set_fold_limit(0)
    np.testing.assert_allclose(made(some_ids()), first, atol=1e-6)
    np.testing.assert_allclose(made(some_ids()), second, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("form", ["bfloat16", "int8"])
def test_quantized(form: str, folded: list[str]) -> None:
    for cell in (fm.layers.LSTM(20), fm.layers.GRU(20, return_sequences=True)):
        made = model(cell)
        exact = arrays_of(made(some_ids()))[0]
        folded.clear()
        made.quantize(form)
        error = np.abs(arrays_of(made(some_ids()))[0] - exact).max()
        assert len(folded) == 1
        assert 0 < error < 3e-2


def test_weights_that_change_are_followed(folded: list[str]) -> None:
    made = model(fm.layers.LSTM(20))
    ids = some_ids()
    before = made(ids)
    for layer in made.layers:
        layer.set_weights([1.5 * weight for weight in layer.get_weights()])
        assert np.abs(made(ids) - before).max() > 1e-3
        folded.clear()
        assert_folded(made, ["lstm"], folded, ids)
        before = made(ids)
        folded.clear()


def test_two_embeddings_for_one_layer(folded: list[str]) -> None:
    a, b = fm.Input((None,), dtype="int32"), fm.Input((None,), dtype="int32")
    reader = fm.layers.LSTM(20)
    words, signs = fm.layers.Embedding(V, D), fm.layers.Embedding(V, D)
    made = fm.Model([a, b], [reader(words(a)), reader(signs(b))])
    assert_folded(made, ["lstm", "lstm"], folded, [some_ids(1), some_ids(2)])


def not_folded() -> Iterator[Any]:
    """Models whose embeddings have other uses, too."""
    yield model(fm.layers.GlobalAveragePooling1D())
    yield model(fm.layers.Dense(4), fm.layers.LSTM(3))
    yield model(fm.layers.LSTM(3), dtype="float64")
    yield model(fm.layers.RNN([fm.layers.LSTMCell(3), fm.layers.LSTMCell(3)]))
    yield model()
    inputs = fm.Input((None,), dtype="int32")
    rows = fm.layers.Embedding(V, D)(inputs)
    yield fm.Model(inputs, [fm.layers.LSTM(3)(rows), rows])
    yield fm.Model(inputs, [fm.layers.LSTM(3)(rows), fm.layers.Dropout(0.5)(rows)])
    yield fm.Model(
        inputs, fm.layers.Concatenate()([fm.layers.LSTM(D, return_sequences=True)(rows), rows])
    )


@pytest.mark.slow
def test_what_is_not_folded(folded: list[str]) -> None:
    for made in not_folded():
        outputs = made(some_ids())
        assert not folded
        assert all(np.isfinite(one).all() for one in arrays_of(outputs))


def test_training_and_traces_are_not_folded(folded: list[str]) -> None:
    made = model(fm.layers.LSTM(20))
    made(some_ids(), training=True)
    fm.trace_masks(made, some_ids())
    assert not folded


def test_a_layer_that_is_added_needs_the_rows(folded: list[str]) -> None:
    made = fm.Sequential([fm.layers.Embedding(V, D)])
    made(some_ids())
    made.add(fm.layers.LSTM(20))
    made(some_ids())
    assert folded == ["lstm"]


def test_ids_are_checked() -> None:
    made = model(fm.layers.LSTM(20))
    with pytest.raises(ValueError, match=f"ids from 0 to {V - 1}, but one is {V}"):
        made([[1, V]])


def test_the_limit(folded: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    made = model(fm.layers.LSTM(20))
    made(some_ids())
    folded.clear()
    fm.set_fold_limit(V * 80 * 4 - 1)
    made(some_ids())
    assert not folded
    assert "folded" not in str(made.summary())
    capsys.readouterr()
    fm.set_fold_limit(V * 80 * 4)
    made(some_ids())
    assert folded
    with pytest.raises(ValueError, match="bytes must be at least 0"):
        fm.set_fold_limit(-1)
    with pytest.raises(TypeError, match="bytes must be an integer"):
        fm.set_fold_limit("1")  # type: ignore[arg-type]  # what is tested


def test_the_limit_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    from fastmask.backends import folding

    for text, expected in (("12", 12), ("", 1 << 26)):
        monkeypatch.setattr(folding, "_chosen", None)
        monkeypatch.setenv("FASTMASK_FOLD_LIMIT", text)
        assert fm.get_fold_limit() == expected
    monkeypatch.setattr(folding, "_chosen", None)
    monkeypatch.setenv("FASTMASK_FOLD_LIMIT", "much")
    with pytest.raises(ValueError, match="FASTMASK_FOLD_LIMIT must be a number of bytes"):
        fm.get_fold_limit()
