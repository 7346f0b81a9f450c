"""Layers and models on GPU arrays: the results of the host, and what they keep on the device."""

from __future__ import annotations

import copy
import gc
import weakref
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fastmask as fm
from fastmask.backends.cuda import arrays as _arrays

from .array_cases import (
    HOLES,
    KINDS,
    SEQUENCES,
    STAND_INS,
    B,
    F,
    H,
    L,
    T,
    normal,
    put,
    same,
    with_weights,
)
from .owners import CupyLike, NumbaLike

pytestmark = STAND_INS
IDS = np.array([[3, 1, 0, 2], [0, 0, 0, 0], [0, 4, 4, 0]])
DOCUMENTS = fm.Masked(np.stack([SEQUENCES.data] * 2, axis=1), np.stack([HOLES, ~HOLES], axis=1))
SYMBOL = fm.Input((T, F))
# Layers that need kernels only, then those that need NumPy's functions too.
WITH_KERNELS = {
    "lstm": (lambda: L.LSTM(H, return_sequences=True, return_state=True), SEQUENCES),
    "gru": (lambda: L.GRU(H, reset_after=False), SEQUENCES),
    "rnn": (lambda: L.SimpleRNN(H, zero_output_for_mask=True, use_bias=False), SEQUENCES),
    "backwards": (lambda: L.GRU(H, return_sequences=True, go_backwards=True), SEQUENCES),
    "float64": (lambda: L.SimpleRNN(H, dtype="float64"), SEQUENCES.data.astype("f8")),
    "stack": (
        lambda: L.RNN([L.GRUCell(3), L.SimpleRNNCell(2)], return_sequences=True, go_backwards=True),
        SEQUENCES,
    ),
    "unmerged": (
        lambda: L.Bidirectional(L.SimpleRNN(2, return_sequences=True), merge_mode=None),
        SEQUENCES,
    ),
    "documents": (lambda: L.Embedding(5, 3, mask_zero=True), np.stack([IDS, IDS[::-1]], axis=1)),
    "masked_documents": (lambda: L.Masking(), np.stack([SEQUENCES.data] * 2, axis=1)),
    "embedding": (lambda: L.Embedding(5, 3, mask_zero=True), IDS),
    "masking": (lambda: L.Masking(), SEQUENCES.data),
    "model": (
        lambda: fm.Sequential([L.Embedding(5, 2, mask_zero=True), L.LSTM(2)]),
        IDS,
    ),
}
BY_CUPY = {
    "masking_value": (lambda: L.Masking(1.0), np.array([[[1, 1], [1, 2]]], "f4")),
    "bidirectional": (
        lambda: L.Bidirectional(L.SimpleRNN(2, return_sequences=True)),
        SEQUENCES,
    ),
    "dense": (lambda: L.Dense(3, activation="softmax"), SEQUENCES),
    "pooling": (lambda: L.GlobalAveragePooling1D(), SEQUENCES),
    "normalization": (lambda: L.LayerNormalization(), SEQUENCES),
    "given": (lambda: L.Normalization(mean=[1.0, 2.0], variance=[1.0, 3.0]), SEQUENCES),
    "softmax": (lambda: L.Softmax(axis=1), SEQUENCES),
    "concatenate": (lambda: L.Concatenate(), [SEQUENCES, SEQUENCES.data]),
    "multiply": (lambda: L.Multiply(), [SEQUENCES, SEQUENCES]),
    "padding": (lambda: L.ZeroPadding1D(1), SEQUENCES.data),
    "convolution": (lambda: L.Conv1D(4, 2, padding="same", groups=2), SEQUENCES.data),
    "max_of_windows": (lambda: L.MaxPooling1D(2, 1, "same"), SEQUENCES.data),
    "mean_of_windows": (lambda: L.AveragePooling1D(2, 1, "same"), SEQUENCES.data),
    "attention": (lambda: L.Attention(True), [SEQUENCES, SEQUENCES]),
    "additive_attention": (lambda: L.AdditiveAttention(), [SEQUENCES, SEQUENCES]),
    "heads": (lambda: fm.Model(SYMBOL, L.MultiHeadAttention(2, 3)(SYMBOL, SYMBOL)), SEQUENCES),
    "distributed": (lambda: L.TimeDistributed(L.Dense(2)), SEQUENCES),
    "hierarchical": (lambda: L.TimeDistributed(L.SimpleRNN(2)), DOCUMENTS),
    "hierarchical_sequences": (
        lambda: L.TimeDistributed(L.SimpleRNN(2, return_sequences=True)),
        DOCUMENTS,
    ),
    "group_norm": (lambda: L.GroupNormalization(-1), SEQUENCES),
    "masking_nan": (lambda: L.Masking(np.nan), np.array([[[np.nan, np.nan], [1, 2]]], "f4")),
}


