"""Cells made from formulas in layers and models: all that LSTM can do, with `fastmask.cells`."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastmask as fm
from fastmask.backends import table
from fastmask.cells import Cell, sigmoid, tanh

from .golden import MASKS
from .own_cells import marks_of
from .plain_cells import over_time, step_of
from .recurrent_layers import B, F, H, L, T, X, plain, random_states, same, seeded

COMPILED = "reference", pytest.param("compiled", marks=pytest.mark.slow)
EACH_WITH_KERNELS = pytest.mark.parametrize(
    ("cell", "kernels"),
    [
        pytest.param(one, of, id=f"{of}-{name}", marks=() if of == "reference" else marks_of(name))
        for name, one in fm.cells.CELLS.items()
        for of in ("reference", "compiled")
    ],
    indirect=["kernels"],
)
SOME = ("peephole_lstm", "gru", "ind_rnn")
A_FEW_CELLS = pytest.mark.parametrize("cell", [fm.cells.CELLS[name] for name in SOME], ids=SOME)


@fm.cell
def coupled(f: Any, g: Any, o: Any, h: Any, c: Any, *, p: Any, shift: Any = 0.5) -> Any:
    """A cell of this module, so that pickle finds it."""
    f = sigmoid(f + p * c)
    c = f * c + (1 - f) * tanh(g + shift)
    return sigmoid(o) * tanh(c), c


@pytest.fixture
def kernels(request: pytest.FixtureRequest) -> Iterator[None]:
    """Compute with the reference, or with compiled kernels."""
    before = table.kernels().__name__.rpartition(".")[-1]
    table.use_kernels("reference" if request.param == "reference" else "cpu")
    yield
    table.use_kernels(before)


@pytest.fixture
def _reference() -> Iterator[None]:
    before = table.kernels().__name__.rpartition(".")[-1]
    table.use_kernels("reference")
    yield
    table.use_kernels(before)


def pickled(value: Any) -> Any:
    return pickle.loads(pickle.dumps(value))  # noqa: S301 - of this test


def expected(
    layer: Any, x: Any, mask: Any, first: Any = None, zero: bool = False
) -> tuple[Any, list[Any]]:
    """A layer's result, by a loop around its formula in NumPy."""
    cell = layer.cell._cell
    weights = [w.astype(np.float64) for w in layer.get_weights()]
    if not cell.recurrents:
        weights.insert(1, None)
    step = step_of(cell, np, weights, "tanh", "sigmoid")
    valid = np.ones(x.shape[:2], bool) if mask is None else mask
    first = [np.zeros((len(x), H))] * len(cell.states) if first is None else first
    return over_time(step, np, x.astype(np.float64), valid, first, layer.go_backwards, zero)


@EACH_WITH_KERNELS
@pytest.mark.usefixtures("kernels")
def test_equals_a_loop(cell: Cell) -> None:
    layer = seeded(L.RNN(cell(H), return_sequences=True, return_state=True))
    backwards = seeded(L.RNN(cell(H), return_state=True, go_backwards=True))
    zeros = seeded(L.RNN(cell(H), return_sequences=True, zero_output_for_mask=True))
    first = random_states(*[H] * len(cell.states))
    for mask in MASKS.values():
        y, states = expected(layer, X, mask, first)
        same(layer(X, mask=mask, initial_state=first), (y, *states), 1e-5)
        y, states = expected(backwards, X, mask)
        same(backwards(X, mask=mask), (y[:, -1], *states), 1e-5)
        same(zeros(X, mask=mask), expected(zeros, X, mask, zero=True)[0], 1e-5)
        if mask is not None:
            assert (layer(X, mask=mask)[0].mask.valid == mask).all()


