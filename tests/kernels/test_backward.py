"""lstm_bwd, gru_bwd and rnn_bwd of each backend: finite differences, PyTorch, the reference.

Every case has NaN in its masked inputs and in gradients that must be ignored, and starts with
outputs full of NaN, so a kernel that reads a wrong number fails all of these tests.
"""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from fastmask_kernels import reference
from fastmask_kernels.spec import ACTIVATIONS

from ..cases import CASES, MASK_KINDS, GRUCase, RecurrentCase, activation_of, cases_of
from ..each import EACH_BACKEND, EACH_KERNEL
from .test_forward import saved_of

Array = NDArray[Any]

SAVE = st.sampled_from(("states", "gates"))
THREADS = st.sampled_from((1, 2, 3))
KINKS = {
    "relu": (0.0,),
    "hard_sigmoid": (0.0, 1.0),
    "hard_sigmoid_keras2": (0.0, 1.0),
}  # outputs at which the derivative jumps
STEP = 1e-4


def small(cell: str, **strategies: Any) -> st.SearchStrategy[Any]:
    """Cases in float64 that are quick to compute, over every activation of the gates."""
    sizes = {
        "batch": st.integers(1, 3),
        "time": st.integers(1, 6),
        "features": st.integers(0, 3),
        "units": st.integers(1, 4),
        "dtype": st.just("float64"),
        "recurrent_activation": st.sampled_from(ACTIVATIONS),
    }
    return cases_of(cell, **sizes | strategies)


def loss(case: RecurrentCase, outputs: list[Array]) -> float:
    """The function whose gradient `run_backward` computes."""
    out, *last = outputs
    counted = ~np.isnan(case.dout)
    total = np.sum(case.dout[counted] * out[counted])
    return float(total + sum(np.sum(d * a) for d, a in zip(case.dlast, last, strict=True)))


def calm(case: RecurrentCase) -> RecurrentCase:
    """The case itself, or one with smaller numbers if activations are unbounded.

    Gates and states multiply from step to step: the loss is then like a polynomial of degree
    2**T, too wild for finite differences at usual sizes.
    """
    unbounded = {"linear", "relu"} & {case.activation, case.recurrent_activation}
    return case.with_inputs([0.3 * a for a in case.inputs]) if unbounded else case


def slope(case: RecurrentCase, backend: Any, number: int, direction: Array) -> float:
    """The derivative of the loss as input `number` moves along `direction`."""

    def at(distance: float) -> float:
        inputs = case.inputs
        inputs[number] = inputs[number] + distance * direction
        moved = case.with_inputs(inputs)
        # Reject the example if the path crosses a kink, where there is no derivative.
        assume(np.array_equal(sides_of_kinks(moved), here))
        return loss(moved, moved.run(backend))

    here = sides_of_kinks(case)
    near, far = at(STEP) - at(-STEP), at(2 * STEP) - at(-2 * STEP)
    return (8 * near - far) / (12 * STEP)


def sides_of_kinks(case: RecurrentCase) -> Array:
    """The side of its kinks on which each activation in a run is."""
    inner, outer = case.recurrent_activation, case.activation
    if not {inner, outer} & KINKS.keys():
        return np.empty(0)  # without a run
    after, _, gates = saved_of(case, reference)
    if case.cell == "lstm":
        i, f, g, o = np.split(gates, 4, axis=1)
        values = [(inner, i), (inner, f), (outer, g), (inner, o)]
        values.append((outer, activation_of(outer)(after[1])))
    elif case.cell == "gru":
        n, z, r, _ = np.split(gates, 4, axis=1)
        values = [(outer, n), (inner, z), (inner, r)]
    else:
        values = [(outer, after[0])]
    sides = [
        (y > 0) if kink == 0 else (y < kink) for name, y in values for kink in KINKS.get(name, ())
    ]
    return np.array(sides)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@EACH_KERNEL
