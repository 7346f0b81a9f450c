"""fastmask.keras on TensorFlow: the buffer pool, and saved values that backward overwrites."""

from __future__ import annotations

import gc
import threading
from typing import Any

import numpy as np
import pytest

from tests.keras_cases import the_keras

pytestmark = [
    pytest.mark.optional,
    pytest.mark.filterwarnings("ignore"),  # TensorFlow's own
]
keras = the_keras()
if keras.config.backend() != "tensorflow":
    pytest.skip("needs Keras's TensorFlow backend", allow_module_level=True)

import tensorflow as tf  # noqa: E402 - the backend

import fastmask.keras as fk  # noqa: E402 - needs Keras
from fastmask.backends.layer import Layer  # noqa: E402 - after the check that TensorFlow is there
from fastmask.keras import _packed, _tensorflow  # noqa: E402 - after the check that TensorFlow is there
from fastmask.keras._reuse import LEAST, Reuse  # noqa: E402 - after the check that TensorFlow is there

F32 = np.dtype(np.float32)
BYTES = np.dtype(np.uint8)


def test_memory_is_used_again_when_nobody_refers_to_it() -> None:
    memory = Reuse(8 * LEAST)
    first = memory.empty((LEAST // 8, 4), F32)
    place = first.ctypes.data
    assert (first.shape, first.dtype, place % 64) == ((LEAST // 8, 4), F32, 0)
    view = first[3:, 1]
    del first
    assert memory.empty((LEAST // 2,), F32).ctypes.data != place  # the view refers to it
    del view
    assert memory.empty((LEAST // 4 - 100, 1), np.dtype(float)).ctypes.data == place


def test_memory_that_is_kept_is_bounded() -> None:
    memory = Reuse(8 * LEAST)
    held = [memory.empty((LEAST + 5000 * n,), BYTES) for n in range(20)]
    for n, array in enumerate(held):
        array[:] = n
    assert 0 < memory.size <= 8 * LEAST
    assert all((array == n).all() for n, array in enumerate(held))
    for size in (8 * LEAST + 1, 8 * LEAST, 8 * LEAST - 1, 15 * LEAST // 2 + 1):  # too large
        assert memory.empty((size,), BYTES).shape == (size,)
    assert memory.size <= 8 * LEAST
    memory = Reuse(8 * LEAST)
    memory.empty((LEAST,), BYTES)
    before = memory.size
    memory.empty((LEAST - 1,), BYTES)  # too small
    assert memory.size == before


def test_threads_get_memory_of_their_own() -> None:
    memory, wrong = Reuse(64 * LEAST), []

    def work(number: int) -> None:
        for _ in range(200):
            array = memory.empty((LEAST,), BYTES)
            array[:] = number
            if not (array == number).all():
                wrong.append(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def layer_and_inputs(kind: str, seed: int, **options: Any) -> tuple[Any, Any, Any]:
    """A layer large enough for the buffer pool, its input, and a mask."""
    keras.utils.set_random_seed(seed)
    rng = np.random.default_rng(seed)
    layer = getattr(keras.layers, kind)(32, return_sequences=True, **options)
    x = tf.constant(rng.standard_normal((8, 80, 24)), tf.float32)
    layer.build(x.shape)
    return layer, x, tf.constant(rng.random((8, 80)) < 0.7)


def gradients(layer: Any, x: Any, mask: Any) -> list[Any]:
    with tf.GradientTape() as tape:
        tape.watch(x)
        total = tf.reduce_sum(layer(x, mask=mask, training=True) ** 2)
    found: list[Any] = tape.gradient(total, [x, *layer.trainable_variables])
    return found


def close(found: list[Any], expected: list[Any]) -> None:
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, 1e-4, 1e-4)


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "SimpleRNN"])
@pytest.mark.parametrize("graph", [True, False])
def test_a_second_backward_pass_makes_again_what_the_first_used_up(kind: str, graph: bool) -> None:
    layer, x, mask = layer_and_inputs(kind, 2)
    expected = tf.function(gradients)(layer, x, mask)
    fk.convert(layer)

    def twice(x: Any, mask: Any) -> Any:
        with tf.GradientTape(persistent=True) as tape:
            tape.watch(x)
            total = tf.reduce_sum(layer(x, mask=mask, training=True) ** 2)
            doubled = 2 * total
        sources = [x, *layer.trainable_variables]
        return tape.gradient(total, sources), tape.gradient(doubled, sources)

    first, second = (tf.function(twice) if graph else twice)(x, mask)
    close(first, expected)
    close(second, [2 * one for one in expected])


def test_many_forward_passes_before_their_backward_passes(monkeypatch: Any) -> None:
    """The pool keeps memory up to its limit; each pass still has memory of its own."""
    monkeypatch.setattr(_tensorflow, "_memory", memory := Reuse(1 << 20))
    layer, x, mask = layer_and_inputs("LSTM", 3)
    fk.convert(layer)
    inputs = [x * (1 + n / 100) for n in range(100)]
    function = tf.function(gradients)
    expected = [function(layer, one, mask) for one in inputs[::33]]
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(inputs)
        totals = [tf.reduce_sum(layer(one, mask=mask, training=True) ** 2) for one in inputs]
    for total, one, wanted in zip(totals[::33], inputs[::33], expected, strict=True):
        close(tape.gradient(total, [one, *layer.trainable_variables]), wanted)
    assert memory.size <= 1 << 20


def test_nothing_grows_while_training() -> None:
    model, y = small_model(4), np.zeros((8, 1), np.float32)
    rng = np.random.default_rng(4)
    batches = []
    for n in range(8):
        ids = rng.integers(1, 50, (8, 60))
        ids[:, 40 + n :] = 0
        batches.append(ids)

    def steps(count: int) -> tuple[int, int]:
        for n in range(count):
            model.train_on_batch(batches[n % 8], y)
            model.predict_on_batch(batches[n % 8])
        gc.collect()
        return _tensorflow._memory.size, len(gc.get_objects())

    steps(16)
    size, objects = steps(16)
    after_size, after_objects = steps(200)
    assert after_size == size <= _tensorflow._memory._most
    assert after_objects < objects + 100


def small_model(seed: int) -> Any:
    keras.utils.set_random_seed(seed)
    lstm = keras.layers.LSTM(32, return_sequences=True)
    made = keras.Sequential(
        [
            keras.Input((60,), dtype="int32"),
            keras.layers.Embedding(50, 64, mask_zero=True),
            keras.layers.Bidirectional(lstm),
            keras.layers.GRU(32),
            keras.layers.Dense(1),
        ]
    )
    made.compile("sgd", "mse")
    fk.convert(made)
    return made


def test_models_in_turns_and_in_threads_train_as_alone() -> None:
    rng = np.random.default_rng(5)
    ids = rng.integers(1, 50, (4, 8, 60))
    ids[:, :4, 45:] = 0
    y = rng.standard_normal((8, 1)).astype("float32")

    def train(model: Any) -> None:
        for batch in ids:
            model.train_on_batch(batch, y)

    alone, turns, threads = ([small_model(seed) for seed in (6, 7)] for _ in range(3))
    for model in alone:
        train(model)
    for batch in ids:
        for model in turns:
            model.train_on_batch(batch, y)
    started = [threading.Thread(target=train, args=(model,)) for model in threads]
    for thread in started:
        thread.start()
    for thread in started:
        thread.join()
    for models in (turns, threads):
        for model, other in zip(models, alone, strict=True):
            close(model.get_weights(), other.get_weights())


def test_predictions_see_weights_that_changed() -> None:
    layer, x, mask = layer_and_inputs("GRU", 8)
    half = [weight / 2 for weight in layer.get_weights()]
    plain, mine = (tf.function(lambda: layer(x, mask=mask, training=False)) for _ in range(2))
    expected = [plain()]
    layer.set_weights(half)
    expected.append(plain())
    fk.convert(layer)
    found = [mine(), mine()]
    layer.set_weights([weight * 2 for weight in half])
    found.append(mine())
    for one, other in zip(found, [expected[1], expected[1], expected[0]], strict=True):
        np.testing.assert_allclose(one, other, 0, 1e-5)


def test_packed_weights_follow_weights_that_change_in_place() -> None:
    rng = np.random.default_rng(9)
    layer = Layer("LSTM", ("tanh", "sigmoid"), False, False, False, False)
    shapes = (3, 32), (8, 32), (32,)
    weights = [rng.standard_normal(shape).astype("float32") for shape in shapes]
    given = [np.ones((1, 2, 3), F32), np.zeros((0, 0), bool), *np.ones((2, 1, 8), F32), *weights]
    first = _packed.packed(layer, weights)
    assert _packed.packed(layer, weights) is first
    for weight in weights:
        weight[-1] *= -1
        expected, found = (_tensorflow._forward(layer, saves, *given)[0] for saves in (True, False))
        np.testing.assert_array_equal(found, expected)
    for _ in range(100):
        _packed.packed(layer, [np.full((9999, 32), 0.5, "float32"), *weights[1:]])
    assert _packed._slots.cache_info().size <= _packed.MOST_KEPT
