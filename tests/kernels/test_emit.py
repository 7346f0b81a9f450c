"""Formulas as vector instructions, against their values in NumPy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from numba import njit, types
from numba.extending import intrinsic

from fastmask_kernels import formula as fm
from fastmask_kernels.cpu.rnn.emit import FormulaEmitter
from fastmask_kernels.cpu.simd import I64, Emitter, data_pointer
from fastmask_kernels.formula import Gradients, Symbol, evaluate, trace

from .. import formulas

ROWS = 5
CHOSEN = {"activation": "tanh", "recurrent_activation": "sigmoid"}


def computed(
    leaves: Sequence[Symbol], roots: Sequence[Symbol], inputs: Any, lanes: int
) -> tuple[Any, int]:
    """Values (ROWS, roots, lanes) of compiled code, and the number of its divisions."""
    divisions = []

    @intrinsic
    def rows_of(_typing: Any, inputs: Any, outputs: Any) -> Any:
        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            emit = Emitter(builder, inputs.dtype)
            read, write = (
                data_pointer(context, builder, *pair) for pair in zip(sig.args, args, strict=True)
            )
            with emit.loop(I64(ROWS)) as i:
                row = emit.at(read, builder.mul(i, I64(len(leaves) * lanes)))
                known = {leaf: emit.load(row, k * lanes) for k, leaf in enumerate(leaves)}
                each = FormulaEmitter(emit, known, roots, CHOSEN)
                to = emit.at(write, builder.mul(i, I64(len(roots) * lanes)))
                for k, value in enumerate([each.vector(root) for root in roots]):
                    emit.store(value, to, k * lanes)
                divisions.append(each.divisions)
            return context.get_dummy_value()

        return types.void(inputs, outputs), codegen

    @njit
    def run(inputs: Any, outputs: Any) -> None:
        rows_of(inputs, outputs)

    outputs = np.full((ROWS, len(roots), lanes), np.nan, inputs.dtype)
    run(inputs, outputs)
    return outputs, divisions[0]


@pytest.mark.parametrize(
    ("function", "divisions"),
    [
        (formulas.lstm, 3),
        (formulas.gru_reset_after, 3),
        (formulas.simple_rnn, 1),
        (formulas.peephole, 3),
        (formulas.odd, None),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_values_and_gradients(
    function: Callable[..., Any], divisions: int | None, dtype: Any
) -> None:
    formula = trace(function)
    gradients = Gradients(formula)
    leaves = [*formula.sums.values(), *formula.states.values(), *formula.vectors.values()]
    leaves += gradients.given.values()
    found = [*gradients.sums.values(), *gradients.states.values(), *gradients.vectors.values()]
    backward = [gradient for gradient in found if gradient is not None]
    lanes = Emitter(None, types.float32 if dtype == np.float32 else types.float64).lanes
    inputs = np.random.default_rng(4).normal(size=(ROWS, len(leaves), lanes)).astype(dtype)
    known = {leaf: inputs[:, k].astype(np.float64) for k, leaf in enumerate(leaves)}
    for roots, expected in ((formula.new, divisions), (backward, None)):
        values, made = computed(leaves, roots, inputs, lanes)
        for k, value in enumerate(evaluate(roots, known)):
            atol = 3e-6 if dtype == np.float32 else 1e-13
            np.testing.assert_allclose(values[:, k], value, rtol=0, atol=atol)
        assert expected in (None, made)


def test_activations_that_are_chosen_are_fractions_too() -> None:
    def cell(i: Any, g: Any, c: Any) -> Any:
        return c + fm.recurrent_activation(i) * fm.activation(g)

    def same(i: Any, g: Any, c: Any) -> Any:
        return c + fm.sigmoid(i) * fm.tanh(g)

    formula, plain = trace(cell), trace(same)
    leaves = [*formula.sums.values(), *formula.states.values()]
    lanes = Emitter(None, types.float32).lanes
    inputs = np.random.default_rng(5).normal(size=(ROWS, 3, lanes)).astype(np.float32)
    values, divisions = computed(leaves, formula.new, inputs, lanes)
    own = [*plain.sums.values(), *plain.states.values()]
    expected = evaluate(plain.new, {s: inputs[:, k] for k, s in enumerate(own)})
    np.testing.assert_allclose(values[:, 0], expected[0], rtol=0, atol=1e-6)
    assert divisions == 1


def test_denominators_of_large_sums_stay_finite() -> None:
    formula = trace(lambda i, f, g, c: fm.sigmoid(i) * fm.sigmoid(f) * fm.tanh(g) + c)
    leaves = [*formula.sums.values(), *formula.states.values()]
    lanes = Emitter(None, types.float32).lanes
    inputs = np.full((ROWS, 4, lanes), -200, np.float32)
    inputs[:, 3] = 0
    values, _ = computed(leaves, formula.new, inputs, lanes)
    assert np.abs(values).max() < 1e-30


def test_exp_leaves_the_range_of_numbers() -> None:
    formula = trace(lambda s, h: fm.exp(s) + 0.0 * h)
    leaves = [*formula.sums.values(), *formula.states.values()]
    lanes = Emitter(None, types.float32).lanes
    inputs = np.zeros((ROWS, 2, lanes), np.float32)
    inputs[:, 0] = np.array([-1000, -1, 0, 1, 1000], np.float32)[:, np.newaxis]
    values, _ = computed(leaves, formula.new, inputs, lanes)
    np.testing.assert_allclose(values[:, 0, 0], [0, 1 / np.e, 1, np.e, np.inf], rtol=3e-7)
