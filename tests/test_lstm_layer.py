"""The LSTM layer: its mask, states, weights and errors."""

from __future__ import annotations

import copy
import os
import pickle
import subprocess
import sys
import threading
from typing import Any

import numpy as np
import pytest

import fastmask as fm
from fastmask.backends import plan as _plan

X = np.random.default_rng(0).normal(size=(3, 4, 2)).astype(np.float32)
MASK = np.array([[1, 0, 1, 0], [0, 0, 0, 0], [0, 1, 1, 1]], bool)


def built(units: int = 5, **options: Any) -> fm.layers.LSTM:
    layer = fm.layers.LSTM(units, **options)
    layer.build((None, None, X.shape[2]))
    return layer


def plain(value: Any) -> Any:
    return value.data if isinstance(value, fm.Masked) else value


class TestMask:
    def test_goes_on_with_a_sequence_only(self) -> None:
        x = fm.Masked(X, MASK)
        y = built(return_sequences=True)(x)
        assert y.mask is x.mask
        assert isinstance(built()(x), np.ndarray)
        assert isinstance(built(return_sequences=True)(X), np.ndarray)

    def test_with_states(self) -> None:
        x = fm.Masked(X, MASK)
        y, h, c = built(return_sequences=True, return_state=True)(x)
        assert y.mask is x.mask
        assert isinstance(h, np.ndarray)
        assert isinstance(c, np.ndarray)
        assert all(isinstance(o, np.ndarray) for o in built(return_state=True)(x))

    def test_is_reversed_with_the_outputs(self) -> None:
        y = built(return_sequences=True, go_backwards=True)(X, mask=MASK)
        np.testing.assert_array_equal(y.mask.valid, MASK[:, ::-1])

    def test_compute_mask(self) -> None:
        assert built().compute_mask(X, MASK) is None
        assert built(return_sequences=True).compute_mask(X, MASK) is MASK
        assert built(return_sequences=True).compute_mask(X) is None
        states = built(return_sequences=True, return_state=True).compute_mask(X, MASK)
        assert [m is not None for m in states] == [True, False, False]
        assert built(return_state=True).compute_mask(X, MASK) == [None, None, None]

    @pytest.mark.parametrize(
        "given", [MASK, MASK.tolist(), MASK.astype(float), MASK[:, :, None], fm.Mask(MASK)]
    )
    def test_may_be_of_any_kind(self, given: Any) -> None:
        layer = built(return_sequences=True)
        np.testing.assert_array_equal(layer(X, mask=given).data, layer(fm.Masked(X, MASK)).data)

    def test_given_beats_carried(self) -> None:
        layer = built(return_sequences=True)
        y = layer(fm.Masked(X, ~MASK), mask=MASK)
        np.testing.assert_array_equal(y.data, layer(X, mask=MASK).data)
        np.testing.assert_array_equal(y.mask.valid, MASK)

    def test_is_seen_beside_an_initial_state(self) -> None:
        layer, state = built(), [np.ones((3, 5))] * 2
        np.testing.assert_array_equal(
            layer(fm.Masked(X, MASK), initial_state=state), layer(X, state, mask=MASK)
        )

    def test_is_checked_by_call_too(self) -> None:
        layer = built(name="odd")
        np.testing.assert_array_equal(layer.call(X, mask=MASK), layer(X, mask=MASK))
        with pytest.raises(ValueError, match=r"mask has shape \(4, 3\), but the input of 'odd'"):
            layer.call(X, mask=MASK.T)

    def test_is_planned_once_for_a_stack(self) -> None:
        layers = [fm.layers.LSTM(4, return_sequences=True) for _ in range(3)]
        before = _plan.plans_made()
        y = fm.Masked(X, MASK)
        for layer in layers:
            y = layer(y)
        assert _plan.plans_made() == before + 1

    def test_of_another_shape(self) -> None:
        with pytest.raises(ValueError, match=r"mask has shape \(3, 3\).*'odd' has shape \(3, 4, 2"):
            built(name="odd")(X, mask=MASK[:, :3])


