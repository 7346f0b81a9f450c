"""Bidirectional: merging, states, errors."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest

import fastmask as fm

from .recurrent_layers import (
    HOLED,
    ROWOFF,
    F,
    H,
    L,
    X,
    plain,
    random_states,
    same,
    seeded,
)


class TestBidirectional:
    def test_halves(self) -> None:
        layer = seeded(L.Bidirectional(L.GRU(H, return_sequences=True, name="reader")))
        names = layer.forward_layer.name, layer.backward_layer.name
        assert names == ("forward_reader", "backward_reader")
        weights = layer.get_weights()
        forward = seeded(L.GRU(H, return_sequences=True, zero_output_for_mask=True))
        forward.set_weights(weights[:3])
        backward = L.GRU(H, return_sequences=True, zero_output_for_mask=True, go_backwards=True)
        seeded(backward).set_weights(weights[3:])
        y = layer(fm.Masked(X, HOLED))
        expected = [forward(X, mask=HOLED).data, backward(X, mask=HOLED).data[:, ::-1]]
        same(y, np.concatenate(expected, axis=2))
        np.testing.assert_array_equal(y.mask, HOLED)
        assert (y.data[~HOLED] == 0).all()
        turned = L.Bidirectional(
            L.GRU(H, return_sequences=True, go_backwards=True), merge_mode=None
        )
        seeded(turned).set_weights([*weights[3:], *weights[:3]])
        back, front = turned(fm.Masked(X, HOLED))
        same([front, back], expected)

    @pytest.mark.parametrize("mode", ["concat", "sum", "mul", "ave", None])
    @pytest.mark.parametrize("sequences", [False, True])
    @pytest.mark.parametrize("states", [False, True])
    @pytest.mark.parametrize("kind", ["LSTM", "GRU"])
    def test_outputs_masks_and_shapes(
        self, mode: str | None, sequences: bool, states: bool, kind: str
    ) -> None:
        inner = getattr(L, kind)(H, return_sequences=sequences, return_state=states)
        layer = seeded(L.Bidirectional(inner, merge_mode=mode))
        y = layer(fm.Masked(X, HOLED))
        outputs = list(y) if isinstance(y, tuple) else [y]
        count = 1 + (mode is None) + (states * (4 if kind == "LSTM" else 2))
        assert len(outputs) == count
        told = layer.compute_output_shape(X.shape)
        assert [one.shape for one in outputs] == (told if count > 1 else [told])
        merged = 1 + (mode is None)
        assert [isinstance(one, fm.Masked) for one in outputs] == [
            sequences and i < merged for i in range(count)
        ]
        symbolic = layer(fm.Input((None, F)))
        assert len(symbolic if isinstance(symbolic, list) else [symbolic]) == count

    def test_states(self) -> None:
        inner = L.LSTM(H, return_state=True, return_sequences=True)
        layer = seeded(L.Bidirectional(inner))
        states = random_states(H, H, H, H)
        _, *after = layer(X, initial_state=states, mask=ROWOFF)
        forward, backward = layer.forward_layer, layer.backward_layer
        expected = [
            *forward(X, initial_state=states[:2], mask=ROWOFF)[1:],
            *backward(X, initial_state=states[2:], mask=ROWOFF)[1:],
        ]
        same(after, expected)
        same([one[1] for one in after], [one[1] for one in states])
        for given, error, words in (
            (states[:2], ValueError, "must have 4 arrays, 2 for the forward layer"),
            (states[0], TypeError, "must be a list of arrays, not ndarray"),
        ):
            with pytest.raises(error, match=words):
                layer(X, initial_state=given)

    @pytest.mark.parametrize("mode", ["concat", None])
    @pytest.mark.parametrize("sequences", [False, True])
    def test_two_kinds_of_layers(self, mode: str | None, sequences: bool) -> None:
        options = {"return_sequences": sequences, "return_state": True}
        back = L.GRU(5, go_backwards=True, **options)
        layer = seeded(L.Bidirectional(L.LSTM(H, **options), mode, backward_layer=back))
        states = random_states(H, H, 5)
        y = layer(fm.Masked(X, HOLED), initial_state=states)
        forward, backward = layer.forward_layer, layer.backward_layer
        first, *after = forward(X, mask=HOLED, initial_state=states[:2])
        second, last = backward(X, mask=HOLED, initial_state=states[2:])
        halves = plain([first, second])
        halves[1] = halves[1][:, ::-1] if sequences else halves[1]
        same(y, [*(halves if mode is None else [np.concatenate(halves, -1)]), *after, last])
        assert layer.compute_output_shape(X.shape) == [one.shape for one in y]
        assert [one.shape[-1] for one in layer(fm.Input((None, F)))] == [one.shape[-1] for one in y]
        with pytest.raises(ValueError, match=r"must have 3 arrays, 2 .* and 1 for the backward"):
            layer(X, initial_state=states[:2])

    def test_stateful(self) -> None:
        layer = seeded(L.Bidirectional(L.LSTM(H, stateful=True)))
        assert layer.stateful
        assert layer.states is None
        first, second = layer(X), layer(X)
        assert (first != second).any()
        assert layer.states is not None
        assert len(layer.states) == 4
        layer.reset_state()
        np.testing.assert_array_equal(layer(X), first)

    def test_the_layer_itself_is_not_used(self) -> None:
        inner = seeded(L.GRU(H))
        before = inner.get_weights()
        layer = seeded(L.Bidirectional(inner))
        layer.set_weights([w * 0 for w in layer.get_weights()])
        same(inner.get_weights(), before)
        assert inner.zero_output_for_mask is False

    @pytest.mark.parametrize("clone", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])  # noqa: S301 - own bytes
    def test_copies(self, clone: Any) -> None:
        layer = seeded(L.Bidirectional(L.RNN([L.LSTMCell(3), L.GRUCell(2)])))
        same(clone(layer)(X), layer(X))

    @pytest.mark.parametrize(
        ("make", "error", "words"),
        [
            (lambda: L.Bidirectional(L.Dense(3)), TypeError, "layer must be an LSTM, GRU"),
            (lambda: L.Bidirectional(L.GRU(3), "add"), ValueError, "merge_mode must be one of"),
            (
                lambda: L.Bidirectional(L.GRU(3), backward_layer=L.GRU(3)),
                ValueError,
                "must differ in go_backwards, but it is False for both",
            ),
            (
                lambda: L.Bidirectional(
                    L.GRU(3), backward_layer=L.GRU(3, go_backwards=True, return_state=True)
                ),
                ValueError,
                "must have the same return_state, not False and True",
            ),
            (
                lambda: L.Bidirectional(
                    L.GRU(3), "sum", backward_layer=L.GRU(5, go_backwards=True)
                ),
                ValueError,
                "outputs of the same size for merge_mode 'sum', not 3 and 5",
            ),
        ],
    )
    def test_refuses(self, make: Any, error: type[Exception], words: str) -> None:
        with pytest.raises(error, match=words):
            make()
