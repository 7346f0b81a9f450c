"""After a change of a layer's weights has returned, every later call uses the new ones."""

from __future__ import annotations

import copy
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

import fastmask as fm
from fastmask.backends import recurrent as _recurrent
from fastmask.layers._weights import change

LAYERS = {
    "LSTM": lambda: fm.layers.LSTM(5),
    "GRU": lambda: fm.layers.GRU(5),
    "SimpleRNN": lambda: fm.layers.SimpleRNN(5),
    "Bidirectional": lambda: fm.layers.Bidirectional(fm.layers.LSTM(5)),
    "RNN": lambda: fm.layers.RNN([fm.layers.GRUCell(4), fm.layers.LSTMCell(5)]),
    "Sequential": lambda: fm.Sequential([fm.layers.LSTM(4), fm.layers.Dense(2)]),
}
each_layer = pytest.mark.parametrize("name", LAYERS)


def layer_and_inputs(name: str, seed: int = 0) -> tuple[Any, Any, np.random.Generator]:
    random = np.random.default_rng(seed)
    layer, x = LAYERS[name](), random.normal(size=(3, 6, 4)).astype(np.float32)
    layer(x)
    return layer, x, random


def new_weights(layer: Any, random: np.random.Generator) -> list[Any]:
    return [random.normal(size=one.shape).astype(one.dtype) for one in layer.weights]


def expected_of(name: str, x: Any, weights: list[Any]) -> Any:
    """The result of a layer that never had other weights."""
    layer = LAYERS[name]()
    layer.build(x.shape)
    layer.set_weights(weights)
    return layer(x)


def through_pickle(value: Any) -> Any:
    return pickle.loads(pickle.dumps(value))  # noqa: S301 - our own


