"""RNN over one cell, custom cells and stacks; cells called alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastmask as fm
from fastmask.backends import plan as _plan
from fastmask.layers._calls import flat

from . import golden
from .recurrent_layers import (
    HOLED,
    MASKS,
    ONE_CELL,
    ROWOFF,
    B,
    H,
    L,
    OwnLSTM,
    Sum,
    T,
    X,
    random_states,
    same,
    seeded,
)


class TestOwnCell:
    @pytest.mark.parametrize("masks", MASKS)
    @pytest.mark.parametrize("sequences", [False, True])
    @pytest.mark.parametrize("backwards", [False, True])
    @pytest.mark.parametrize("zero", [False, True])
    def test_equals_the_kernels(
        self, masks: str, sequences: bool, backwards: bool, zero: bool
    ) -> None:
        options = {
            "return_sequences": sequences,
            "go_backwards": backwards,
            "zero_output_for_mask": zero,
            "return_state": True,
        }
        known = seeded(L.LSTM(H, **options))
        own = seeded(L.RNN(OwnLSTM(H), **options))
        mask = golden.MASKS[masks]
        state = random_states(H, H)
        ours, other = (one(X, mask=mask, initial_state=state) for one in (known, own))
        same(ours, other, 1e-5)
        if sequences:
            np.testing.assert_array_equal(ours[0].mask, other[0].mask)

    def test_sees_only_rows_with_a_step(self) -> None:
        layer = seeded(L.RNN(OwnLSTM(H)))
        layer(np.where(ROWOFF[:, :, None], X, np.nan), mask=ROWOFF)
        assert layer.cell.rows == [n for n in ROWOFF.sum(axis=0).tolist() if n]

    def test_other_sizes_and_its_own_start(self) -> None:
        x = np.ones((2, 3, 2, 2))
        layer = L.RNN(Sum(), return_sequences=True, return_state=True)
        y, state = layer(x, mask=[[1, 0, 1], [0, 0, 0]])
        assert y.data.tolist() == [[[14.0] * 3, [14.0] * 3, [18.0] * 3], [[0.0] * 3] * 3]
        assert state.tolist() == [[18.0, 18.0], [10.0, 10.0]]
        assert layer.compute_output_shape((2, 3, 2, 2)) == [(2, 3, 3), (2, 2)]
        y, _ = layer(x, initial_state=np.zeros((2, 2)))
        assert y[0, 0, 0] == 4
        y, _ = layer(x, training=True)
        assert y[0, 0, 0] == 15

    def test_in_stacks_and_both_directions(self) -> None:
        mixed = seeded(L.RNN([OwnLSTM(3), L.LSTMCell(2)], return_sequences=True))
        known = seeded(L.RNN([L.LSTMCell(3), L.LSTMCell(2)], return_sequences=True))
        same(mixed(X, mask=HOLED), known(X, mask=HOLED), 1e-5)
        own = seeded(L.Bidirectional(L.RNN(OwnLSTM(3), return_sequences=True)))
        both = seeded(L.Bidirectional(L.LSTM(3, return_sequences=True)))
        same(own(X, mask=HOLED), both(X, mask=HOLED), 1e-5)

    def test_that_changes_a_known_cell(self) -> None:
        class Louder(L.GRUCell):
            def call(self, inputs: Any, states: Any, training: bool = False) -> Any:
                h, states = super().call(inputs, states, training)
                return 2 * h, states

        layer, usual = seeded(L.RNN(Louder(H))), seeded(L.GRU(H))
        same(layer(X, mask=HOLED), 2 * usual(X, mask=HOLED), 1e-6)

    def test_saves(self, tmp_path: Path) -> None:
        model = fm.Sequential([seeded(L.RNN([OwnLSTM(3), L.GRUCell(2)]))])
        fm.save_model(model, tmp_path / "m.npz")
        again = fm.load_model(tmp_path / "m.npz", custom_objects={"OwnLSTM": OwnLSTM})
        same(again(X), model(X))
        with pytest.raises(ValueError, match="unknown layer class 'OwnLSTM'"):
            fm.load_model(tmp_path / "m.npz")

    def test_without_get_config(self, tmp_path: Path) -> None:
        class Odd(OwnLSTM):
            get_config = L.Layer.get_config

        model = fm.Sequential([seeded(L.RNN(Odd(3)))])
        with pytest.raises(ValueError, match=r"Odd must define get_config\(\)"):
            fm.save_model(model, tmp_path / "m.npz")

    @pytest.mark.parametrize(
        ("cell", "error", "words"),
        [
            (3, TypeError, "cell must be a fastmask Layer, not 3"),
            (L.Dense(3), TypeError, r"cell must have call\(inputs, states\) and state_size"),
            ([], ValueError, "cells must hold at least one cell"),
            ([L.GRUCell(3), "x"], TypeError, r"cells\[1\] must be a fastmask Layer, not 'x'"),
            ([L.RNN(L.GRUCell(3))], TypeError, r"cells\[0\] must have call\(inputs, states\)"),
            ([L.StackedRNNCells([L.GRUCell(3)])], TypeError, "must not hold StackedRNNCells"),
        ],
    )
    def test_refuses(self, cell: Any, error: type[Exception], words: str) -> None:
        with pytest.raises(error, match=words):
            L.RNN(cell)

    def test_output_of_another_shape(self) -> None:
        class Wrong(Sum):
            output_size = 5
            name = "wrong"

        with pytest.raises(
            ValueError, match=r"the output of cell 'wrong' must have shape \(2, 5\)"
        ):
            L.RNN(Wrong(name="wrong"))(np.ones((2, 3, 4)))
        with pytest.raises(
            ValueError, match=r"must have shape \(batch, time, \.\.\.\), not \(2, 3"
        ):
            L.RNN(Sum()).call(np.ones((2, 3)))

    @pytest.mark.parametrize(
        ("after", "error", "words"),
        [
            (lambda x, _: (x, [x[:, :1]]), ValueError, r"shapes \[\(2, 3\)\], .* \[\(2, 1\)\]"),
            (lambda x, _: (x, None), ValueError, r"the states that cell 'own' returns must"),
            (lambda x, h: (x, [h, h]), ValueError, r"the states that cell 'own' returns must"),
            (lambda x, _: x, TypeError, "cell 'own' must return its output and its states"),
        ],
    )
    def test_wrong_returns(self, after: Any, error: type[Exception], words: str) -> None:
        class Own(L.Layer):
            state_size = 3

            def call(self, inputs: Any, states: Any) -> Any:
                return after(inputs, states[0])

        with pytest.raises(error, match=words):
            L.RNN(Own(name="own"))(X[:2])

    @pytest.mark.parametrize("start", [np.zeros((3, 2)), 0.0, [np.zeros((2, 2))] * 2])
    def test_wrong_start(self, start: Any) -> None:
        class Started(Sum):
            def get_initial_state(self, batch_size: int) -> Any:
                assert batch_size == 2
                return start

        with pytest.raises(ValueError, match="'started' must return 1 arrays with 2 rows, not"):
            L.RNN(Started(name="started"))(X[:2])


class TestStack:
    @pytest.mark.parametrize("masks", MASKS)
    @pytest.mark.parametrize("backwards", [False, True])
    def test_equals_layers_on_top_of_each_other(self, masks: str, backwards: bool) -> None:
        mask = golden.MASKS[masks]
        stack = seeded(
            L.RNN(
                [L.LSTMCell(3), L.GRUCell(5), L.SimpleRNNCell(2)],
                return_sequences=True,
                return_state=True,
                go_backwards=backwards,
            )
        )
        layers = [
            layer(units, return_sequences=True, return_state=True)
            for layer, units in ((L.LSTM, 3), (L.GRU, 5), (L.SimpleRNN, 2))
        ]
        layers[0].go_backwards = backwards
        x: Any = fm.Masked(X, mask)
        states, weights = [], stack.get_weights()
        for i, layer in enumerate(layers):
            layer.build((None, None, x.shape[2]))
            layer.set_weights(weights[3 * i : 3 * i + 3])
            x, *own = layer(x)
            states.append(own)
        y, *own = stack(X, mask=mask)
        same([y, *own], [x, *states], 1e-6)
        np.testing.assert_array_equal(y.mask, x.mask)
        assert [len(one) for one in own] == [2, 1, 1]

    def test_makes_one_plan(self) -> None:
        layer = seeded(L.RNN([L.LSTMCell(3), L.GRUCell(5), L.SimpleRNNCell(2)]))
        x = fm.Masked(X, HOLED)
        before = _plan.plans_made()
        layer(x)
        seeded(L.Bidirectional(L.GRU(3, return_sequences=True)))(x)
        assert _plan.plans_made() == before + 1

    def test_states_are_taken_as_they_are_given_back(self) -> None:
        layer = seeded(L.RNN([L.LSTMCell(3), L.GRUCell(2), Sum()], return_state=True))
        whole = layer(X)
        _, *states = layer(X[:, :2])
        assert [type(one) for one in states] == [list, list, np.ndarray]
        same(layer(X[:, 2:], initial_state=states), whole, 1e-5)
        keeper = seeded(L.RNN([L.LSTMCell(3), L.GRUCell(2), Sum()], True, True, stateful=True))
        keeper(X[:, :2])
        same(keeper(X[:, 2:])[1:], whole[1:], 1e-5)
        with pytest.raises(ValueError, match="must have batch size 5, not 2"):
            keeper(X[:2])
        keeper.reset_states()
        assert keeper(X[:2])[0].shape == (2, T, 3)

    def test_wrong_states(self) -> None:
        layer = seeded(L.RNN([L.LSTMCell(3), L.GRUCell(2)]))
        zeros = np.zeros((B, 3))
        for given, words in (
            ([zeros], "initial_state must have the states of 2 cells, not 1"),
            ([[zeros], zeros], r"initial_state\[0\] must have 2 arrays, not 1"),
            ([[zeros] * 2, zeros], r"initial_state\[1\]\[0\] must have shape .* = \(5, 2\)"),
        ):
            with pytest.raises(ValueError, match=words):
                layer(X, initial_state=given)

    def test_stack_as_a_cell(self) -> None:
        stack = L.StackedRNNCells([L.LSTMCell(3), L.GRUCell(2)])
        layer = seeded(L.RNN(stack, return_state=True))
        states = stack.get_initial_state(B)
        for t in range(T):
            y, states = stack(X[:, t], states=states)
        same([y, *states], layer(X), 1e-6)
        assert stack.state_size == [[3, 3], 2]
        assert stack.output_size == 2
        with pytest.raises(TypeError, match="must keep its call"):
            type("Mine", (L.StackedRNNCells,), {"call": lambda *_: None})([stack.cells[0]])


class TestCells:
    @pytest.mark.parametrize("kind", ["LSTM", "GRU", "SimpleRNN"])
    def test_step_by_step(self, kind: str) -> None:
        layer = seeded(getattr(L, kind)(H, return_state=True))
        cell = layer.cell
        states = cell.get_initial_state(B)
        for t in range(T):
            y, states = cell(X[:, t], states)
        same([y, *states], layer(X), 1e-6)
        again = L.RNN(cell, return_state=True)
        same(again(X), layer(X))

    @pytest.mark.parametrize("kind", ["LSTM", "GRU", "GRU_before", "SimpleRNN"])
    @pytest.mark.parametrize("gate", ["sigmoid", "hard_sigmoid"])
    @pytest.mark.parametrize("bias", [True, False])
    def test_formula_equals_the_kernels(self, kind: str, gate: str, bias: bool) -> None:
        """Training with recurrent dropout uses other code than inference."""
        options = {} if kind == "SimpleRNN" else {"recurrent_activation": gate}
        layer = seeded(ONE_CELL[kind](activation="relu", use_bias=bias, **options))
        cell = layer.cell
        states = random_states(*cell._sizes)
        x = np.ascontiguousarray(X[:, 0])
        same(cell._formula(x, states, None, None), cell._step(x, states), 1e-6)
        ones = [np.ones((B, H), np.float32)] * cell._kind.gates
        same(cell._formula(x, states, None, ones), cell._step(x, states), 1e-6)

    def test_wrong_inputs(self) -> None:
        cell = seeded(L.GRU(3)).cell
        with pytest.raises(
            ValueError, match=r"must have shape \(batch, features\), not \(5, 6, 3\)"
        ):
            cell(X, states=cell.get_initial_state(B))
        with pytest.raises(ValueError, match="must have 3 features, not 2"):
            cell(X[:, 0, :2], states=cell.get_initial_state(B))
        with pytest.raises(ValueError, match=r"states\[0\] must have shape"):
            cell(X[:, 0], states=cell.get_initial_state(2))
        with pytest.raises(
            ValueError, match=r"input_shape of layer 'gru_cell.*' must have a known"
        ):
            L.GRUCell(3).build((None, None))

    def test_options_of_the_cell_are_the_layers(self) -> None:
        layer = L.GRU(3, "relu", "tanh", False, dropout=0.1, seed=3, reset_after=False, name="one")
        assert (layer.units, layer.activation, layer.recurrent_activation) == (3, "relu", "tanh")
        assert (layer.use_bias, layer.dropout, layer.seed) == (False, 0.1, 3)
        assert layer.reset_after is False
        assert layer.cell.name == "one"
        with pytest.raises(AttributeError, match="'units' of layer 'one' cannot be changed"):
            layer.units = 4

    @pytest.mark.parametrize("kind", ["LSTM", "GRU", "SimpleRNN"])
    def test_arguments_that_only_keras_needs(self, kind: str) -> None:
        layer = getattr(L, kind)
        layer(3, kernel_regularizer=None, recurrent_constraint=None, trainable=True)
        layer(3, unroll=True, use_cudnn=False)
        getattr(L, kind + "Cell")(3, kernel_regularizer=None)
        for wrong, error, words in (
            ({"kernel_regularizer": "l2"}, ValueError, f"kernel_regularizer of {kind} must be"),
            ({"unit": 3}, TypeError, rf"^{kind}\(\) got an unexpected keyword argument 'unit'"),
            ({"use_cudnn": "yes"}, TypeError, "use_cudnn must be True or False, not 'yes'"),
        ):
            with pytest.raises(error, match=words):
                layer(3, **wrong)

    @pytest.mark.parametrize("make", [lambda: L.LSTM(3), lambda: L.LSTMCell(3)])
    def test_wrong_batch_sizes(self, make: Any) -> None:
        with pytest.raises(ValueError, match="batch_size must be at least 0, not -1"):
            make().get_initial_state(-1)
        with pytest.raises(TypeError, match="batch_size must be an integer, not 'a'"):
            make().get_initial_state("a")


@pytest.mark.parametrize(
    "make",
    [
        lambda: L.LSTM(H, stateful=True),
        lambda: L.GRU(H, stateful=True, dtype="float64"),
        lambda: L.RNN([L.LSTMCell(H), L.GRUCell(2)], stateful=True),
        lambda: L.Bidirectional(L.LSTM(H, stateful=True)),
        lambda: L.RNN(OwnLSTM(H), stateful=True),
    ],
)
def test_states_are_zeros_after_a_reset(make: Any) -> None:
    layer = seeded(make(), X.shape[2])
    assert layer.states is None
    layer.reset_state()
    assert layer.states is None
    first = layer(X)
    shapes = [np.shape(one) for one in flat(layer.states)]
    assert any(one.any() for one in flat(layer.states))
    layer.reset_state()
    after = list(flat(layer.states))
    assert [one.shape for one in after] == shapes
    assert {one.dtype for one in after} == {np.dtype(layer.dtype)}
    assert not any(one.any() for one in after)
    np.testing.assert_array_equal(layer(X), first)
    layer.reset_state()
    np.testing.assert_array_equal(layer(X[:1]), first[:1])  # of another size
    with pytest.raises(ValueError, match="must have batch size 1"):
        layer(X)
    layer.reset_state()
    model = fm.Sequential([layer])
    assert model.predict(X, batch_size=B, verbose=0).shape == first.shape


def test_states_that_are_set_after_a_reset_are_kept() -> None:
    layer = seeded(L.GRU(H, stateful=True), X.shape[2])
    first = layer(X)
    kept = layer.states
    second = layer(X)
    layer.reset_state()
    layer.states = kept
    np.testing.assert_array_equal(layer(X), second)
    assert (first != second).any()


@pytest.mark.parametrize("reset", [False, True])
def test_states_given_after_a_reset_may_be_those_of_a_batch_of_another_size(reset: bool) -> None:
    layer = seeded(L.GRU(H, stateful=True), X.shape[2])
    state = np.random.default_rng(5).normal(size=(1, H)).astype(np.float32)
    expected = layer(X[:1], initial_state=[state])
    layer.reset_state()
    layer(X)
    if reset:
        layer.reset_state()
        np.testing.assert_array_equal(layer(X[:1], initial_state=[state]), expected)
    else:
        with pytest.raises(ValueError, match=rf"must have batch size {B}, not 1"):
            layer(X[:1], initial_state=[state])


def test_another_dtype_than_that_of_the_cell() -> None:
    layer = L.RNN(L.GRUCell(4), dtype="float64")
    assert layer(X).dtype == np.float64
    assert {weight.dtype for weight in layer.weights} == {np.dtype(np.float32)}
    assert "weights are of the cell's dtype" in " ".join((L.RNN.__doc__ or "").split())
