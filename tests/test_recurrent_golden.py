"""LSTM, GRU, SimpleRNN, Bidirectional and stacked cells: all golden cases that Keras gets right."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fastmask as fm

from . import golden


def layer_of(case: golden.Case) -> Any:
    """The layer of a case that is neither a stack nor bidirectional, or the inner one."""
    options: dict[str, Any] = {}
    if case.kind != "SimpleRNN":
        options["recurrent_activation"] = case.recurrent_activation
    if case.kind == "GRU":
        options["reset_after"] = case.reset_after
    return getattr(fm.layers, case.kind)(
        case.units[0],
        case.activation,
        use_bias=case.use_bias,
        return_sequences=case.return_sequences,
        return_state=case.return_state,
        go_backwards=case.go_backwards,
        unroll=case.unroll,
        stateful=case.stateful,
        zero_output_for_mask=case.zero_output_for_mask,
        **options,
    )


def made(case: golden.Case) -> Any:
    if case.layer == "stack":
        cells = [
            getattr(fm.layers, f"{kind}Cell")(units)
            for kind, units in zip(case.kinds, case.units, strict=True)
        ]
        layer: Any = fm.layers.RNN(
            cells,
            return_sequences=case.return_sequences,
            zero_output_for_mask=case.zero_output_for_mask,
        )
    elif case.layer == "bidirectional":
        layer = fm.layers.Bidirectional(layer_of(case), merge_mode=case.merge_mode)
    else:
        layer = layer_of(case)
    layer.build((None, None, golden.F))
    layer.set_weights(case.weights)
    return layer


def outputs_of(layer: Any, x: Any, mask: Any, states: Any) -> list[Any]:
    options = {} if states is None else {"initial_state": states}
    outputs = layer(x, mask=mask, **options)
    outputs = outputs if isinstance(outputs, tuple) else (outputs,)
    return [one.data if isinstance(one, fm.Masked) else one for one in outputs]


CASES = golden.cases(lambda c: c.canonical)
GROUPS = golden.under_all_masks(CASES)


@pytest.mark.parametrize("cases", GROUPS.values(), ids=GROUPS)
def test_equals_keras(cases: list[golden.Case]) -> None:
    for case in cases:
        layer = made(case)
        ours: list[Any] = []
        for _ in range(case.calls):
            ours += outputs_of(layer, case.x, case.mask, case.states)
        for one, keras in zip(ours, case.outputs, strict=True):
            assert one.dtype == np.float32
            np.testing.assert_allclose(one, keras, rtol=0, atol=1e-5, err_msg=case.key)


@pytest.mark.slow
def test_ragged_equals_keras() -> None:
    """All steps in one array; masked steps are holes in their rows."""
    offsets = np.arange(golden.B + 1) * golden.T
    for case in CASES:
        layer = made(case)
        values, mask = case.x.reshape(-1, golden.F), case.mask
        x = fm.Ragged(values, offsets, None if mask is None else mask.ravel())
        ours: list[Any] = []
        for _ in range(case.calls):
            ours += outputs_of(layer, x, None, case.states)
        for one, keras in zip(ours, case.outputs, strict=True):
            given = one.values.reshape(keras.shape) if isinstance(one, fm.Ragged) else one
            np.testing.assert_allclose(given, keras, rtol=0, atol=1e-5, err_msg=case.key)


def test_every_family_is_there() -> None:
    families = {(case.layer, case.kinds) for case in CASES}
    assert len(families) == 3 + 3 + 4
    assert len(CASES) == sum(map(len, GROUPS.values())) > 1200


@pytest.mark.parametrize(
    "case",
    [c for c in CASES if c.mask_name == "rowoff" and not c.stateful and not c.unroll],
    ids=str,
)
def test_nan_at_masked_steps_reaches_nothing(case: golden.Case) -> None:
    mask = case.mask
    assert mask is not None
    layer = made(case)
    x = np.where(mask[:, :, None], case.x, np.float32(np.nan))
    clean = outputs_of(layer, case.x, mask, case.states)
    for one, other in zip(outputs_of(layer, x, mask, case.states), clean, strict=True):
        np.testing.assert_array_equal(one, other)