@pytest.mark.parametrize("name", WITH_KERNELS)
@pytest.mark.parametrize("kind", KINDS)
def test_layers_with_kernels(name: str, kind: type[NumbaLike]) -> None:
    make, x = WITH_KERNELS[name]
    layer = with_weights(make(), x)
    if kind is NumbaLike and isinstance(x, np.ndarray) and x.dtype == "f8":
        x = x.astype(layer.dtype)
    same(layer(put(x, kind)), layer(x), kind)


@pytest.mark.parametrize("name", BY_CUPY)
def test_layers_of_numpy_code(name: str) -> None:
    make, x = BY_CUPY[name]
    layer = with_weights(make(), x)
    same(layer(put(x, CupyLike)), layer(x), CupyLike)
    with pytest.raises(TypeError, match=r"computes on a GPU by CuPy, which is not installed"):
        layer(put(x, NumbaLike))


def test_masks_go_on_and_stay_where_they_are(counts: Counter[str]) -> None:
    model = fm.Sequential(
        [
            L.Embedding(5, F, mask_zero=True),
            L.LSTM(H, return_sequences=True),
            L.Dense(2),
            L.GRU(2, return_sequences=True),
        ]
    )
    y = model(CupyLike(IDS))
    assert counts["plans"] == 1
    assert type(y.mask.valid) is CupyLike
    same(y, model(IDS), CupyLike)


def test_masks_are_forgotten_at_once() -> None:
    """By reference counting: GPU memory that waits for the garbage collector runs out."""
    gc.disable()
    try:
        for valid in (CupyLike(HOLES), HOLES):
            mask = fm.Mask(valid)
            x = fm.Masked(CupyLike(SEQUENCES.data), mask)
            L.GRU(H)(L.Dense(2)(x))
            alive = weakref.ref(mask)
            del mask, x
            assert alive() is None
    finally:
        gc.enable()


def test_new_weights_count_at_once() -> None:
    for make, x in (
        (lambda: L.LSTM(H), SEQUENCES),
        (lambda: L.Dense(3), SEQUENCES),
        (lambda: L.Embedding(5, 3), IDS),
    ):
        layer = make()
        same(layer(put(x, CupyLike)), layer(x), CupyLike)
        layer.set_weights([normal(*one.shape) for one in layer.get_weights()])
        same(layer(put(x, CupyLike)), layer(x), CupyLike)
        same(copy.deepcopy(layer)(put(x, CupyLike)), layer(x), CupyLike)


