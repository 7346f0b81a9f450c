"""Dropout of recurrent layers in training."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest

from .recurrent_layers import (
    ONE_CELL,
    ROWOFF,
    B,
    F,
    H,
    L,
    OwnLSTM,
    X,
    random_states,
    same,
    seeded,
)


class TestDropout:
    X = np.ones((40, 5, 6), np.float32)

    @pytest.mark.parametrize("kind", [*ONE_CELL, "stack"])
    @pytest.mark.parametrize("both", [(0.4, 0.0), (0.0, 0.4), (0.4, 0.4)])
    def test_only_in_training_and_by_seed(self, kind: str, both: tuple[float, float]) -> None:
        def made(seed: int | None) -> Any:
            options = {"dropout": both[0], "recurrent_dropout": both[1], "seed": seed}
            if kind == "stack":
                return seeded(L.RNN([L.LSTMCell(3, **options), L.GRUCell(2, **options)]), 6)
            return seeded(ONE_CELL[kind](**options), 6)

        layer = made(3)
        quiet = layer(self.X)
        np.testing.assert_array_equal(layer(self.X), quiet)
        first, second = (layer(self.X, training=True) for _ in range(2))
        assert (first != quiet).any()
        assert (first != second).any()
        np.testing.assert_array_equal(made(3)(self.X, training=True), first)
        assert (made(4)(self.X, training=True) != first).any()

    def test_one_draw_serves_all_steps(self) -> None:
        """With weights that only add up the inputs, the sum shows what was dropped."""
        layer = L.SimpleRNN(6, "linear", use_bias=False, dropout=0.5, seed=0, return_sequences=True)
        layer.build((None, None, 6))
        layer.set_weights([np.eye(6), np.zeros((6, 6))])
        y = layer(self.X, training=True)
        assert set(np.unique(y).tolist()) == {0.0, 2.0}
        np.testing.assert_array_equal(y, np.broadcast_to(y[:, :1], y.shape))
        assert abs(y.mean() - 1) < 0.2

    def test_of_the_state(self) -> None:
        layer = L.SimpleRNN(
            6, "linear", use_bias=False, recurrent_dropout=0.2, seed=0, return_sequences=True
        )
        layer.build((None, None, 6))
        layer.set_weights([np.zeros((6, 6)), np.eye(6)])
        y = layer(self.X, initial_state=[np.ones((40, 6))], training=True)
        kept = y[:, 0] != 0
        assert 0.7 < kept.mean() < 0.9
        for t in range(5):
            np.testing.assert_allclose(y[:, t], np.where(kept, 1.25 ** (t + 1), 0), rtol=1e-5)

    @pytest.mark.parametrize("kind", ["LSTM", "GRU", "GRU_before"])
    def test_gates_drop_apart_beside_recurrent_dropout(self, kind: str) -> None:
        cell = seeded(ONE_CELL[kind](dropout=0.5, recurrent_dropout=0.5, seed=0)).cell
        inputs, recurrent = cell._draw(50)
        assert inputs is not None
        assert recurrent is not None
        assert len(inputs) == len(recurrent) == cell._kind.gates
        assert (inputs[0] != inputs[1]).any()
        shared = seeded(ONE_CELL[kind](dropout=0.5)).cell._draw(50)
        assert len(shared[0]) == 1
        assert shared[1] is None

    @pytest.mark.parametrize("kind", [k for k in ONE_CELL if k != "SimpleRNN"])
    def test_of_gates_by_the_formula(self, kind: str) -> None:
        """Each gate has its own weights, so dropping for a gate is dropping in its columns."""
        cell = seeded(ONE_CELL[kind]()).cell
        kernel, recurrent_kernel, bias = cell._values()
        states = random_states(*cell._sizes)
        count = cell._kind.gates
        for gate in range(count):
            off = [np.full((B, F), float(i != gate), np.float32) for i in range(count)]
            dropped = cell._formula(X[:, 0], states, off, None)
            twin = copy.deepcopy(cell)
            changed = kernel.copy()
            changed[:, gate * H : (gate + 1) * H] = 0
            twin.set_weights([changed, recurrent_kernel, bias])
            same(dropped, twin._formula(X[:, 0], states, None, None), 1e-6)

    def test_everything(self) -> None:
        layer = seeded(L.GRU(H, dropout=1.0))
        same(layer(X, training=True), layer(np.zeros_like(X)))

    def test_under_a_mask(self) -> None:
        x = np.where(ROWOFF[:, :, None], X, np.float32(np.nan))
        for kind in ONE_CELL.values():
            one, other = (
                seeded(kind(dropout=0.3, recurrent_dropout=0.3, seed=5)) for _ in range(2)
            )
            y = one(x, mask=ROWOFF, training=True)
            np.testing.assert_array_equal(y, other(X, mask=ROWOFF, training=True))
            assert (y[1] == 0).all()

    def test_reaches_the_layers_inside(self) -> None:
        layer = L.Bidirectional(L.LSTM(H, dropout=0.5, seed=0))
        assert (layer(X, training=True) != layer(X)).any()


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "SimpleRNN", "own"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_initial_states_of_the_caller_stay_as_they_are(kind: str, dtype: Any) -> None:
    rng = np.random.default_rng(9)
    layer: Any = L.RNN(OwnLSTM(H))
    if kind != "own":
        layer = getattr(L, kind)(H, recurrent_dropout=0.5, return_sequences=True)
    x = rng.normal(size=(B, 4, F)).astype(np.float32)
    count = 2 if kind in ("LSTM", "own") else 1
    states = [rng.normal(size=(B, H)).astype(dtype) for _ in range(count)]
    before = copy.deepcopy(states)
    mask = np.array([[1, 0, 1, 1]] * (B - 1) + [[0, 0, 0, 0]], bool)
    for training in (True, False):
        layer(x, initial_state=states, mask=mask, training=training)
        for state, one in zip(states, before, strict=True):
            np.testing.assert_array_equal(state, one)
