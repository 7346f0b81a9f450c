"""fastmask.keras on TensorFlow: functions, XLA and SavedModels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.keras_cases import found_by, random_case, the_keras

pytestmark = [
    pytest.mark.optional,
    pytest.mark.filterwarnings("ignore"),  # of TensorFlow's own, and of Keras's about XLA
]
keras = the_keras()
if keras.config.backend() != "tensorflow":
    pytest.skip("needs Keras's TensorFlow backend", allow_module_level=True)

import tensorflow as tf  # noqa: E402 - the backend

import fastmask.keras as fk  # noqa: E402 - needs Keras

layers = keras.layers


def model(**options: Any) -> Any:
    keras.utils.set_random_seed(1)
    made = keras.Sequential([keras.Input((5, 3)), layers.Masking(), layers.LSTM(4)])
    made.compile("sgd", "mse", **options)
    return made


def inputs() -> Any:
    x = np.random.default_rng(0).standard_normal((6, 5, 3)).astype("float32")
    x[0, 2:] = x[1] = x[3, 1:3] = 0
    return x


def test_random_layers() -> None:
    for number in range(7):
        case = random_case(keras, number)
        expected = found_by(keras, case)
        fk.convert(case.layer)
        for one, other in zip(found_by(keras, case), expected, strict=True):
            np.testing.assert_allclose(one, other, 1e-5, 1e-5, err_msg=case.name)


def test_xla_is_left_out_for_these_models_only() -> None:
    x, other = inputs(), model(jit_compile=True)
    mine = model(jit_compile=True)
    expected = mine.predict(x, verbose=0)
    fk.convert(mine)
    assert (mine.jit_compile, other.jit_compile) == (False, True)
    mine.fit(x, np.zeros((6, 4)), verbose=0)
    mine.set_weights(other.get_weights())
    np.testing.assert_allclose(mine.predict(x, verbose=0), expected, 0, 1e-5)
    fk.revert(mine)
    assert all(layer.supports_jit for layer in mine.layers)


def test_saved_model(tmp_path: Path) -> None:
    mine = model()
    fk.convert(mine)
    x = inputs()
    with pytest.raises(Exception, match=r"export the model within `with fastmask.keras.plain"):
        mine.export(tmp_path / "refused", verbose=False)
    with fk.plain():
        mine.export(tmp_path / "plain", verbose=False)
    loaded = tf.saved_model.load(tmp_path / "plain")
    np.testing.assert_allclose(loaded.serve(x), mine.predict(x, verbose=0), 0, 1e-5)


def test_gradients_of_gradients_are_an_error() -> None:
    layer = layers.GRU(4)
    fk.convert(layer)
    x = tf.constant(inputs())
    with tf.GradientTape() as outer:
        outer.watch(x)
        with tf.GradientTape() as inner:
            inner.watch(x)
            total = tf.reduce_sum(layer(x))
        gradient = inner.gradient(total, x)
    with pytest.raises(NotImplementedError, match="no gradients of gradients"):
        outer.gradient(gradient, x)


def test_gradients_without_training_are_those_with() -> None:
    """Without `training`, forward saves nothing, and backward computes it again."""
    layer = layers.LSTM(4, return_sequences=True)
    x = tf.constant(inputs())
    mask = tf.constant(np.random.default_rng(1).random((6, 5)) < 0.6)

    def gradients(training: bool) -> Any:
        with tf.GradientTape() as tape:
            total = tf.reduce_sum(layer(x, mask=mask, training=training) ** 2)
        return tape.gradient(total, layer.trainable_variables)

    expected = gradients(False)
    fk.convert(layer)
    for training in (False, True):
        for one, other in zip(gradients(training), expected, strict=True):
            np.testing.assert_allclose(one, other, 0, 1e-5)