@A_FEW_CELLS
@pytest.mark.usefixtures("_reference")
class TestLikeLSTM:
    def test_float64(self, cell: Cell) -> None:
        layer = seeded(L.RNN(cell(H, dtype="float64"), return_sequences=True))
        y = layer(X, mask=MASKS["holed"])
        assert y.dtype == np.float64
        same(y, expected(layer, X, MASKS["holed"])[0], 1e-12)

    def test_both_directions(self, cell: Cell) -> None:
        both = seeded(L.Bidirectional(L.RNN(cell(H), return_sequences=True)))
        count = len(both.get_weights()) // 2
        halves = []
        for weights, backwards in (
            (both.get_weights()[:count], False),
            (both.get_weights()[count:], True),
        ):
            layer = seeded(L.RNN(cell(H), return_sequences=True, go_backwards=backwards))
            layer.set_weights(weights)
            y, _ = expected(layer, X, MASKS["holed"], zero=True)
            halves.append(y[:, ::-1] if backwards else y)
        same(both(X, mask=MASKS["holed"]), np.concatenate(halves, -1), 1e-5)

    def test_stateful(self, cell: Cell) -> None:
        layer = seeded(L.RNN(cell(H), stateful=True, return_state=True))
        layer(X[:, :2])
        after = layer(X[:, 2:])
        once = seeded(L.RNN(cell(H), return_state=True))(X)
        same(after, once, 1e-5)
        layer.reset_state()
        same(layer(X), once, 1e-6)

    def test_step(self, cell: Cell) -> None:
        layer = seeded(L.RNN(cell(H), return_state=True))
        states = layer.get_initial_state(B)
        mask = MASKS["holed"]
        assert mask is not None
        for t in range(T):
            y = layer.step(X[:, t], states, mask=mask[:, t])
        same([y, *states], layer(X, mask=mask), 1e-5)

    @pytest.mark.parametrize("rates", [(0.4, 0.0), (0.0, 0.4), (0.4, 0.4)])
    def test_dropout(self, cell: Cell, rates: tuple[float, float]) -> None:
        x = np.ones((30, 4, F), np.float32)
        made = lambda: seeded(  # noqa: E731 - twice the same
            L.RNN(cell(H, dropout=rates[0], recurrent_dropout=rates[1], seed=3))
        )
        layer = made()
        quiet = layer(x)
        same(quiet, seeded(L.RNN(cell(H)))(x), 0)
        trained = layer(x, training=True)
        # A cell without a product with h has nothing to drop.
        assert (trained != quiet).any() == bool(rates[0] or cell.recurrents)
        same(made()(x, training=True), trained, 0)
        same(layer(x), quiet, 0)

    def test_formula_of_dropout_equals_the_kernels(self, cell: Cell) -> None:
        own = seeded(L.RNN(cell(H))).cell
        states, x = random_states(*own._sizes), np.ascontiguousarray(X[:, 0])
        ones = [np.ones((B, H), np.float32)] * len(cell.sums)
        for recurrent in (None, ones):
            same(own._formula(x, states, None, recurrent), own._step(x, states), 1e-6)

    def test_in_a_stack_beside_other_cells(self, cell: Cell) -> None:
        stack = L.RNN([L.GRUCell(3), cell(H)], return_sequences=True)
        stack.build((None, None, F))
        lower = L.GRU(3, return_sequences=True)
        upper = L.RNN(cell(H), return_sequences=True)
        for layer, weights, size in (
            (lower, stack.get_weights()[:3], F),
            (upper, stack.get_weights()[3:], 3),
        ):
            layer.build((None, None, size))
            layer.set_weights(weights)
        same(stack(X, mask=MASKS["right"]), upper(lower(X, mask=MASKS["right"])), 1e-6)

    def test_without_bias(self, cell: Cell) -> None:
        layer = seeded(L.RNN(cell(H, use_bias=False)))
        names = [weight.name for weight in layer.cell._weights]
        assert "bias" not in names
        with_bias = L.RNN(cell(H))
        with_bias.build((None, None, F))
        weights = layer.get_weights()
        weights.insert(names.index(([*cell.vectors, "end"])[0]) if cell.vectors else len(names), 0)
        place = [w.name for w in with_bias.cell._weights].index("bias")
        weights[place] = np.zeros(len(cell.sums) * H)
        with_bias.set_weights(weights)
        same(layer(X), with_bias(X), 0)