@each_layer
def test_beside_calls_of_another_thread(name: str) -> None:
    layer, x, random = layer_and_inputs(name)
    done = threading.Event()

    def call() -> None:
        while not done.is_set():
            layer(x)

    with ThreadPoolExecutor(1) as pool:
        other = pool.submit(call)
        try:
            for _ in range(60):
                weights = new_weights(layer, random)
                layer.set_weights(weights)
                np.testing.assert_array_equal(layer(x), expected_of(name, x, weights))
        finally:
            done.set()
        other.result()


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_change_while_another_thread_packs(when: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other thread reads before or after the change, and caches its packed weights after it."""
    layer, x, random = layer_and_inputs("LSTM")
    layer.set_weights(new_weights(layer, random))
    weights = new_weights(layer, random)
    packing, changed = threading.Event(), threading.Event()
    pack, slow = _recurrent.pack, threading.local()

    def held(*arguments: Any) -> Any:
        if not hasattr(slow, "yes"):
            return pack(*arguments)
        found = pack(*arguments) if when == "before" else None
        packing.set()
        assert changed.wait(60)
        return pack(*arguments) if found is None else found

    def call() -> None:
        slow.yes = True
        layer(x)

    monkeypatch.setattr(_recurrent, "pack", held)
    with ThreadPoolExecutor(1) as pool:
        other = pool.submit(call)
        assert packing.wait(60)
        layer.set_weights(weights)
        changed.set()
        other.result()
    np.testing.assert_array_equal(layer(x), expected_of("LSTM", x, weights))


def test_a_call_in_the_middle_of_a_change() -> None:
    """It packs a mixture, which no later call uses."""
    layer, x, random = layer_and_inputs("LSTM")
    weights = new_weights(layer, random)

    def write() -> None:
        own = layer.cell._weights
        own[0].value[...] = weights[0]
        layer(x)
        own[1].value[...] = weights[1]
        own[2].value[...] = weights[2]

    change([layer.cell._weights], write)
    np.testing.assert_array_equal(layer(x), expected_of("LSTM", x, weights))


@each_layer
def test_copies_that_share_their_weights(name: str) -> None:
    layer, x, random = layer_and_inputs(name)
    twin = copy.copy(layer)
    weights = new_weights(layer, random)
    for one, other in ((layer, twin), (twin, layer)):
        twin(x), layer(x)
        one.set_weights(weights)
        np.testing.assert_array_equal(other(x), expected_of(name, x, weights))
        weights = new_weights(layer, random)


def test_a_shallow_copy_of_a_cell() -> None:
    layer, x, random = layer_and_inputs("LSTM")
    twin = fm.layers.RNN(copy.copy(layer.cell))
    twin(x)
    weights = new_weights(layer, random)
    layer.set_weights(weights)
    np.testing.assert_array_equal(twin(x), expected_of("LSTM", x, weights))


@each_layer
@pytest.mark.parametrize("how", ["deepcopy", "pickle"])
def test_copies_with_weights_of_their_own(name: str, how: str) -> None:
    layer, x, random = layer_and_inputs(name)
    twin = copy.deepcopy(layer) if how == "deepcopy" else through_pickle(layer)
    before, weights = layer(x), new_weights(layer, random)
    np.testing.assert_array_equal(twin(x), before)
    twin.set_weights(weights)
    np.testing.assert_array_equal(twin(x), expected_of(name, x, weights))
    np.testing.assert_array_equal(layer(x), before)
    assert not any(weight.value.flags.writeable for weight in twin._all_weights())


@pytest.mark.parametrize("copied", [False, True])
def test_weights_of_built_in_layers_cannot_be_written_to(copied: bool) -> None:
    layer: Any
    for layer, names in (
        (fm.layers.LSTM(3), ("kernel", "recurrent_kernel", "bias")),
        (fm.layers.Dense(3), ("kernel", "bias")),
        (fm.layers.BatchNormalization(), ("gamma", "beta", "moving_mean", "moving_variance")),
    ):
        layer.build((None, 4, 2))
        layer = through_pickle(layer) if copied else layer
        for array in (*(getattr(layer, name) for name in names), *layer.weights):
            view = array[:1]
            for one in (array, view):
                with pytest.raises(ValueError, match="read-only"):
                    one[...] = 0
            with pytest.raises(ValueError, match="WRITEABLE"):
                view.flags.writeable = True
    dense = fm.layers.Dense(3)
    dense.build((None, 2))
    with pytest.raises(AttributeError, match=r"'kernel' is a weight of layer .*: use set_weights"):
        dense.kernel = np.ones((2, 3))


def test_cells_derived_from_built_in_ones_are_sealed() -> None:
    class Mine(fm.layers.LSTMCell):
        def build(self, input_shape: Any) -> None:
            super().build(input_shape)
            self.first = self._weights[0].value

    cell = Mine(3)
    fm.layers.RNN(cell)(np.ones((2, 4, 3)))
    with pytest.raises(ValueError, match="read-only"):
        cell.first[...] = 0


def test_moving_moments_move_after_a_copy() -> None:
    layer = fm.layers.BatchNormalization(momentum=0.5)
    x = np.float32([[2.0], [4.0]])
    layer(x, training=True)
    copy.deepcopy(layer)(x, training=True)
    np.testing.assert_allclose(layer.moving_mean, [1.5])
    with pytest.raises(ValueError, match="read-only"):
        layer.moving_mean[...] = 0


def test_a_change_that_fails_changes_nothing() -> None:
    layer, _, _ = layer_and_inputs("LSTM")
    before = layer.get_weights()
    large = before[1].astype(np.float64) + 1e300
    with np.errstate(over="raise"), pytest.raises(FloatingPointError):
        layer.set_weights([before[0] * 2, large, before[2]])
    for one, other in zip(layer.get_weights(), before, strict=True):
        np.testing.assert_array_equal(one, other)


def test_weights_change_places() -> None:
    layer = fm.layers.Bidirectional(fm.layers.GRU(4))
    layer.build((None, None, 4))
    before = layer.get_weights()
    layer.set_weights(layer.weights[3:] + layer.weights[:3])
    for one, other in zip(layer.get_weights(), before[3:] + before[:3], strict=True):
        np.testing.assert_array_equal(one, other)
