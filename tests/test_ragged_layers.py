"""Every layer on ragged batches, against the same rows padded or one by one."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

import fastmask as fm

from . import layer_zoo
from .built_layers import built
from .ragged_batches import LENGTHS, assert_same, padded, quietly, ragged_of

L = fm.layers
B, T, F = layer_zoo.B, layer_zoo.T, layer_zoo.F
# Layers that cannot take rows of different lengths, or have weights or features for each step.
REFUSED = {
    *("flatten", "flatten_first", "reshape", "permute", "repeat_vector", "prelu"),
    *("max_pooling_first", "conv_first", "max_pooling_steps", "average_pooling_first"),
    *("layer_norm_axes", "group_norm_time", "dot"),
}
# Layers that drop masks in Keras, so padding would count: each row is computed as if alone.
ALONE = {
    *("max_pooling", "conv", "conv_same", "conv_causal", "conv_causal_strides", "conv_groups"),
    *("max_pooling_windows", "max_pooling_same", "average_pooling_windows"),
    *("average_pooling_same", "zero_padding", "cropping", "up_sampling"),
}
OTHER_STEPS = {"concatenate_time"}


def in_dtype(name: str, dtype: str) -> Any:
    """The layer of a case, with the case's weights, in a dtype."""
    layer = built(name)
    if dtype == "float32":
        return layer
    again = type(layer).from_config({**layer.get_config(), "dtype": dtype})
    shapes = [x.shape for x in layer_zoo.inputs(name)]
    again.build(shapes if len(shapes) > 1 else shapes[0])
    again.set_weights(layer.get_weights())
    return again


def inputs_of(name: str, dtype: str, lengths: list[int], holes: bool) -> Any:
    random = np.random.default_rng(len(lengths))
    flags = random.random((B, T)) < 0.6 if holes else None
    each = [
        ragged_of(x.astype(dtype), lengths, flags if number == 0 else None)
        for number, x in enumerate(layer_zoo.inputs(name))
    ]
    return each if len(each) > 1 else each[0]


LIKE_PADDED = sorted(set(layer_zoo.CASES) - REFUSED - ALONE - OTHER_STEPS)


def compare(name: str, dtype: str, lengths: list[int], holes: bool) -> None:
    """Compare a layer on a ragged batch with one of the same weights on a padded one."""
    training = layer_zoo.CASES[name].training
    x = inputs_of(name, dtype, lengths, holes)
    layer, other = in_dtype(name, dtype), in_dtype(name, dtype)
    y = quietly(layer, x, training=training)
    expected = quietly(other, padded(x), training=training)
    assert_same(y, expected, f"{name} {lengths}")
    assert_same(layer.get_weights(), other.get_weights(), name)


def test_equals_padded() -> None:
    for name in LIKE_PADDED:
        for holes in (False, True):
            compare(name, "float32", LENGTHS[0], holes)


@pytest.mark.slow
@pytest.mark.parametrize("name", LIKE_PADDED)
def test_equals_padded_whatever_the_rows(name: str) -> None:
    for dtype in ("float32", "float64"):
        for lengths in LENGTHS:
            for holes in (False, True):
                compare(name, dtype, lengths, holes)


def one_by_one(layer: Any, x: fm.Ragged) -> list[Any]:
    """The output of each row in a batch of its own; None if the row is too short."""
    found = []
    for row in x:
        try:
            found.append(layer(row[None])[0])
        except ValueError:
            found.append(None)
    return found


@pytest.mark.parametrize("lengths", LENGTHS, ids=str)
def test_equals_rows_alone(lengths: list[int]) -> None:
    for name in ALONE:
        x, layer = inputs_of(name, "float32", lengths, False), built(name)
        y = layer(x)
        assert len(y) == len(lengths), name
        for ours, row in zip(y, one_by_one(layer, x), strict=True):
            if isinstance(y, np.ndarray):  # a row without steps gives the result of a zero
                expected = np.zeros(F) if row is None else row
                np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-6, err_msg=name)
            elif row is None:
                assert not len(ours), name
            else:
                np.testing.assert_allclose(ours, row, rtol=0, atol=1e-6, err_msg=name)


def test_holes_that_are_lost_warn() -> None:
    for name in ALONE:
        x, layer = inputs_of(name, "float32", [6, 4, 5], True), built(name)
        with pytest.warns(UserWarning, match=f"Layer '{layer.name}' .* destroy the mask"):
            y = layer(x)
        assert getattr(y, "valid", None) is None, name