@pytest.mark.usefixtures("_reference")
class TestModels:
    def test_weights_in_order(self) -> None:
        layer = L.RNN(coupled(H))
        layer.build((None, None, F))
        shapes = [(F, 3 * H), (H, 3 * H), (3 * H,), (H,), (H,)]
        assert [w.shape for w in layer.get_weights()] == shapes
        assert list(layer.cell.vectors) == ["p", "shift"]
        assert (layer.cell.vectors["shift"] == 0.5).all()
        assert layer.cell.recurrent_kernel.shape == (H, 3 * H)

    def test_no_recurrent_kernel_where_no_sum_has_a_part_of_h(self) -> None:
        layer = L.RNN(fm.cells.ind_rnn(H, vector_initializer="ones"))
        layer.build((None, None, F))
        assert [w.shape for w in layer.get_weights()] == [(F, H), (H,), (H,)]
        assert (layer.get_weights()[2] == 1).all()

    @pytest.mark.parametrize("functional", [True, False])
    def test_saved_and_loaded(self, tmp_path: Path, functional: bool) -> None:
        layers = [
            L.Embedding(9, F, mask_zero=True),
            L.Bidirectional(L.RNN(coupled(H, use_bias=False), return_sequences=True)),
            L.RNN(fm.cells.peephole_lstm(H, recurrent_dropout=0.1)),
        ]
        ids = np.array([[1, 2, 0], [3, 0, 0]])
        model: Any
        if functional:
            tensor = start = fm.Input((None,), dtype="int32")
            for layer in layers:
                tensor = layer(tensor)
            model = fm.Model(start, tensor)
        else:
            model = fm.Sequential(layers)
        y = model(ids)
        fm.save_model(model, tmp_path / "model.npz")
        with pytest.raises(ValueError, match=r"custom_objects=\{'coupled': coupled\}"):
            fm.load_model(tmp_path / "model.npz")
        again = fm.load_model(tmp_path / "model.npz", custom_objects={"coupled": coupled})
        same(again(ids), y)
        assert again.layers[-1].cell.recurrent_dropout == 0.1

    def test_a_file_does_not_take_one_cell_for_another(self, tmp_path: Path) -> None:
        def named(name: str, factor: float) -> Cell:
            def formula(s: Any, h: Any, c: Any, *, p: Any, shift: Any) -> Any:
                return tanh(s + p * c) * factor, c * h + shift

            formula.__name__ = name
            return fm.cell(formula)

        def model(*cells: Cell) -> fm.Sequential:
            layers = [L.RNN(one(H), return_sequences=True) for one in cells]
            return fm.Sequential([fm.Input((None, F)), *layers])

        path = tmp_path / "model.npz"
        for cells, words in (
            ([named("mine", 1), named("mine", 2)], "two classes or cells .* are called mine"),
            ([named("ind_rnn", 1)], "its cell ind_rnn is not fastmask.cells.ind_rnn"),
        ):
            with pytest.raises(ValueError, match=words):
                fm.save_model(model(*cells), path)
            assert not path.exists()
        fm.save_model(model(named("mine", 1), named("mine", 1)), path)
        fm.load_model(path, custom_objects={"mine": named("mine", 1)})

    def test_pickle_and_copies(self) -> None:
        layer = seeded(L.RNN(coupled(H, seed=1, dropout=0.5), return_sequences=True))
        y = layer(X, training=True)
        layer = seeded(L.RNN(coupled(H, seed=1, dropout=0.5), return_sequences=True))
        for other in (pickled(layer), copy.deepcopy(layer)):
            same(other(X, training=True), y)
        assert pickled(coupled) is coupled
        assert pickled(fm.cells.gru) is fm.cells.gru
        assert copy.deepcopy(coupled) is coupled

    def test_summary_and_trace(self, capsys: pytest.CaptureFixture[str]) -> None:
        model = fm.Sequential([L.Embedding(9, F, mask_zero=True), L.RNN(coupled(H), name="own")])
        ids = np.array([[1, 2, 0], [3, 0, 0]])
        model(ids)
        model.summary()
        assert str(F * 3 * H + H * 3 * H + 3 * H + 2 * H) in capsys.readouterr().out
        assert "used" in str(fm.trace_masks(model, ids))

    def test_predict(self) -> None:
        model = fm.Sequential([fm.Input((None, F)), L.RNN(coupled(H))])
        same(model.predict(X, batch_size=2, verbose=0), model(X), 1e-6)