def test_finite_differences(cell: str, backend: Any, activation: str) -> None:
    # The others need fewer examples: they are also compared with the reference.
    @given(small(cell, activation=st.just(activation)), SAVE, st.booleans(), THREADS)
    @settings(max_examples=60 if backend is reference else 25, deadline=None)
    def check(case: RecurrentCase, save: str, want_dx: bool, threads: int) -> None:
        case = calm(case)
        gradients = case.run_backward(backend, threads, save=save, want_dx=want_dx)[:-1]
        size = 1 + abs(loss(case, case.run(backend)))
        rng = np.random.default_rng(case.seed)
        for number, gradient in enumerate(gradients):
            if gradient.size:
                direction = rng.standard_normal(gradient.shape)
                parts = direction * gradient
                error = abs(np.sum(parts) - slope(case, backend, number, direction))
                assert error < 1e-8 * (size + np.abs(parts).sum()), number

    check()


def comparable(cell: str) -> st.SearchStrategy[Any]:
    """Cases of all sizes; float32 only without kinks, as rounding may cross them."""
    sizes = {"batch": st.integers(0, 12), "units": st.integers(1, 40)}
    bounded = st.sampled_from(("sigmoid", "hard_sigmoid", "tanh"))
    smooth = st.sampled_from(("sigmoid", "tanh"))
    return st.one_of(
        cases_of(
            cell,
            **sizes,
            dtype=st.just("float64"),
            activation=st.sampled_from(ACTIVATIONS),
            recurrent_activation=bounded,
        ),
        cases_of(
            cell,
            **sizes,
            dtype=st.just("float32"),
            activation=smooth,
            recurrent_activation=smooth,
        ),
    )


@EACH_KERNEL
def test_backend_equals_reference(cell: str, backend: Any) -> None:
    @given(comparable(cell), SAVE, st.booleans(), THREADS)
    @settings(max_examples=25 if backend is reference else 150, deadline=None)
    def check(case: RecurrentCase, save: str, want_dx: bool, threads: int) -> None:
        options: dict[str, Any] = {"save": save, "want_dx": want_dx}
        expected = case.run_backward(reference, dtype="float64", **options)
        rounded = [r.run_backward(reference, dtype="float64", **options) for r in roundings(case)]
        for actual, wanted, *others in zip(
            case.run_backward(backend, threads, **options), expected, *rounded, strict=True
        ):
            assert actual.dtype == case.dtype
            moved = max(np.abs(np.nan_to_num(a - wanted)).max(initial=0) for a in others)
            assert_gradients_close(actual, wanted, 10 * moved)

    check()


def roundings(case: RecurrentCase) -> list[RecurrentCase]:
    """The case with inputs changed by one unit of rounding.

    The change of its gradients bounds the error of a right kernel: gates that are not between 0
    and 1 amplify rounding from step to step.
    """
    rng = np.random.default_rng(case.seed)
    unit = float(np.finfo(case.dtype).eps)

    def rounded(a: Array) -> Array:
        return a.astype(np.float64) * (1 + unit * rng.choice([-1, 1], a.shape))

    return [case.with_inputs([rounded(a) for a in case.inputs]) for _ in range(2)]


def assert_gradients_close(actual: Array, wanted: Array, more: float = 0.0) -> None:
    """Equal up to the rounding of sums of an array's largest numbers, and `more`."""
    largest = np.abs(np.nan_to_num(wanted)).max(initial=1)
    tolerance = (5e-5 if actual.dtype == np.float32 else 1e-11) * largest + more
    np.testing.assert_allclose(actual, wanted, rtol=0, atol=tolerance)


def every_case(cell: str, **options: Any) -> list[RecurrentCase]:
    """Each kind of mask in both directions, with both kinds of masked outputs and of GRUs."""
    forms: list[dict[str, Any]] = [{}]
    if cell == "gru":
        forms = [{"reset_after": True}, {"reset_after": False}]
    return [
        CASES[cell](
            *(5, 7, 18, 4),
            kind=kind,
            seed=number,
            dtype="float64",
            reverse=reverse,
            zero_masked=zero_masked,
            **options | form,
        )
        for number, kind in enumerate(MASK_KINDS)
        for reverse in (False, True)
        for zero_masked in (False, True)
        for form in forms
    ]