class TestStates:
    def test_stateful_equals_one_long_sequence(self) -> None:
        whole = built(return_sequences=True, return_state=True)
        parts = built(return_sequences=True, return_state=True, stateful=True)
        parts.set_weights(whole.get_weights())
        y, h, c = whole(X, mask=MASK)
        _ = parts(X[:, :2], mask=MASK[:, :2])
        second, h2, c2 = parts(X[:, 2:], mask=MASK[:, 2:])
        np.testing.assert_allclose(h, h2, atol=1e-6)
        np.testing.assert_allclose(c, c2, atol=1e-6)
        np.testing.assert_allclose(y.data[2, 2:], second.data[2], atol=1e-6)

    def test_reset(self) -> None:
        layer = built(stateful=True)
        first, second = layer(X), layer(X)
        assert np.abs(first - second).max() > 1e-4
        layer.reset_state()
        np.testing.assert_array_equal(layer(X), first)
        layer.reset_state()
        assert layer(X[:1]).shape == (1, 5)

    def test_another_batch_size(self) -> None:
        layer = built(stateful=True, name="keeper")
        layer(X)
        with pytest.raises(ValueError, match="'keeper' must have batch size 3, not 2"):
            layer(X[:2])
        with pytest.raises(ValueError, match="batch size 3, not 2"):
            layer(X[:2], initial_state=[np.zeros((2, 5))] * 2)

    def test_replaced_by_the_user(self) -> None:
        layer = built(stateful=True)
        layer(X)
        layer.states = (np.zeros((3, 4)), np.zeros((3, 5)))
        with pytest.raises(ValueError, match=r"initial_state\[0\] must have shape"):
            layer(X)

    def test_initial_state_is_not_changed(self) -> None:
        state = [np.ones((3, 5), np.float32) for _ in range(2)]
        layer = built(stateful=True, return_state=True)
        _, h, _ = layer(X, initial_state=state)
        h[:] = 9
        assert layer.states is not None
        assert not (layer.states[0] == 9).any()
        assert (state[0] == 1).all()

    def test_wrong_initial_state(self) -> None:
        with pytest.raises(ValueError, match=r"initial_state\[0\] must have shape .* = \(3, 5\)"):
            built()(X, initial_state=[np.zeros((3, 4))] * 2)


class TestWeights:
    def test_shapes_and_first_values(self) -> None:
        kernel, recurrent, bias = built(5).get_weights()
        assert (kernel.shape, recurrent.shape, bias.shape) == ((2, 20), (5, 20), (20,))
        assert np.abs(kernel).max() <= np.sqrt(6 / 22) + 1e-6
        np.testing.assert_allclose(recurrent @ recurrent.T, np.eye(5), atol=1e-5)
        assert bias.tolist() == [0] * 5 + [1] * 5 + [0] * 10
        assert not built(unit_forget_bias=False).get_weights()[2].any()
        assert len(built(use_bias=False).get_weights()) == 2
        assert built(bias_initializer="ones").get_weights()[2].tolist() == [1] * 20

    def test_new_weights_are_used(self) -> None:
        layer = built()
        before = layer(X)
        layer.set_weights([w + 0.5 for w in layer.get_weights()])
        after = layer(X)
        assert np.abs(before - after).max() > 1e-3
        expected, _ = fm.ops.lstm(X, *layer.get_weights(), return_sequences=False)
        np.testing.assert_array_equal(after, expected)

    def test_get_weights_returns_copies(self) -> None:
        layer = built()
        before = layer(X)
        for weight in layer.get_weights():
            weight[...] = 0
        np.testing.assert_array_equal(layer(X), before)

    @pytest.mark.parametrize("name", ["kernel", "recurrent_kernel", "bias"])
    def test_attributes_cannot_be_changed_unseen(self, name: str) -> None:
        layer = built()
        with pytest.raises(ValueError, match="read-only"):
            getattr(layer, name)[...] = 0
        with pytest.raises(AttributeError):
            setattr(layer, name, 0)
        with pytest.raises(ValueError, match="read-only"):
            layer.weights[0][...] = 0

    def test_before_building(self) -> None:
        layer = fm.layers.LSTM(5, name="new")
        with pytest.raises(AttributeError, match="'new' has no weights before it is built"):
            _ = layer.kernel
        with pytest.raises(
            ValueError, match=r"weights of 'new' cannot be set yet, because layer 'new' has none"
        ):
            layer.set_weights([np.ones((2, 20))])

    @pytest.mark.parametrize(
        ("weights", "error", "words"),
        [
            ([np.ones((2, 20))], ValueError, "must be 3 arrays, not 1"),
            (
                [np.ones((2, 20)), np.ones((5, 20)), np.ones((2, 20))],
                ValueError,
                r"weights\[2\] \(bias\) of 'lstm' must have shape \(20,\), not \(2, 20\)",
            ),
            (
                [np.ones((2, 20)), np.ones((5, 20)) * 1j, np.ones(20)],
                TypeError,
                r"weights\[1\] \(recurrent_kernel\).*real numbers, not dtype complex128",
            ),
        ],
    )
    def test_wrong_weights_change_nothing(
        self, weights: list[Any], error: type[Exception], words: str
    ) -> None:
        layer = built(name="lstm")
        before = layer.get_weights()
        with pytest.raises(error, match=words):
            layer.set_weights(weights)
        for one, other in zip(before, layer.get_weights(), strict=True):
            np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("given", [np.float32, np.float64, np.float16, np.int32, ">f8"])
