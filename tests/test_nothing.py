"""Batches without rows, steps or features, and layers without units."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

import fastmask as fm
from fastmask_kernels import reference

from .each import EACH_BACKEND, EACH_FORM, FORMS

SIZES = [s for s in itertools.product((0, 2), (0, 3), (0, 2), (0, 3)) if 0 in s]
GATES = {"lstm": 4, "gru": 3, "rnn": 1}


@EACH_BACKEND
@EACH_FORM
def test_kernels(cell: str, backend: Any) -> None:
    for sizes, threads in itertools.product(SIZES, (1, 2)):
        case = FORMS[cell](*sizes, kind="right")
        for save in ("nothing", "states", "gates"):
            expected = case.run(reference, dtype="float64", save=save)
            for a, b in zip(case.run(backend, threads, save=save), expected, strict=True):
                assert a.shape == b.shape
                np.testing.assert_allclose(a, b, atol=1e-5)
        for save in ("states", "gates"):
            expected = case.run_backward(reference, dtype="float64", save=save)
            for a, b in zip(case.run_backward(backend, threads, save=save), expected, strict=True):
                np.testing.assert_allclose(a, b, atol=1e-5)
        size = getattr(backend, f"{case.cell}_packed_size")(*sizes[2:], np.dtype("float32"))
        packed = np.empty(size, np.float32)
        getattr(backend, f"{case.cell}_pack")(packed, *case.weights, *case.pack_options)
        states = [state.copy() for state in case.states]
        valid = np.zeros(sizes[0], bool)
        x = np.ones((sizes[0], sizes[2]), np.float32)
        getattr(backend, f"{case.cell}_step")(*states, x, valid, packed, *case.options, threads)
        for a, b in zip(states, case.states, strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("sequences", [True, False])
@EACH_FORM
def test_operations(cell: str, sequences: bool) -> None:
    name = cell.partition("_")[0]
    after = {} if name != "gru" else {"reset_after": cell == "gru"}
    for batch, time, features, units in SIZES:
        backends = GATES[name] * units
        rows = (2, backends) if cell == "gru" else (backends,)
        for bias, masked in itertools.product((None, np.ones(rows)), (None, False, True)):
            mask = None if masked is None else np.full((batch, time), not masked)
            out, states = getattr(fm.ops, name)(
                np.ones((batch, time, features)),
                np.ones((features, backends)),
                np.ones((units, backends)),
                bias,
                mask=mask,
                return_sequences=sequences,
                **after,
            )
            assert out.shape == ((batch, time, units) if sequences else (batch, units))
            assert all(state.shape == (batch, units) for state in states)
            if not time or masked:
                assert not out.any()
                assert not any(state.any() for state in states)


@pytest.mark.parametrize("maker", [fm.layers.LSTM, fm.layers.GRU, fm.layers.SimpleRNN])
def test_layers(maker: Any) -> None:
    for batch, time, features in itertools.product((0, 2), (0, 3), (0, 2)):
        layer = maker(3, return_sequences=True)
        assert layer(np.ones((batch, time, features), np.float32)).shape == (batch, time, 3)
        state = layer.get_initial_state(batch)
        layer.step(np.ones((batch, features), np.float32), state)
        both = fm.layers.Bidirectional(maker(3))
        assert both(np.ones((batch, time, features), np.float32)).shape == (batch, 6)
    with pytest.raises(ValueError, match="units must be at least 1, not 0"):
        maker(0)


@pytest.mark.parametrize(
    ("layers", "shape"),
    [
        ([fm.layers.GlobalMaxPooling1D()], (0, 3)),
        ([fm.layers.GlobalMaxPooling1D(keepdims=True)], (0, 1, 3)),
        ([fm.layers.Conv1D(4, 3), fm.layers.GlobalMaxPooling1D()], (0, 4)),
        ([fm.layers.Cropping1D(1), fm.layers.GlobalAveragePooling1D()], (0, 3)),
        ([fm.layers.Lambda(lambda x: x.max(axis=1))], (0, 3)),
    ],
)
def test_predict_without_rows_in_models_that_need_steps(layers: Any, shape: Any) -> None:
    model = fm.Sequential([fm.Input((None, 3)), *layers])
    assert model.predict([], verbose=0).shape == shape


def test_the_largest_of_no_steps() -> None:
    layer = fm.layers.GlobalMaxPooling1D(name="most")
    assert layer(np.zeros((0, 0, 3))).shape == (0, 3)
    with pytest.raises(ValueError, match="layer 'most' have no step"):
        layer(np.zeros((2, 0, 3)))