@pytest.mark.parametrize("save", ["states", "gates"])
@EACH_KERNEL
def test_gates_become_gradients_of_sums(cell: str, backend: Any, save: str) -> None:
    """The gradients of weights and of x follow from them in one product each."""
    for case in every_case(cell):
        dx, dkernel, drecurrent, dbias, *_, dgates = case.run_backward(backend, save=save)
        _, (h_before, *_), gates = saved_of(case, backend)
        dinput = dstate = dgates
        candidate_reads = h_before
        if isinstance(case, GRUCase):
            n, z, r, q = np.split(dgates, 4, axis=1)
            dinput = np.hstack([z, r, n])
            dstate = np.hstack([z, r, q]) if case.reset_after else dinput
            if not case.reset_after:
                candidate_reads = q
                assert_gradients_close(q, np.split(gates, 4, axis=1)[3])
        last = 2 * case.units if cell == "gru" else 0
        assert_gradients_close(dx[case.valid], dinput @ case.weights[0].T)
        assert_gradients_close(dkernel, case.x[case.valid].T @ dinput)
        assert_gradients_close(drecurrent[:, :last], h_before.T @ dstate[:, :last])
        assert_gradients_close(drecurrent[:, last:], candidate_reads.T @ dstate[:, last:])
        sums = [dinput.sum(axis=0), dstate.sum(axis=0)]
        assert_gradients_close(dbias, np.stack(sums) if cell == "gru" else sums[0])


@EACH_KERNEL
def test_what_is_masked_reaches_nothing(cell: str, backend: Any) -> None:
    for case in every_case(cell):
        expected = case.run_backward(backend)
        assert all(np.isfinite(a).all() for a in expected)
        assert not expected[0][~case.valid].any()
        empty = ~case.valid.any(axis=1)
        for dfirst, dlast in zip(expected[4:-1], case.dlast, strict=True):
            np.testing.assert_array_equal(dfirst[empty], dlast[empty])
        for poison in (0.0, np.inf, -np.inf):
            other = copy.copy(case)
            other.x = np.where(np.isnan(case.x), poison, case.x)
            other.dout = np.where(np.isnan(case.dout), poison, case.dout)
            for a, b in zip(expected, other.run_backward(backend), strict=True):
                np.testing.assert_array_equal(a, b)


@EACH_KERNEL
def test_a_masked_output_gives_its_gradient_to_the_output_it_repeats(
    cell: str, backend: Any
) -> None:
    for case in every_case(cell):
        folded = copy.copy(case)
        folded.dout = np.zeros_like(case.dout)
        valid = case.valid[:, ::-1] if case.reverse else case.valid
        for b, position in zip(*np.nonzero(case.counted), strict=True):
            source = np.flatnonzero(valid[b, : position + 1])[-1]
            folded.dout[b, source] += case.dout[b, position]
        for a, b in zip(case.run_backward(backend), folded.run_backward(backend), strict=True):
            assert_gradients_close(a, b)


@EACH_KERNEL
def test_dx_and_dout_are_optional(cell: str, backend: Any) -> None:
    for case in every_case(cell):
        every, some = case.run_backward(backend), case.run_backward(backend, want_dx=False)
        for a, b in zip(every[1:], some[1:], strict=True):
            np.testing.assert_array_equal(a, b)
        silent, absent = copy.copy(case), copy.copy(case)
        silent.dout = np.zeros_like(case.dout)
        absent.sequences, absent.dout = False, case.dout[:, :0]
        for a, b in zip(silent.run_backward(backend), absent.run_backward(backend), strict=True):
            np.testing.assert_array_equal(a, b)


@EACH_KERNEL
def test_threads_do_not_change_a_bit(cell: str, backend: Any) -> None:
    case = CASES[cell](33, 20, 24, 40, kind="holes", seed=1)
    alone = case.run_backward(backend)
    for threads in (1, 2, 5):
        for a, b in zip(alone, case.run_backward(backend, threads), strict=True):
            np.testing.assert_array_equal(a, b)