def test_refuses_by_name() -> None:
    for name in REFUSED:
        layer = built(name)
        with pytest.raises((TypeError, ValueError), match=layer.name):
            layer(inputs_of(name, "float32", [3, 2], False))


def test_products_of_two_axes_of_steps() -> None:
    """Padding would look like steps to the next layer, so there must be none."""
    one, other = inputs_of("dot", "float32", [4, 4, 4], False)
    layer = L.Dot(axes=2)
    for row, first, second in zip(layer([one, other]), one, other, strict=True):
        np.testing.assert_allclose(row, first @ second.T, atol=1e-6)
    more = fm.Masked(np.ones((3, 2, F), np.float32), [[1, 0], [1, 1], [1, 1]])
    varying = inputs_of("dot", "float32", [4, 3, 2], False)[0]
    beside = quietly(layer, [varying, more])
    assert beside.lengths.tolist() == [4, 3, 2]
    np.testing.assert_allclose(beside.values, varying.values @ np.ones((F, 2)), atol=1e-6)
    with pytest.raises(
        ValueError, match=r"'dot.*' \(Dot\) cannot .* which cannot be joined; pad it"
    ):
        layer(inputs_of("dot", "float32", [4, 3], False))


@pytest.mark.parametrize("layer", [L.Softmax(0), L.UnitNormalization(0), L.Rescaling([[[2.0]]])])
def test_layers_over_the_axis_of_the_rows(layer: Any) -> None:
    with pytest.raises(TypeError, match=f"'{layer.name}' .* cannot take a Ragged"):
        layer(fm.Ragged(np.ones((5, 2), np.float32), [0, 2, 5]))


def test_concatenation_in_time_is_that_of_rows() -> None:
    one, other = inputs_of("concatenate_time", "float32", [6, 4, 0, 2, 1], False)
    y = L.Concatenate(axis=1)([one, other[:5]])
    assert y.lengths.tolist() == [12, 8, 0, 4, 2]
    for row, first, second in zip(y, one, other, strict=True):
        np.testing.assert_array_equal(row, np.concatenate([first, second]))


def test_other_layers() -> None:
    random = np.random.default_rng(3)
    ids = random.integers(0, 5, (B, T))
    query, value = (random.normal(size=(B, T, 4)).astype(np.float32) for _ in range(2))
    lengths = [6, 4, 0, 2, 1]
    for layer in (
        L.Embedding(5, 3),
        L.Embedding(5, 3, mask_zero=True),
        L.IntegerLookup(vocabulary=[1, 2, 3]),
        L.IntegerLookup(vocabulary=[1, 2], output_mode="one_hot"),
        L.CategoryEncoding(5, "one_hot"),
        L.Discretization([1.5, 3.0]),
    ):
        x = ragged_of(ids, lengths)
        y = quietly(layer, x)
        expected = quietly(layer, padded(x))
        data = expected.data if isinstance(expected, fm.Masked) else expected
        assert y.offsets.tolist() == x.offsets.tolist()
        for b, row in enumerate(y):
            np.testing.assert_array_equal(row, data[b, : len(row)])
        assert (y.valid is not None) == (getattr(layer, "mask_zero", False))
    counts = L.CategoryEncoding(5, "count")(ragged_of(ids, lengths))
    assert counts[3].tolist() == np.bincount(ids[3, :2], minlength=5).tolist()
    assert not counts[2].any()
    words = fm.Ragged(np.array(["a", "b", "?"]), [0, 2, 3])
    assert L.StringLookup(vocabulary=["a", "b"])(words).values.tolist() == [1, 2, 0]
    heads = L.MultiHeadAttention(2, 3)
    q, v = ragged_of(query, lengths), ragged_of(value, [1, 2, 3, 4, 5])
    assert_same(heads(q, v), heads(padded(q), padded(v)))
    assert_same(
        heads(q, v, use_causal_mask=True), heads(padded(q), padded(v), use_causal_mask=True)
    )
    y, scores = heads(q, v, return_attention_scores=True)
    assert (y.shape, scores.shape) == ((5, None, 4), (5, 2, 6, 5))
    memory = fm.Masked(value, np.ones((B, T)))
    assert_same(heads(q, memory), heads(padded(q), memory))
    assert_same(heads(query, v), heads(query, padded(v)))
    rms = L.RMSNormalization()
    assert_same(rms(q), rms(padded(q)))


