"""`ops.lstm`, `gru` and `rnn` on plain arrays: Keras's numbers, odd inputs, clear errors.

They share their code; odd inputs are tested on the LSTM.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fastmask as fm

from . import golden

B, T, F, H = 3, 4, 2, 5


def normal(seed: int, *shape: int) -> np.ndarray[Any, Any]:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


X = normal(0, B, T, F)
KERNEL, RECURRENT, BIAS = normal(1, F, 4 * H), normal(2, H, 4 * H), normal(3, 4 * H)
STATE = [normal(4, B, H), normal(5, B, H)]
MASK = np.array([[1, 0, 1, 0], [0, 0, 0, 0], [0, 1, 1, 1]], bool)


def lstm(x: Any = X, **options: Any) -> list[np.ndarray[Any, Any]]:
    output, (h, c) = fm.ops.lstm(x, KERNEL, RECURRENT, BIAS, **options)
    return [output, h, c]


def assert_same(ones: list[Any], others: list[Any]) -> None:
    for one, other in zip(ones, others, strict=True):
        np.testing.assert_array_equal(one, other)


def answer(case: golden.Case) -> list[Any]:
    """The output and the states of a golden case."""
    options: dict[str, Any] = {}
    if case.kind != "SimpleRNN":
        options["recurrent_activation"] = case.recurrent_activation
    if case.kind == "GRU":
        options["reset_after"] = case.reset_after
    function: Any = {"LSTM": fm.ops.lstm, "GRU": fm.ops.gru, "SimpleRNN": fm.ops.rnn}[case.kind]
    output, states = function(
        case.x,
        *case.weights,
        activation=case.activation,
        **options,
        mask=case.mask,
        initial_state=case.states,
        return_sequences=case.return_sequences,
        go_backwards=case.go_backwards,
        zero_output_for_mask=case.zero_output_for_mask,
    )
    return [output, *states]


GROUPS = golden.under_all_masks(
    golden.cases(lambda c: c.layer == "rnn" and c.canonical and not (c.stateful or c.unroll))
)


@pytest.mark.parametrize("cases", GROUPS.values(), ids=GROUPS)
def test_equals_keras(cases: list[golden.Case]) -> None:
    for case in cases:
        for ours, keras in zip(answer(case), case.outputs, strict=True):
            np.testing.assert_allclose(ours, keras, rtol=0, atol=1e-5, err_msg=case.key)


@pytest.mark.parametrize(
    "change",
    [
        np.asfortranarray,
        lambda x: np.repeat(x, 2, axis=2)[:, :, ::2],
        lambda x: x[::-1].copy()[::-1],
        lambda x: x.astype(">f4"),
        lambda x: (
            np.frombuffer(b"\0" + x.tobytes(), np.uint8)[1:].view(np.float32).reshape(x.shape)
        ),
        lambda x: np.frombuffer(x.tobytes(), np.float32).reshape(x.shape),
    ],
    ids=["fortran", "strided", "negative stride", "big-endian", "unaligned", "read-only"],
)
def test_layout_of_inputs_does_not_matter(change: Any) -> None:
    expected = lstm(mask=MASK, initial_state=STATE)
    given = [change(a) if a.ndim == 3 else a for a in (X,)]
    assert_same(lstm(given[0], mask=MASK, initial_state=STATE), expected)
    weights = [np.asfortranarray(w) for w in (KERNEL, RECURRENT, BIAS)]
    output, states = fm.ops.lstm(X, *weights, mask=MASK, initial_state=STATE)
    assert_same([output, *states], expected)


@pytest.mark.parametrize(
    ("x", "weights", "expected"),
    [
        (np.float32, np.float32, np.float32),
        (np.float64, np.float32, np.float64),
        (np.float32, np.float64, np.float64),
        (np.float16, np.float32, np.float32),
        (np.int64, np.float32, np.float32),
        (np.bool_, np.float32, np.float32),
        (np.uint8, np.float64, np.float64),
        (np.longdouble, np.float32, np.float64),
    ],
)
def test_dtypes(x: type, weights: type, expected: type) -> None:
    output, (h, c) = fm.ops.lstm(X.astype(x), KERNEL.astype(weights), RECURRENT.astype(weights))
    assert {output.dtype, h.dtype, c.dtype} == {np.dtype(expected)}


def test_lists_are_taken() -> None:
    output, _ = fm.ops.lstm(X.tolist(), KERNEL.tolist(), RECURRENT.tolist(), mask=MASK.tolist())
    assert output.shape == (B, T, H)


@pytest.mark.parametrize("shape", [(0, T, F), (B, 0, F), (0, 0, F), (B, T, 0)])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("sequences", [False, True])
@pytest.mark.parametrize("zero", [False, True])
def test_empty_inputs(
    shape: tuple[int, int, int], masked: bool, sequences: bool, zero: bool
) -> None:
    batch, time, features = shape
    state = [s[:batch] for s in STATE]
    output, (h, c) = fm.ops.lstm(
        np.zeros(shape, np.float32),
        KERNEL[:features],
        RECURRENT,
        mask=np.zeros((batch, time)) if masked else None,
        initial_state=state,
        return_sequences=sequences,
        zero_output_for_mask=zero,
    )
    assert output.shape == ((batch, time, H) if sequences else (batch, H))
    if masked or not (batch and time):
        assert not output.any()
        assert_same([h, c], state)


def test_rows_without_a_valid_step() -> None:
    output, (h, c) = fm.ops.lstm(X, KERNEL, RECURRENT, BIAS, mask=MASK, initial_state=STATE)
    assert not output[1].any()
    assert_same([h[1], c[1]], [STATE[0][1], STATE[1][1]])
    last, _ = fm.ops.lstm(
        *(X, KERNEL, RECURRENT, BIAS), mask=MASK, initial_state=STATE, return_sequences=False
    )
    assert not last[1].any()
    assert_same([last[0], last[2]], [h[0], h[2]])


def test_output_zeroed_where_the_last_step_is_masked() -> None:
    options = {"mask": MASK, "return_sequences": False, "zero_output_for_mask": True}
    forward, h, _ = lstm(**options)
    assert_same([forward[0], forward[1], forward[2]], [0 * h[0], 0 * h[1], h[2]])
    backward, h, _ = lstm(go_backwards=True, **options)
    assert_same([backward[0], backward[1], backward[2]], [h[0], 0 * h[1], 0 * h[2]])


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("sequences", [False, True])
def test_masked_inputs_are_never_read(bad: float, sequences: bool) -> None:
    x = np.where(MASK[:, :, None], X, np.float32(bad))
    options = {"mask": MASK, "return_sequences": sequences, "initial_state": STATE}
    assert_same(lstm(x, **options), lstm(X, **options))


def test_nan_at_a_valid_step_stays_in_its_row() -> None:
    x = X.copy()
    x[2, 2, 0] = np.nan
    output, h, c = lstm(x, mask=MASK)
    expected, *states = lstm(mask=MASK)
    assert np.isnan(output[2, 2:]).all()
    assert np.isnan(h[2]).all()
    assert_same([output[:2], output[2, :2]], [expected[:2], expected[2, :2]])
    assert_same([h[:2], c[:2]], [s[:2] for s in states])


def test_output_and_state_share_no_memory() -> None:
    output, h, c = lstm(return_sequences=False)
    assert not np.shares_memory(output, h)
    assert not np.shares_memory(h, c)


def test_inputs_are_not_changed() -> None:
    arrays = [X, KERNEL, RECURRENT, BIAS, *STATE]
    copies = [a.copy() for a in arrays]
    lstm(mask=MASK, initial_state=STATE)
    assert_same(arrays, copies)


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"x": X[0]}, ValueError, r"x must have shape \(batch, time, features\), not \(4, 2\)"),
        ({"x": X.astype(object)}, TypeError, "x must hold real numbers, not dtype object"),
        ({"x": X.astype(complex)}, TypeError, "x must hold real numbers, not dtype complex128"),
        ({"x": [[[1.0]], [[1.0], [2.0]]]}, ValueError, "x must be an array, but its rows differ"),
        ({"x": fm.Masked(X, MASK)}, TypeError, r"\.data"),
        ({"x": np.ma.masked_array(X)}, TypeError, "x is a numpy.ma array"),
        (
            {"kernel": KERNEL[:1]},
            ValueError,
            r"kernel must have shape .* = \(2, 20\), not \(1, 20\)",
        ),
        ({"kernel": KERNEL[0]}, ValueError, r"kernel must have shape .*not \(20,\)"),
        ({"recurrent_kernel": RECURRENT[:4]}, ValueError, r"recurrent_kernel must .*\(4, 20\)"),
        ({"recurrent_kernel": None}, TypeError, "recurrent_kernel must hold real numbers"),
        ({"bias": BIAS[:19]}, ValueError, r"bias must have shape .* = \(20,\), not \(19,\)"),
        ({"bias": BIAS[None]}, ValueError, r"bias must have shape .*not \(1, 20\)"),
        ({"mask": MASK.T}, ValueError, r"mask has shape \(4, 3\), but x has shape \(3, 4, 2\)"),
        ({"mask": MASK[0]}, ValueError, r"mask must have shape \(batch, time\)"),
        ({"mask": "yes"}, TypeError, "mask must be bool, integer or float"),
        ({"initial_state": STATE[:1]}, ValueError, "initial_state must have 2 arrays, not 1"),
        ({"initial_state": 0.0}, TypeError, "initial_state must be a list of 2 arrays"),
        (
            {"initial_state": [STATE[0], STATE[1][:2]]},
            ValueError,
            r"initial_state\[1\] must have shape \(batch, units\) = \(3, 5\), not \(2, 5\)",
        ),
        (
            {"initial_state": [STATE[0], STATE[1] * 1j]},
            TypeError,
            r"initial_state\[1\] must hold real numbers",
        ),
        ({"activation": "softmax"}, ValueError, "activation must be one of 'linear', 'relu'"),
        ({"recurrent_activation": 3}, TypeError, "recurrent_activation must be one of"),
        ({"return_sequences": "no"}, TypeError, "return_sequences must be True or False"),
        ({"go_backwards": 2}, TypeError, "go_backwards must be True or False, not 2"),
        ({"zero_output_for_mask": None}, TypeError, "zero_output_for_mask must be True or False"),
    ],
)
def test_refuses(change: dict[str, Any], error: type[Exception], words: str) -> None:
    arguments = {"x": X, "kernel": KERNEL, "recurrent_kernel": RECURRENT, "bias": BIAS, **change}
    with pytest.raises(error, match=words):
        fm.ops.lstm(**arguments)


@pytest.mark.parametrize(
    ("function", "columns", "options", "words"),
    [
        (
            fm.ops.gru,
            3,
            {"bias": np.ones(15)},
            r"bias must have shape \(2, 3 \* units\) = \(2, 15\)",
        ),
        (
            fm.ops.gru,
            3,
            {"bias": np.ones((2, 15)), "reset_after": False},
            r"bias must have shape \(3 \* units,\) = \(15,\), not \(2, 15\)",
        ),
        (
            fm.ops.gru,
            4,
            {},
            r"recurrent_kernel must have shape \(units, 3 \* units\), not \(5, 20\)",
        ),
        (fm.ops.rnn, 3, {}, r"recurrent_kernel must have shape \(units, units\), not \(5, 15\)"),
        (
            fm.ops.rnn,
            1,
            {"bias": np.ones(4)},
            r"bias must have shape \(units,\) = \(5,\), not \(4,\)",
        ),
        (fm.ops.rnn, 1, {"initial_state": STATE}, "initial_state must have 1 arrays, not 2"),
    ],
)
def test_refuses_weights_of_another_cell(
    function: Any, columns: int, options: dict[str, Any], words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        function(X, KERNEL[:, : columns * H], RECURRENT[:, : columns * H], **options)


def test_gru_without_bias_and_one_state() -> None:
    weights = KERNEL[:, : 3 * H], RECURRENT[:, : 3 * H]
    for after, bias in ((True, np.zeros((2, 3 * H))), (False, np.zeros(3 * H))):
        one, (h,) = fm.ops.gru(X, *weights, initial_state=STATE[0], mask=MASK, reset_after=after)
        other, _ = fm.ops.gru(
            X, *weights, bias, initial_state=STATE[:1], mask=MASK, reset_after=after
        )
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-6)
        np.testing.assert_array_equal(h[1], STATE[0][1])