def in_torch_order(cell: str, array: Array) -> Array:
    """Gates along the last axis in PyTorch's order: its GRU begins with r, Keras's with z."""
    if cell != "gru":
        return array
    z, r, h = np.split(array, 3, axis=-1)
    return np.concatenate([r, z, h], axis=-1)


def torch_gradients(case: RecurrentCase) -> list[Array]:
    """PyTorch's gradients of x, weights and initial states, from each row's valid steps."""
    import torch

    maker = {"lstm": torch.nn.LSTM, "gru": torch.nn.GRU, "rnn": torch.nn.RNN}[case.cell]
    extra = {"nonlinearity": case.activation} if case.cell == "rnn" else {}
    layer = maker(case.features, case.units, batch_first=True, dtype=torch.float64, **extra)
    kernel, recurrent, bias = (in_torch_order(case.cell, a) for a in case.weights)
    bias_input, bias_state = bias if bias.ndim == 2 else (bias, np.zeros_like(bias))
    parameters = [layer.weight_ih_l0, layer.weight_hh_l0, layer.bias_ih_l0, layer.bias_hh_l0]
    values = [kernel.T.copy(), recurrent.T.copy(), bias_input, bias_state]
    with torch.no_grad():
        for parameter, value in zip(parameters, values, strict=True):
            parameter.copy_(torch.from_numpy(np.ascontiguousarray(value)))
    x = torch.tensor(np.nan_to_num(case.x), requires_grad=True)
    first = [torch.tensor(s, requires_grad=True) for s in case.states]
    total = sum(torch_loss(case, layer, b, x, first) for b in range(case.batch))
    total.backward()
    d_input, d_state, *d_biases = (
        in_torch_order(case.cell, (p.grad if p.grad is not None else 0 * p).detach().numpy().T)
        for p in parameters
    )
    d_bias = np.stack(d_biases) if bias.ndim == 2 else d_biases[0]
    zero = np.zeros_like(case.x) if x.grad is None else x.grad.numpy()
    return [zero, d_input, d_state, d_bias, *(s.grad.numpy() for s in first)]


def torch_loss(case: RecurrentCase, layer: Any, b: int, x: Any, first: list[Any]) -> Any:
    """Row b's part of the loss; PyTorch has no masks, so gaps are filled here."""
    import torch

    valid = case.valid[b, ::-1] if case.reverse else case.valid[b]
    states = tuple(s[b : b + 1][None] for s in first)
    outputs = None
    if valid.any():
        times = np.flatnonzero(case.valid[b])
        times = times[::-1].copy() if case.reverse else times
        outputs, states = layer(x[b, times][None], states if len(states) > 1 else states[0])
        states = states if isinstance(states, tuple) else (states,)
    total = sum(
        (s[0, 0] * torch.from_numpy(d[b])).sum() for s, d in zip(states, case.dlast, strict=True)
    )
    for position in np.flatnonzero(case.counted[b]):
        done = int(valid[: position + 1].sum())
        total = total + (outputs[0, done - 1] * torch.from_numpy(case.dout[b, position])).sum()
    return total


@pytest.mark.optional
@EACH_BACKEND
@pytest.mark.parametrize(
    ("cell", "activation"), [("lstm", "tanh"), ("gru", "tanh"), ("rnn", "tanh"), ("rnn", "relu")]
)
def test_pytorch_on_compressed_rows(cell: str, backend: Any, activation: str) -> None:
    pytest.importorskip("torch", reason="needs the extra torch")
    for case in every_case(cell, activation=activation):
        if not getattr(case, "reset_after", True):
            continue  # a form that PyTorch does not have
        gradients = case.run_backward(backend)[:-1]
        for actual, wanted in zip(gradients, torch_gradients(case), strict=True):
            assert_gradients_close(actual, wanted)