def test_dtype(dtype: str, given: Any) -> None:
    layer = built(dtype=dtype, return_sequences=True, return_state=True)
    assert {o.dtype for o in layer(X.astype(given))} == {np.dtype(dtype)}
    assert {w.dtype for w in layer.get_weights()} == {np.dtype(dtype)}


def test_dropout_is_nothing_at_inference() -> None:
    layer = built(dropout=0.5, recurrent_dropout=0.5, seed=1, name="dropper")
    plain = built()
    plain.set_weights(layer.get_weights())
    np.testing.assert_array_equal(layer(X), plain(X))
    np.testing.assert_array_equal(plain(X, training=True), plain(X))


@pytest.mark.parametrize("shape", [(0, 4, 2), (3, 0, 2)])
@pytest.mark.parametrize("sequences", [False, True])
def test_empty(shape: tuple[int, int, int], sequences: bool) -> None:
    layer = built(return_sequences=sequences)
    y = layer(np.zeros(shape, np.float32))
    assert y.shape == ((*shape[:2], 5) if sequences else (shape[0], 5))


@pytest.mark.parametrize("shape", [(2, 5, 3), (40, 60, 32)])
def test_number_of_threads_does_not_change_a_bit(shape: tuple[int, int, int]) -> None:
    layer = fm.layers.LSTM(48, return_sequences=True)
    random = np.random.default_rng(0)
    x = random.normal(size=shape).astype(np.float32)
    x = fm.Masked(x, random.random(shape[:2]) < 0.6)
    before = fm.get_num_threads()
    results = []
    try:
        for threads in (1, 2, 3, 8, 1):
            fm.set_num_threads(threads)
            results.append(layer(x).data)
    finally:
        fm.set_num_threads(before)
    for result in results[1:]:
        np.testing.assert_array_equal(result, results[0])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork on this system")