class TestCell:
    def test_names(self) -> None:
        assert isinstance(coupled, Cell)
        assert coupled.sums == ("f", "g", "o")
        assert coupled.states == ("h", "c")
        assert coupled.vectors == ("p", "shift")
        assert coupled.__doc__ == "A cell of this module, so that pickle finds it."
        assert repr(coupled) == "<cell coupled>"
        assert coupled(3).name.startswith("coupled")

    def test_lstm_is_that_of_the_layers(self) -> None:
        own = seeded(L.RNN(fm.cells.lstm(H, activation="relu"), return_sequences=True))
        layer = seeded(L.LSTM(H, activation="relu", return_sequences=True))
        same(own(X, mask=MASKS["holed"]), layer(X, mask=MASKS["holed"]), 1e-6)
        assert plain(own(X))[0].shape == (B, T, H)

    def test_gru_is_that_of_the_layers(self) -> None:
        layer = seeded(L.GRU(H, return_sequences=True))
        own = seeded(L.RNN(fm.cells.gru(H), return_sequences=True))
        kernel, recurrent, (of_x, of_h) = layer.get_weights()
        z_r = (of_x + of_h)[: 2 * H]
        bias = np.concatenate([z_r, of_x[2 * H :], of_h[2 * H :]])
        own.set_weights([kernel, recurrent, bias])
        same(own(X, mask=MASKS["holed"]), layer(X, mask=MASKS["holed"]), 1e-6)

    @pytest.mark.parametrize(
        ("options", "error", "words"),
        [
            ({"units": 0}, ValueError, "units must be at least 1"),
            ({"units": 3, "activation": "relu"}, TypeError, "'activation'"),
            ({"units": 3, "dropout": 2}, ValueError, "dropout must"),
            ({"units": 3, "unit": 2}, TypeError, "'unit'"),
            ({"units": 3, "vector_initializer": "one_s"}, ValueError, "vector_initializer must"),
        ],
    )
    def test_wrong_options(self, options: Any, error: type[Exception], words: str) -> None:
        with pytest.raises(error, match=words):
            coupled(**options)

    def test_wrong_inputs(self) -> None:
        with pytest.raises(ValueError, match="must have shape"):
            L.RNN(coupled(H))(X[0])
        with pytest.raises(ValueError, match="must have 2 arrays, not 1"):
            L.RNN(coupled(H))(X, initial_state=[np.zeros((B, H))])

    def test_what_is_not_a_cell(self) -> None:
        def formula(s: Any, h: Any, *, v: Any = "ones") -> Any:
            return s + v * h

        with pytest.raises(TypeError, match="v must begin as a number, not 'ones'"):
            fm.cell(formula)
        for value in (np.nan, np.float32(np.inf), 10**400):
            formula.__kwdefaults__ = {"v": value}
            with pytest.raises(ValueError, match="v must begin as a finite number"):
                fm.cell(formula)
        formula.__kwdefaults__ = {"v": np.float32(0.5)}
        assert fm.cell(formula).first_values == {"v": 0.5}
        with pytest.raises(TypeError, match="must be a function, not 3"):
            fm.cell(3)  # type: ignore[call-overload]  # on purpose
        with pytest.raises(TypeError, match="x_only must hold names of sums"):
            fm.cell(x_only="ni")(formula)
        with pytest.raises(TypeError, match="custom_objects must hold classes of layers, or cells"):
            fm.load_model("none.npz", custom_objects={"coupled": formula})

    @pytest.mark.parametrize("kernels", COMPILED, indirect=True)
    @pytest.mark.usefixtures("kernels")
    def test_another_formula_of_the_same_name_is_another_cell(self) -> None:
        def first(s: Any, h: Any) -> Any:
            return tanh(s)

        def second(s: Any, h: Any) -> Any:
            return sigmoid(s)

        second.__name__ = "first"
        cells = [fm.cell(first), fm.cell(second)]
        assert cells[0] == fm.cell(first)
        assert cells[0] != cells[1]
        one, other = (seeded(L.RNN(cell(H)))(X) for cell in cells)
        assert (one != other).any()