def test_every_layer_has_been_called() -> None:
    called = {type(built(name)).__name__ for name in layer_zoo.CASES}
    called |= {"Embedding", "IntegerLookup", "StringLookup", "CategoryEncoding", "Discretization"}
    called |= {"MultiHeadAttention", "RMSNormalization", "TextVectorization"}
    inside = {"Layer", "LSTMCell", "GRUCell", "SimpleRNNCell", "StackedRNNCells"}
    assert called == set(L.__all__) - inside
    with pytest.raises(TypeError, match=r"TextVectorization.* cannot take a Ragged"):
        L.TextVectorization()(fm.Ragged(np.array(["a"]), [0, 1]))


PADDED = {"lambda", "lambda_mask", "time_distributed_norm", "spatial_dropout"}


def test_nothing_is_padded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(fm.Ragged, "to_masked")
    for name in set(layer_zoo.CASES) - REFUSED - PADDED:
        x, layer = inputs_of(name, "float32", [6, 4, 0, 2, 1], False), built(name)
        layer(x, training=layer_zoo.CASES[name].training)


def test_steps_are_computed_once_and_no_others() -> None:
    """Padded, these rows would need terabytes."""
    offsets = np.r_[0, np.arange(100_001, 200_001)]
    x = fm.Ragged(np.zeros(200_000, np.int64), offsets)
    model = fm.Sequential(
        [L.Embedding(3, 4), L.LSTM(4, return_sequences=True), L.LayerNormalization(), L.Dense(2)]
    )
    assert model(x).values.shape == (200_000, 2)


def test_merging_with_one_step_for_each_row() -> None:
    random = np.random.default_rng(4)
    x = ragged_of(random.normal(size=(B, T, F)).astype(np.float32), [6, 4, 0, 2, 1])
    of_rows = random.normal(size=(B, F)).astype(np.float32)
    for more in (of_rows, of_rows[:, None]):
        assert_same(L.Add()([x, more]), quietly(L.Add(), [padded(x), more]))
        assert_same(L.Multiply()([more, x]), quietly(L.Multiply(), [more, padded(x)]))
    with pytest.raises(ValueError, match="must all be Ragged with the same offsets"):
        L.Add()([x, padded(x).data])
    with pytest.raises(ValueError, match="must have the same offsets"):
        L.Add()([x, fm.Ragged(x.values, [0, 1, 2, 3, 4, 13])])
    with pytest.raises(ValueError, match=r"same number of rows, not \[5, 4\]"):
        L.Add()([x, x[:4]])
    with pytest.raises(ValueError, match=r"same number of rows, not \[5, 0\]"):
        L.Add()([x, 3.0])
    with pytest.raises(TypeError, match="must all be symbolic, or none of them"):
        L.Add()([x, fm.Input((None, F))])
    with pytest.raises(TypeError, match="unexpected keyword argument 'speed'"):
        L.LSTM(3)(x, speed=1)


def test_masks_that_are_given() -> None:
    random = np.random.default_rng(5)
    x = ragged_of(random.normal(size=(B, T, F)).astype(np.float32), [6, 4, 0, 2, 1])
    layer = L.LSTM(4, return_sequences=True)
    flags = random.random(13) < 0.6
    holed = fm.Ragged(x.values, x.offsets, flags)
    expected = layer(padded(holed))
    table = padded(holed).mask
    for mask in (flags, fm.Ragged(flags, x.offsets), table, table.valid):
        assert_same(layer(x, mask=mask), expected)
    assert_same(layer(holed, mask=np.ones(13)), layer(padded(x)))
    merged = L.Add()([x, x], mask=[flags, None])
    assert merged.valid is None
    for bad in (flags[:5], np.ones((5, 7)), fm.Ragged(flags, [0, 13, 13, 13, 13, 13])):
        with pytest.raises(ValueError, match=f"mask of layer '{layer.name}'"):
            layer(x, mask=bad)


def test_masks_of_words_that_are_given() -> None:
    random = np.random.default_rng(6)
    values = random.normal(size=(4, 2, 3)).astype(np.float32)
    x, flags = fm.Ragged(values, [0, 1, 4]), random.random((4, 2)) < 0.6
    expected = L.TimeDistributed(L.SimpleRNN(2))
    want = expected(fm.Ragged(values, x.offsets, flags))
    table = np.zeros((2, 3, 2), np.bool_)
    table[0, :1], table[1] = flags[:1], flags[1:]
    assert_same(want, expected(padded(x).data, mask=table))
    for mask in (flags, fm.Ragged(flags, x.offsets), table):
        assert_same(expected(x, mask=mask), expected(padded(x).data, mask=table))
    square = fm.Ragged(values[:2], [0, 0, 2])  # as many rows as steps
    of_square = np.array([[True, False], [False, False]])
    y = expected(square, mask=fm.Ragged(of_square, square.offsets))
    assert y.valid is not None
    assert y.valid.tolist() == [True, False]
    with pytest.raises(ValueError, match="must have a flag for each of 4 steps"):
        expected(x, mask=flags[:, :1])