def test_after_a_fork() -> None:
    code = """
import os, sys, warnings
import numpy as np
import fastmask as fm
warnings.simplefilter("ignore")  # Python 3.12 warns of forks beside threads: this is the test
fm.set_num_threads(2)
layer = fm.layers.LSTM(64, return_sequences=True)
x = np.random.default_rng(0).normal(size=(32, 50, 16)).astype(np.float32)
expected = layer(x)
for _ in range(3):
    child = os.fork()
    if child == 0:
        os._exit(0 if (layer(x) == expected).all() else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert (layer(x) == expected).all()
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=250
    )
    assert done.returncode == 0, done.stderr


def test_eight_threads_at_once() -> None:
    layer = fm.layers.LSTM(16, return_sequences=True)  # not built: they build it, too
    random = np.random.default_rng(0)
    xs = [random.normal(size=(4, 20, 8)).astype(np.float32) for _ in range(8)]
    results: dict[int, Any] = {}
    start = threading.Barrier(8)

    def work(i: int) -> None:
        start.wait()
        for _ in range(5):
            results[i] = layer(xs[i])

    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(layer.get_weights()) == 3
    for i, x in enumerate(xs):
        np.testing.assert_array_equal(results[i], layer(x))


def pickled(x: object) -> object:
    return pickle.loads(pickle.dumps(x))  # noqa: S301 - own bytes


@pytest.mark.parametrize("clone", [copy.deepcopy, pickled])
def test_copies(clone: Any) -> None:
    layer = built()
    expected = layer(X)
    other = clone(layer)
    np.testing.assert_array_equal(other(X), expected)
    other.set_weights([w * 0 for w in other.get_weights()])
    np.testing.assert_array_equal(layer(X), expected)


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"units": 0}, ValueError, "units must be at least 1, not 0"),
        ({"units": 2.0}, TypeError, "units must be an integer, not 2.0"),
        ({"activation": "swoosh"}, ValueError, "activation must be one of .* not 'swoosh'"),
        ({"activation": "softmax"}, ValueError, "activation must be one of 'linear', 'relu'"),
        ({"recurrent_activation": np.tan}, ValueError, "recurrent_activation must be one of"),
        ({"activation": 3}, TypeError, "activation must be one of .*, not 3"),
        ({"use_bias": "x"}, TypeError, "use_bias must be True or False"),
        ({"dropout": 1.5}, ValueError, "dropout must be between 0 and 1, not 1.5"),
        ({"recurrent_dropout": "a"}, TypeError, "recurrent_dropout must be a number, not 'a'"),
        ({"seed": -1}, ValueError, "seed must be at least 0, not -1"),
        ({"kernel_initializer": "x"}, ValueError, "kernel_initializer must be one of"),
        ({"name": 3}, TypeError, "name must be a string, not 3"),
        ({"dtype": "float16"}, ValueError, "dtype must be one of 'float32', 'float64'"),
        ({"unknown": 3}, TypeError, "unknown"),
    ],
)
def test_refuses_options(options: dict[str, Any], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        fm.layers.LSTM(**{"units": 4, **options})


@pytest.mark.parametrize(
    ("x", "error", "words"),
    [
        (X[:, :, :1], ValueError, r"'lstm' must have 2 features, not 1 \(shape \(3, 4, 1\)\)"),
        (X[0], ValueError, r"'lstm' must have shape \(batch, time, features\), not \(4, 2\)"),
        (X.astype(object), TypeError, "inputs must hold real numbers, not dtype object"),
        (X.astype(complex), TypeError, "complex128"),
        (np.full(X.shape, "a"), TypeError, "inputs must hold real numbers, not dtype <U1"),
        ([[[1.0, 2.0]], [[1.0]]], ValueError, "inputs must be an array, but its rows differ"),
    ],
)
def test_refuses_inputs(x: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        built(name="lstm")(x)


def test_refuses_to_build() -> None:
    with pytest.raises(ValueError, match=r"must have shape \(batch, time, features\), not"):
        fm.layers.LSTM(3).build((None, 4))
    with pytest.raises(ValueError, match=r"input_shape of layer 'lstm.*' must have a known"):
        fm.layers.LSTM(3).build((None, 4, None))


@pytest.mark.parametrize("sequences", [False, True])
@pytest.mark.parametrize("states", [False, True])
def test_output_shape(sequences: bool, states: bool) -> None:
    layer = built(return_sequences=sequences, return_state=states)
    outputs = layer(X)
    shapes = [o.shape for o in outputs] if states else outputs.shape
    assert layer.compute_output_shape(X.shape) == shapes
