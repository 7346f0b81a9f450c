"""Recurrent layers inside models, and live streams through `layer.step`."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastmask as fm

from . import golden
from .recurrent_layers import (
    HOLED,
    MASKS,
    ONE_CELL,
    B,
    F,
    H,
    L,
    Sum,
    T,
    X,
    random_states,
    same,
    seeded,
)


class TestInModels:
    def test_symbolic_initial_state(self) -> None:
        """An encoder hands its states to a decoder."""
        source, target = fm.Input((None, F), name="source"), fm.Input((None, F), name="target")
        for first, second in (
            (L.LSTM(H, return_state=True), L.LSTM(H, return_sequences=True)),
            (L.GRU(H, return_state=True), L.GRU(H, return_sequences=True)),
            (
                L.Bidirectional(L.LSTM(H, return_state=True)),
                L.Bidirectional(L.LSTM(H, return_sequences=True)),
            ),
            (
                L.RNN([L.LSTMCell(H), L.GRUCell(2)], return_state=True),
                L.RNN([L.LSTMCell(H), L.GRUCell(2)], return_sequences=True),
            ),
        ):
            _, *states = first(source)
            model = fm.Model([source, target], second(target, initial_state=states))
            y = model([fm.Masked(X, HOLED), fm.Masked(X[:, :3], HOLED[:, :3])])
            _, *own = first(X, mask=HOLED)
            same(y, second(X[:, :3], mask=HOLED[:, :3], initial_state=own))
            np.testing.assert_array_equal(y.mask, HOLED[:, :3])

    def test_state_as_an_input(self, tmp_path: Path) -> None:
        x, h = fm.Input((None, F)), fm.Input((H,))
        model = fm.Model([x, h], L.GRU(H)(x, initial_state=[h]))
        fm.save_model(model, tmp_path / "m.npz")
        (state,) = random_states(H)
        for one in (model, fm.load_model(tmp_path / "m.npz")):
            same(one([X, state]), model.layers[-1](X, initial_state=state))

    def test_missing_return_sequences(self) -> None:
        model = fm.Sequential([L.LSTM(4), L.GRU(3, name="upper")])
        with pytest.raises(
            ValueError, match=r"of layer 'upper' must .* before it needs return_sequences=True"
        ):
            model(X)

    def test_reversed_mask_goes_on(self) -> None:
        first = L.GRU(H, return_sequences=True, go_backwards=True)
        x = fm.Input((None, F))
        model = fm.Model(x, L.SimpleRNN(2)(first(x)))
        y = first(X, mask=HOLED)
        np.testing.assert_array_equal(y.mask, HOLED[:, ::-1])
        same(model(fm.Masked(X, HOLED)), model.layers[-1](y.data, mask=HOLED[:, ::-1]))

    @pytest.mark.parametrize("inner", [L.GRU(2), L.Bidirectional(L.GRU(2)), L.RNN(L.GRUCell(2))])
    def test_time_distributed(self, inner: Any) -> None:
        x = np.random.default_rng(0).normal(size=(2, 3, 4, 5)).astype(np.float32)
        y = L.TimeDistributed(inner)(fm.Masked(x, [[1, 1, 0], [1, 0, 0]]))
        same(y.data[:, 1], inner(x[:, 1]), 1e-6)

    def test_stateful_layers_forget_that_they_were_tried(self) -> None:
        class Wrapper(L.Layer):
            def __init__(self) -> None:
                super().__init__()
                self.inner = L.Bidirectional(L.GRU(H, stateful=True))

            def call(self, inputs: Any) -> Any:
                return self.inner(inputs)

        wrapper = Wrapper()
        wrapper(fm.Input((None, F)))
        assert wrapper.inner.states is None

    def test_predict_returns_states(self) -> None:
        x = fm.Input((None, F))
        y, (h, c), (last,) = L.RNN([L.LSTMCell(3), L.GRUCell(2)], return_state=True)(x)
        model = fm.Model(x, [y, h, c, last])
        same(model.predict(X, batch_size=2, verbose=0), model(X), 1e-6)


class TestStep:
    def test_example(self, capsys: pytest.CaptureFixture[str]) -> None:
        file = Path(__file__).parents[1] / "examples" / "streaming.py"
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("sys.argv", [str(file), "--streams", "50", "--moments", "3"])
            runpy.run_path(str(file), run_name="__main__")
        assert "events/s" in capsys.readouterr().out

    @pytest.mark.parametrize("kind", [*ONE_CELL, "stack"])
    @pytest.mark.parametrize("masks", ["none", *MASKS])
    def test_equals_the_sequence(self, kind: str, masks: str) -> None:
        mask = golden.MASKS[masks]
        layer = L.RNN([L.LSTMCell(3), L.GRUCell(2)]) if kind == "stack" else ONE_CELL[kind]()
        layer = type(layer).from_config({**layer.get_config(), "return_state": True})
        state = seeded(layer).get_initial_state(B)
        for t in range(T):
            events = None if mask is None else mask[:, t]
            y = layer.step(X[:, t], state, mask=events)
        output, *last = layer(X, mask=mask)
        same(state, last, 1e-6)
        same(y, output, 1e-6)

    def test_touches_nothing_else(self) -> None:
        layer = seeded(L.LSTM(H))
        state = [np.full((B, H), np.nan, np.float32) for _ in range(2)]
        arrays = list(state)
        x = np.full((B, F), np.nan, np.float32)
        x[2] = X[2, 0]
        for one in state:
            one[2] = 0
        y = layer.step(x, state, mask=[0, 0, 1, 0, 0])
        assert y is state[0] is arrays[0]
        assert np.isfinite(y[2]).all()
        assert all(np.isnan(np.delete(one, 2, axis=0)).all() for one in state)
        before = [one.copy() for one in state]
        assert layer.step(x, state, mask=np.zeros(B, bool)) is state[0]
        same(state, before)

    def test_of_a_layer_that_was_not_built(self) -> None:
        layer = L.GRU(H)
        state = layer.get_initial_state(B)
        assert layer.step(X[:, 0].tolist(), state).shape == (B, H)
        assert len(layer.get_weights()) == 3
        empty = layer.get_initial_state(0)
        assert layer.step(X[:0, 0], empty).shape == (0, H)

    def test_states_that_lie_in_one_array(self) -> None:
        layer = seeded(L.LSTM(H))
        state = np.zeros((2, B, H), np.float32)
        layer.step(X[:, 0], list(state))
        apart = layer.get_initial_state(B)
        layer.step(X[:, 0], apart)
        same(list(state), apart)
        with pytest.raises(ValueError, match="must not share memory"):
            layer.step(X[:, 0], [state.reshape(-1, H)[:B], state.reshape(-1, H)[2 : B + 2]])

    @pytest.mark.slow
    def test_float64(self) -> None:
        layer = seeded(L.GRU(H, dtype="float64"))
        state = layer.get_initial_state(B)
        assert layer.step(X[:, 0], state).dtype == np.float64

    @pytest.mark.parametrize(
        ("call", "error", "words"),
        [
            (
                lambda layer, state: layer.step(X, state),
                ValueError,
                r"x must have shape \(batch, features\)",
            ),
            (
                lambda layer, state: layer.step(X[:, 0, :2], state),
                ValueError,
                "must have 3 features, not 2",
            ),
            (
                lambda layer, state: layer.step(X[:, 0], state, mask=[1, 0]),
                ValueError,
                r"mask must have shape \(batch,\) = \(5,\), not \(2,\)",
            ),
            (
                lambda layer, state: layer.step(X[:2, 0], state),
                ValueError,
                r"^state\[0\] must have shape \(batch, units\) = \(2, 4\), not \(5, 4\)",
            ),
            (
                lambda layer, state: layer.step(X[:, 0], [state[0].astype(np.float64)]),
                TypeError,
                "state must hold C-contiguous arrays of dtype float32",
            ),
            (
                lambda layer, state: layer.step(X[:, 0], [state[0].tolist()]),
                TypeError,
                r"changed in place",
            ),
            (
                lambda layer, state: layer.step(X[:, 0], state * 2),
                ValueError,
                "^state must have 1 arrays, not 2",
            ),
            (
                lambda _, state: L.GRU(H, go_backwards=True).step(X[:, 0], state),
                ValueError,
                "go_backwards=False",
            ),
            (lambda _, state: L.RNN(Sum()).step(X[:, 0], state), TypeError, "needs cells LSTMCell"),
            (
                lambda _, state: L.LSTM(H).step(X[:, 0], state * 2),
                ValueError,
                r"state\[1\] must not share memory with another array of state",
            ),
            (
                lambda layer, state: layer.step(X[:, 0], state, mask=list("abcde")),
                TypeError,
                "mask must be bool, integer or float, not dtype <U1",
            ),
            (
                lambda layer, state: layer.step(X[:, 0], state, mask=[np.nan] * B),
                ValueError,
                "mask holds NaN",
            ),
        ],
    )
    def test_refuses(self, call: Any, error: type[Exception], words: str) -> None:
        layer = seeded(L.GRU(H))
        state = layer.get_initial_state(B)
        with pytest.raises(error, match=words):
            call(layer, state)