class Differences(L.Layer):
    """Uses neighboring steps."""

    supports_masking = True

    def call(self, inputs: Any, mask: Any = None) -> Any:
        self.seen = inputs.shape, None if mask is None else mask.tolist()
        return inputs - np.roll(inputs, 1, axis=1)


class Doubled(L.Layer):
    """Uses each step alone."""

    step_by_step = supports_masking = True

    def call(self, inputs: Any) -> Any:
        self.seen = inputs.shape
        return 2 * inputs


class Strange(L.Dense):
    """A fastmask layer with another `call`."""

    def call(self, inputs: Any) -> Any:
        self.seen = inputs.shape
        return inputs.cumsum(axis=1)


def test_own_layers() -> None:
    x = fm.Ragged(np.ones((3, 2), np.float32), [0, 2, 3])
    own = Differences()
    y = own(x)
    assert own.seen == ((2, 2, 2), [[True, True], [True, False]])
    assert y.values.tolist() == [[0, 0], [0, 0], [1, 1]]
    step = Doubled()
    assert step(x).values.tolist() == [[2, 2]] * 3
    assert step.seen == (1, 3, 2)
    strange = Strange(2)
    assert strange(x).values.tolist() == [[1, 1], [2, 2], [1, 1]]
    assert strange.seen == (2, 2, 2)
    step.call = lambda inputs: inputs[:, 1:]  # type: ignore[method-assign]  # a method of one layer
    with pytest.raises(ValueError, match="has step_by_step = True"):
        step(x)


def test_training_is_known_inside() -> None:
    x = fm.Ragged(np.ones((50, 4), np.float32), [0, 20, 50])
    dropped = L.Dropout(0.5, seed=1)(x, training=True)
    assert 0 < (dropped.values == 0).mean() < 1
    shared = L.SpatialDropout1D(0.5, seed=1)(x, training=True)
    for row in shared:
        assert (row == row[:1]).all()
    model = fm.Sequential([L.TimeDistributed(L.Dropout(0.5)), L.BatchNormalization()])
    model(x, training=True)
    assert model.get_weights()[2].any()
    quantized = L.LSTM(4)
    quantized(x)
    quantized.quantize("int8")
    with pytest.raises(ValueError, match="cannot be trained"):
        quantized(x, training=True)


def test_arrays_on_a_gpu_are_refused() -> None:
    class OnGPU:
        __cuda_array_interface__: ClassVar[dict[str, Any]] = {}
        shape, dtype, ndim = (2, 3), np.dtype(np.float32), 2

    with pytest.raises(TypeError, match="cannot be on a GPU"):
        fm.Ragged(OnGPU(), [0, 2])  # type: ignore[arg-type]  # wrong on purpose


def test_adapting_to_valid_steps() -> None:
    values = np.random.default_rng(7).normal(2, 3, (40, 3))
    flags = np.arange(40) % 7 != 0
    for x, known in (
        (fm.Ragged(values, [0, 10, 40]), values),
        (fm.Ragged(values, [0, 10, 40], flags), values[flags]),
    ):
        layer = L.Normalization()
        layer.adapt(x)
        np.testing.assert_allclose(layer.get_weights()[0], known.mean(axis=0), atol=1e-6)
        of_bins = L.Discretization(num_bins=4)
        of_bins.adapt([x])
        same = L.Discretization(num_bins=4)
        same.adapt(known)
        assert of_bins.bin_boundaries == same.bin_boundaries


def test_a_layer_built_on_rows_is_saved_and_read(tmp_path: Path) -> None:
    x = fm.Ragged(np.ones((3, 2)), [0, 1, 3])
    model = fm.Sequential([L.Dense(3), L.Conv1D(2, 1), L.GlobalAveragePooling1D()])
    y = model(x)
    fm.save_model(model, tmp_path / "model.npz")
    np.testing.assert_array_equal(fm.load_model(tmp_path / "model.npz")(x), y)
