"""A formula's graph: values and gradients against plain functions and differences."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from fastmask_kernels import cells
from fastmask_kernels import formula as fm
from fastmask_kernels.formula import Formula, Gradients, Symbol, evaluate, saved, trace, walk

from . import formulas

B, H = 3, 5
Known = dict[Symbol, Any]


def seeded(formula: Formula) -> Known:
    random = np.random.default_rng(7)
    rows = [*formula.sums.values(), *formula.states.values()]
    known = {symbol: random.normal(size=(B, H)) for symbol in rows}
    return known | {v: random.normal(size=H) for v in formula.vectors.values()}


def products(formula: Formula) -> dict[str, Any]:
    """What a called sum multiplies its value with."""
    random = np.random.default_rng(8)
    return {name: random.normal(size=(H, H)) / H**0.5 for name in formula.second}


def with_products(roots: Any, known: Known, weights: dict[str, Any]) -> list[Any]:
    """`evaluate` with called sums, whose products are not part of the formula."""
    for symbol in walk(roots):
        if symbol.op == "sum_of":
            name = symbol.args[0].args[0]
            (value,) = evaluate([symbol.args[1]], known)
            known = {**known, symbol: known[symbol.args[0]] + value @ weights[name]}
    return evaluate(roots, known)


@pytest.mark.parametrize("function", formulas.ALL, ids=lambda f: f.__name__)
def test_gradients_are_those_of_differences(function: Callable[..., Any]) -> None:
    formula = trace(function)
    gradients, known, weights = Gradients(formula), seeded(formula), products(formula)
    random = np.random.default_rng(9)
    given = {name: random.normal(size=(B, H)) for name in formula.states}

    def loss(known: Known) -> float:
        new = with_products(formula.new, known, weights)
        return float(sum((v * g).sum() for v, g in zip(new, given.values(), strict=True)))

    all_known = known | {gradients.given[name]: value for name, value in given.items()}
    for name, symbol in gradients.returned.items():
        (dsum,) = with_products([gradients.sums[name]], all_known, weights)
        all_known[symbol] = dsum @ weights[name].T
    for symbols, found in (
        (formula.sums, gradients.sums),
        (formula.states, gradients.states),
        (formula.vectors, gradients.vectors),
    ):
        for name, symbol in symbols.items():
            expected = np.zeros_like(known[symbol])
            for place in np.ndindex(expected.shape):
                changed = [known | {symbol: known[symbol].copy()} for _ in range(2)]
                changed[0][symbol][place] += 1e-6
                changed[1][symbol][place] -= 1e-6
                expected[place] = (loss(changed[0]) - loss(changed[1])) / 2e-6
            gradient = found[name]
            got = np.zeros((B, H))
            if gradient is not None:
                (value,) = with_products([gradient], all_known, weights)
                got += value
            if expected.ndim == 1:
                got = got.sum(axis=0)
            np.testing.assert_allclose(got, expected, rtol=0, atol=1e-8, err_msg=name)


def test_values_are_those_of_the_function() -> None:
    formula = trace(formulas.lstm)
    known = seeded(formula)
    i, f, g, o, _, c = known.values()
    after = c / (1 + np.exp(-f)) + np.tanh(g) / (1 + np.exp(-i))
    h, c = evaluate(formula.new, known)
    np.testing.assert_allclose(c, after, rtol=0, atol=1e-14)
    np.testing.assert_allclose(h, np.tanh(after) / (1 + np.exp(-o)), rtol=0, atol=1e-14)


def test_normalize_has_no_mean_and_unit_variance() -> None:
    def cell(a: Any, b: Any, h: Any) -> Any:
        first, second = fm.normalize(a, b)
        return first + 0 * h, second

    random = np.random.default_rng(3)
    formula = trace(lambda a, b, h: fm.normalize(a, b)[0] + fm.normalize(a, b)[1] * h)
    a, b, h = (random.normal(2.0, 3.0, size=(B, H)) for _ in range(3))
    symbols = [*formula.sums.values(), *formula.states.values()]
    (out,) = evaluate(formula.new, dict(zip(symbols, (a, b, h), strict=True)))
    both = np.concatenate([a, b], axis=1)
    both = (both - both.mean(1, keepdims=True)) / np.sqrt(both.var(1, keepdims=True) + 1e-3)
    np.testing.assert_allclose(out, both[:, :H] + both[:, H:] * h, rtol=1e-12)


@pytest.mark.parametrize(
    ("function", "kept"),
    [
        (formulas.lstm, ["sigmoid", "sigmoid", "sigmoid", "tanh"]),
        (formulas.gru_reset_after, ["sigmoid", "sigmoid", "sum", "tanh"]),
        (formulas.gru_reset_before, ["sigmoid", "sigmoid", "tanh"]),
        (formulas.simple_rnn, []),
        (formulas.coupled_gates, ["sigmoid", "sigmoid", "tanh"]),
        (formulas.independent, []),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_only_what_cannot_be_computed_again_is_saved(
    function: Callable[..., Any], kept: list[str]
) -> None:
    formula = trace(function)
    assert sorted(s.op for s in saved(formula, Gradients(formula))) == kept


@pytest.mark.parametrize("function", formulas.ALL, ids=lambda f: f.__name__)
def test_gradients_need_no_more_than_what_is_saved(function: Callable[..., Any]) -> None:
    formula = trace(function)
    gradients, known, weights = Gradients(formula), seeded(formula), products(formula)
    kept = saved(formula, gradients)
    needed = dict(zip(kept, with_products(kept, known, weights), strict=True))
    new = with_products(formula.new, known, weights)
    needed |= dict(zip(formula.new, new, strict=True))
    needed |= {s: known[s] for s in (*formula.states.values(), *formula.vectors.values())}
    needed |= {s: np.ones((B, H)) for s in gradients.given.values()}
    needed |= {s: np.ones((B, H)) for s in gradients.returned.values()}
    for gradient in (*gradients.sums.values(), *gradients.states.values()):
        if gradient is not None:
            (value,) = evaluate([gradient], needed)  # a KeyError where more is asked for
            assert np.isfinite(value).all()


def branching(a: Any, h: Any) -> Any:
    if a > 0:
        return a
    return h


def with_numpy(a: Any, h: Any) -> Any:
    return np.exp(a) + h


def deep(a: Any, h: Any) -> Any:
    for _ in range(200):
        a = fm.tanh(a)
    return a + h


@lambda function: function
def without_b(a: Any, b: Any, h: Any) -> Any:  # noqa: ARG001 - which is wrong
    return fm.tanh(a) + h


@pytest.mark.parametrize(
    ("function", "error", "parts"),
    [
        (branching, TypeError, ["branching, line", "if a > 0:", "fastmask.cells"]),
        (with_numpy, TypeError, ["return np.exp(a) + h", "numpy.exp", "fastmask.cells"]),
        (lambda a, h: a if a else h, TypeError, ["cannot branch"]),
        (lambda a, h: a if a == h else a + h, TypeError, ["cannot branch"]),
        (lambda a, h: a if a != 0 else a + h, TypeError, ["cannot branch"]),
        (lambda a, h: fm.tanh(a @ h), TypeError, ["is not a number"]),
        (lambda a, h: None, TypeError, ["must return the new states"]),
        (lambda a, h: math.exp(a), TypeError, ["is not a number"]),
        (
            lambda a, b, h: fm.tanh(a),
            ValueError,
            ["sum b is not used; its states, as many as it returns, are h"],
        ),
        (lambda a, h, *, v: a + h, ValueError, ["vector v is not used"]),
        (lambda a, h: (a, h), ValueError, ["returns 2 states", "last 2 of 2"]),
        (lambda a, h: (), ValueError, ["returns 0 states"]),
        (lambda a, h: "h", TypeError, ["not 'h'"]),
        (lambda a, h: a**0.5, TypeError, ["a power needs a whole number, not 0.5"]),
        (lambda a, h: a(h) + a, ValueError, ["sum a is called"]),
        (lambda a, h: a + h(a), TypeError, ["only a sum can be called"]),
        (lambda *a: a[0], TypeError, ["must name its arguments"]),
        (lambda a, h: fm.tanh(1.0), TypeError, ["tanh of fastmask.cells"]),
        (lambda a, h: fm.maximum(a, "h"), TypeError, ["not 'h'"]),
        (lambda a, h: 1 / 0, ValueError, ["division by zero"]),
        (without_b, ValueError, ["without_b, line", "def without_b(a: Any, b: Any", "sum b is"]),
        (deep, ValueError, ["a = fm.tanh(a)", "more than 128 operations"]),
        (lambda a, h: a * math.nan + h, ValueError, ["finite numbers, not nan"]),
        (lambda a, h: a * math.inf + h, ValueError, ["finite numbers, not inf"]),
        (lambda a, h: a / 0 + h, ValueError, ["cannot divide by 0"]),
        (lambda a, h: 2**a + h, TypeError, ["is not a number"]),
        (lambda a, h: np.dot(a, h), TypeError, ["is not a number"]),
        (lambda a, h: a(h, h), TypeError, ["on one value"]),
        (lambda a, h=1: a + h, TypeError, ["only vectors", "not h=1"]),
        (max, TypeError, ["must be a function"]),
    ],
)
def test_what_is_not_a_formula(
    function: Callable[..., Any], error: type[Exception], parts: list[str]
) -> None:
    with pytest.raises(error) as raised:
        trace(function)
    for part in parts:
        assert part in str(raised.value)


def test_names_of_sums_without_a_part() -> None:
    with pytest.raises(ValueError, match="x_only names \\['u'\\]"):
        trace(formulas.simple_rnn, x_only=("u",))
    with pytest.raises(ValueError, match="both in x_only and in h_only"):
        trace(formulas.simple_rnn, x_only=("s",), h_only=("s",))
    with pytest.raises(ValueError, match="no part of h"):
        trace(formulas.minimal_gated, x_only=("n",))
    with pytest.raises(TypeError, match=r"x_only must hold names of sums, like .* not None"):
        trace(formulas.simple_rnn, x_only=None)  # type: ignore[arg-type]  # on purpose


def test_powers() -> None:
    for count in (1, 2, 3, 7, np.int64(40)):
        formula = trace(_power(count))
        a, h = np.array([-1.2, 0.3, 1.1]), np.ones(3)
        (got,) = evaluate(formula.new, {formula.sums["a"]: a, formula.states["h"]: h})
        np.testing.assert_allclose(got, a**count + h, rtol=1e-14)
    million = trace(_power(10**6))
    assert max(s.depth for s in walk(million.new)) < 50


def _power(count: Any) -> Callable[..., Any]:
    return lambda a, h: a**count + h


def test_equal_values_are_one_symbol_and_numbers_are_folded() -> None:
    formula = trace(lambda a, h: fm.tanh(a) * fm.tanh(a) + (h * 1 + 0) * np.float32(2) * 0.5)
    operations = [s.op for s in walk(formula.new)]
    assert operations.count("tanh") == 1
    assert sorted(set(operations)) == ["add", "constant", "mul", "state", "sum", "tanh"]


class TestCell:
    """The order of a cell's sums, and what is saved at a step."""

    def test_lstm(self) -> None:
        assert str(cells.lstm.saved[0]) == "recurrent_activation(sum('i'))"
        assert str(cells.lstm.saved[2]) == "activation(sum('g'))"
        assert cells.lstm.order == ("i", "f", "g", "o")
        assert cells.lstm.activations == ("activation", "recurrent_activation")

    def test_gru(self) -> None:
        assert cells.gru.order == ("n", "z", "r", "q")
        assert cells.gru.inputs == ("z", "r", "n")
        assert cells.gru.recurrents == ("z", "r", "q")
        assert [s.op for s in cells.gru.saved if s is not None] == [
            "activation",
            "recurrent_activation",
            "recurrent_activation",
            "sum",
        ]

    def test_a_value_that_a_sum_is_called_on_follows_the_sums(self) -> None:
        assert cells.gru_reset_before.order == ("n", "z", "r")
        last = cells.gru_reset_before.saved[3]
        assert last is not None
        assert last.op == "mul"

    def test_what_needs_nothing(self) -> None:
        assert not cells.simple_rnn.keeps_gates
        assert cells.simple_rnn.width == 1

    def test_vectors_get_blocks_of_their_own(self) -> None:
        cell = cells.Cell(formulas.peephole)
        assert (len(cell.saved), cell.width) == (4, 7)

    def test_the_digest_is_that_of_the_formula(self) -> None:
        assert cells.Cell(formulas.lstm).digest == cells.Cell(formulas.lstm).digest
        assert len({cells.Cell(f).digest for f in formulas.ALL}) == len(formulas.ALL)
        swapped = cells.cell(x_only=("n",), h_only=("q",))(formulas.gru_reset_after)
        assert swapped.digest != cells.Cell(formulas.gru_reset_after).digest

    def test_equal_formulas_of_one_name_are_equal_cells(self) -> None:
        assert cells.Cell(formulas.lstm) == cells.Cell(formulas.lstm)
        assert cells.Cell(formulas.lstm) != cells.lstm
        assert len({cells.Cell(f) for f in formulas.ALL * 2}) == len(formulas.ALL)

    def test_names_that_arguments_of_kernels_have(self) -> None:
        with pytest.raises(ValueError, match="needs a name"):
            cells.cell(lambda a, h: a + h)

        def state(a: Any, x: Any) -> Any:
            return a + x

        def vector(a: Any, h: Any, *, _v: Any) -> Any:
            return a + h * _v

        for function, why in ((state, "x, which is the input"), (vector, "_v, which begins")):
            with pytest.raises(ValueError, match=f"a {function.__name__} must not be called {why}"):
                cells.cell(function)

    def test_sums_are_not_called_like_the_input(self) -> None:
        def highway(a: Any, r: Any, x: Any, h: Any) -> Any:
            return h + r * a + (1 - r) * x

        def of_steps(a: Any, x_t: Any, h: Any) -> Any:
            return h + a * x_t

        for function, name in ((highway, "x"), (of_steps, "x_t")):
            wanted = rf"(?s){function.__name__}, line .*called {name}; .* x W \+ h U \+ b.* x_only"
            with pytest.raises(ValueError, match=wanted):
                cells.cell(x_only=(name,))(function)

    def test_sums_are_not_called_like_a_state(self) -> None:
        def forgotten(u: Any, n: Any, h: Any, s: Any) -> Any:
            s = s + n
            return (1 - u) * h + u * s

        def of_steps(a: Any, h_prev: Any, c: Any) -> Any:
            return a * h_prev + c

        for function, name, state in ((forgotten, "h", "s"), (of_steps, "h_prev", "c")):
            with pytest.raises(ValueError, match=f"called {name}, .* returns, .* only {state}; "):
                cells.cell(function)

    def test_names_that_make_one_argument_of_kernels_twice(self) -> None:
        def states(a: Any, h: Any, dh: Any) -> Any:
            return a + h, dh

        def beside(a: Any, h: Any, *, h_last: Any) -> Any:
            return a + h * h_last

        def vectors(a: Any, h: Any, *, v: Any, dv: Any) -> Any:
            return a + h * v + dv

        for function, name, argument in (
            (states, "dh", "dh_first"),
            (beside, "h_last", "h_last"),
            (vectors, "dv", "dv"),
        ):
            with pytest.raises(ValueError, match=f"called {name}: .* has an argument {argument}"):
                cells.cell(function)
