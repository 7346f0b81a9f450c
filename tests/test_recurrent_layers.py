"""RNN, cells, Bidirectional: what the golden cases do not show.

Cells of one's own, states in and out, dropout, streaming, models around these layers, errors.
"""

from __future__ import annotations

import copy
import pickle
import runpy
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastmask as fm
from fastmask import _plan

from . import golden

L = fm.layers
RANDOM = np.random.default_rng(0)
B, T, F, H = golden.B, golden.T, golden.F, 4
X = RANDOM.normal(size=(B, T, F)).astype(np.float32)
MASKS = [name for name, mask in golden.MASKS.items() if mask is not None]
HOLED = golden.MASKS["holed"]
ROWOFF = golden.MASKS["rowoff"]
assert HOLED is not None
assert ROWOFF is not None
ONE_CELL: dict[str, Any] = {
    "LSTM": lambda **options: L.LSTM(H, **options),
    "GRU": lambda **options: L.GRU(H, **options),
    "GRU_before": lambda **options: L.GRU(H, reset_after=False, **options),
    "SimpleRNN": lambda **options: L.SimpleRNN(H, **options),
}


def seeded(layer: Any, features: int = F) -> Any:
    """The layer, built, with random weights: biases that are not zeros, too."""
    layer.build((None, None, features))
    random = np.random.default_rng(1)
    layer.set_weights([0.5 * random.normal(size=w.shape) for w in layer.get_weights()])
    return layer


def plain(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return [one for each in value for one in plain(each)]
    return [value.data if isinstance(value, fm.Masked) else value]


def same(one: Any, other: Any, atol: float = 0.0) -> None:
    for a, b in zip(plain(one), plain(other), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=atol)


class OwnLSTM(L.Layer):
    """An LSTM cell as somebody would write it."""

    def __init__(self, units: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.units = units
        self.state_size = [units, units]
        self.rows: list[int] = []

    def build(self, input_shape: Any) -> None:
        self.kernel = self.add_weight((input_shape[-1], 4 * self.units))
        self.recurrent_kernel = self.add_weight((self.units, 4 * self.units))
        self.bias = self.add_weight((4 * self.units,))

    def call(self, inputs: Any, states: Any) -> Any:
        h, c = states
        self.rows.append(len(inputs))
        z = inputs @ self.kernel + h @ self.recurrent_kernel + self.bias
        i, f, g, o = np.split(z, 4, axis=1)
        i, f, o = (1 / (1 + np.exp(-gate)) for gate in (i, f, o))
        c = f * c + i * np.tanh(g)
        h = o * np.tanh(c)
        return h, [h, c]

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "units": self.units}


class Sum(L.Layer):
    """One state of another size than the output, a start of its own, inputs with more axes."""

    state_size = 2
    output_size = 3

    def call(self, inputs: Any, states: Any, training: bool = False) -> Any:
        total = states[0] + inputs.reshape(len(inputs), -1).sum(axis=1, keepdims=True)
        return np.repeat(total[:, :1], 3, axis=1) + training, total

    def get_initial_state(self, batch_size: int) -> Any:
        return np.full((batch_size, 2), 10.0)


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
        state = [RANDOM.normal(size=(B, H)).astype(np.float32) for _ in range(2)]
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
        """Training with recurrent dropout computes in another place than inference."""
        options = {} if kind == "SimpleRNN" else {"recurrent_activation": gate}
        layer = seeded(ONE_CELL[kind](activation="relu", use_bias=bias, **options))
        cell = layer.cell
        states = [RANDOM.normal(size=(B, H)).astype(np.float32) for _ in cell._sizes]
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
        with pytest.raises(ValueError, match=r"input_shape of layer 'gru_cell.*' must be"):
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
        """With weights that only add up the inputs the sum tells what was dropped."""
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
        """Each gate has weights of its own, so dropping for a gate is dropping in its columns."""
        cell = seeded(ONE_CELL[kind]()).cell
        kernel, recurrent_kernel, bias = cell._values()
        states = [RANDOM.normal(size=(B, H)).astype(np.float32) for _ in cell._sizes]
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
        states = [RANDOM.normal(size=(B, H)).astype(np.float32) for _ in range(4)]
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
        states = [RANDOM.normal(size=(B, n)).astype(np.float32) for n in (H, H, 5)]
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

    @pytest.mark.parametrize("clone", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])  # noqa: S301
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
        state = RANDOM.normal(size=(B, H)).astype(np.float32)
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
        x = RANDOM.normal(size=(2, 3, 4, 5)).astype(np.float32)
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