@pytest.mark.parametrize("make", [lambda: L.GRU(H), lambda: L.Dense(3)], ids=["packed", "copied"])
def test_weights_that_change_while_they_are_copied(
    make: Callable[[], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A copy that began before the change is not used after it."""
    rng = np.random.default_rng(17)
    layer, x = make(), rng.normal(size=(B, T, F)).astype("f4")
    layer(x)
    new = [rng.normal(size=one.shape) for one in layer.get_weights()]
    copy_to_device = _arrays.put

    def change_after(array: Any, device: int) -> Any:
        copied = copy_to_device(array, device)
        monkeypatch.setattr(_arrays, "put", copy_to_device)
        layer.set_weights(new)
        return copied

    monkeypatch.setattr(_arrays, "put", change_after)
    layer(put(x, CupyLike))
    assert _arrays.put is copy_to_device
    same(layer(put(x, CupyLike)), layer(x), CupyLike)


def test_weights_that_a_layer_may_write_to_are_compared() -> None:
    class Scale(L.Layer):
        def build(self, input_shape: Any) -> None:
            self.scale = self.add_weight((input_shape[-1],), "ones")

        def call(self, inputs: Any) -> Any:
            return inputs * self.scale

    layer, x = Scale(), normal(B, T, F)
    layer.build(x.shape)
    view = layer.scale[1:]
    for change in (lambda: None, lambda: layer.scale.fill(3), lambda: view.fill(2)):
        change()
        same(layer(put(x, CupyLike)), x * layer.scale, CupyLike)


def test_weights_that_somebody_unseals_are_compared_from_then_on() -> None:
    layer, x = L.Dense(H), normal(B, T, F)
    same(layer(put(x, CupyLike)), layer(x), CupyLike)
    layer.kernel.flags.writeable = True
    for value in (3, 2):
        layer.kernel[...] = value
        same(layer(put(x, CupyLike)), x @ layer.kernel, CupyLike)


def test_moments_that_move_after_use_on_a_device() -> None:
    layer, adapted, x = L.BatchNormalization(), L.Normalization(), normal(B, T, F)
    for _ in range(2):
        for one in (layer, adapted):
            same(one(put(x, CupyLike)), one(x), CupyLike)
        layer(x, training=True)
        adapted.adapt(x)


def test_states_are_kept_on_the_device() -> None:
    layers = [L.GRU(H, stateful=True, return_sequences=True, seed=1) for _ in range(2)]
    layers[1].build(SEQUENCES.shape)
    layers[0].build(SEQUENCES.shape)
    layers[1].set_weights(layers[0].get_weights())
    for _ in range(2):
        same(layers[1](put(SEQUENCES, NumbaLike)), layers[0](SEQUENCES), NumbaLike)
    assert type(layers[1].states[0]) is NumbaLike
    with pytest.raises(TypeError, match="inputs must be an array on a CUDA device"):
        layers[1](SEQUENCES)


def test_cells_and_first_states() -> None:
    cell = L.LSTMCell(H)
    x, states = normal(B, F), [normal(B, H), normal(B, H)]
    expected = cell(x, states=states)
    output, after = cell(CupyLike(x), states=put(states, CupyLike))
    same([output, *after], [expected[0], *expected[1]], CupyLike)
    layer = L.LSTM(H)
    expected = layer(SEQUENCES, initial_state=states)
    same(layer(put(SEQUENCES, CupyLike), initial_state=put(states, CupyLike)), expected, CupyLike)


@pytest.mark.parametrize("kind", KINDS)
def test_predict(kind: type[NumbaLike]) -> None:
    model = fm.Sequential([L.Masking(), L.SimpleRNN(2, return_sequences=True)])
    x = np.concatenate([SEQUENCES.data] * 2)
    for given in (x, fm.Masked(x, np.concatenate([HOLES] * 2))):
        found = model.predict(put(given, kind), batch_size=4, verbose=0)
        same(found, model.predict(given, batch_size=4, verbose=0), kind)


def test_two_inputs_and_a_custom_layer() -> None:
    class Difference(fm.layers.Layer):
        calls = 0

        def call(self, inputs: Any) -> Any:
            self.calls = self.calls + 1
            return np.abs(inputs[0] - inputs[1]).max(axis=1)

    first, second = fm.Input((T, F)), fm.Input((T, F))
    layer = Difference()
    model = fm.Model([first, second], layer([first, second]))
    x = [normal(B, T, F), normal(B, T, F)]
    expected, before = model(x), layer.calls
    same(model(put(x, CupyLike)), expected, CupyLike)
    assert layer.calls == before + 1
