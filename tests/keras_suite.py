"""Keras's own tests of its recurrent layers, with fastmask's layers in their place.

The installed Keras brings its tests along. Here each test file is run with a namespace `layers`
whose layers are ours; `run_layer_test`, which looks into Keras's trainers and variables, becomes
the part of it that means something here. pytest collects the classes from this file when
test_keras_suite.py names it, in a process of its own because Keras's modules are changed.
"""

from __future__ import annotations

import importlib.util
import inspect
import sys
from types import SimpleNamespace
from typing import Any
from unittest import mock

import keras
import numpy as np
import pytest
from keras import src as keras_src
from keras.src import models, testing

import fastmask as fm
from fastmask._serial import serialize

FILES = ("rnn", "stacked_rnn_cells", "simple_rnn", "lstm", "gru", "bidirectional")
FUSED = "looks at a fused path of Keras's own that needs a GPU"
GAPS = {
    "test_keeps_use_cudnn": FUSED,
    "test_fused_lstm_eligibility": FUSED,
    "test_fused_lstm_matches_unfused": FUSED,
    "test_fused_gru_eligibility": FUSED,
    "test_fused_gru_matches_unfused": FUSED,
    "test_torch_cudnn_bidirectional_gru_dispatch_fires": FUSED,
    "test_torch_cudnn_dispatch_fires": FUSED,
    "test_stateful_with_symbolic_batch_size": "calls the layer in a TensorFlow function",
}
NOT_OURS = ("implementation", "use_cudnn")  # how Keras computes; the results are the same
REGULARIZERS = ("kernel_regularizer", "recurrent_regularizer", "bias_regularizer")


class Layer(fm.layers.Layer):
    """Keras finds out by itself how a layer was made; the cells in its tests count on that."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        layer = super().__new__(cls)
        bound = inspect.signature(cls.__init__).bind(None, *args, **kwargs).arguments
        layer.__dict__["_made_with"] = {k: v for k, v in bound.items() if k != "self"}
        return layer

    def get_config(self) -> dict[str, Any]:
        given = dict(self.__dict__["_made_with"])
        return {**super().get_config(), **given.pop("kwargs", {}), **given}


def with_plain_outputs(cls: Any) -> Any:
    """The layer class, returning arrays where ours returns `Masked`."""

    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:
        cls.__init__(self, *args, **{k: v for k, v in kwargs.items() if k not in NOT_OURS})

    def __call__(self: Any, *args: Any, **kwargs: Any) -> Any:
        outputs = cls.__call__(self, *args, **kwargs)
        if isinstance(outputs, tuple):
            return tuple(getattr(one, "data", one) for one in outputs)
        return outputs.data if isinstance(outputs, fm.Masked) else outputs

    return type(cls.__name__, (cls,), {"__init__": __init__, "__call__": __call__})


class TestCase(testing.TestCase):
    def run_layer_test(
        self,
        layer_cls: Any,
        init_kwargs: dict[str, Any],
        input_shape: tuple[int, ...],
        expected_output_shape: tuple[int, ...],
        expected_num_trainable_weights: int,
        expected_num_non_trainable_weights: int,
        supports_masking: bool,
        call_kwargs: dict[str, Any] | None = None,
        **_ours_has_none: Any,  # losses, seed generators, variables, mixed precision
    ) -> None:
        options = {k: v for k, v in init_kwargs.items() if k not in REGULARIZERS}
        layer = layer_cls(**options)
        x = np.random.default_rng(0).normal(size=input_shape).astype(np.float32)
        output = layer(x, **(call_kwargs or {}))
        assert output.shape == expected_output_shape
        assert layer.compute_output_shape(input_shape) == expected_output_shape
        count = expected_num_trainable_weights + expected_num_non_trainable_weights
        assert len(layer.get_weights()) == count
        assert layer.supports_masking == supports_masking
        again = layer_cls.from_config(layer.get_config())
        again.build(input_shape)
        again.set_weights(layer.get_weights())
        self.assertAllClose(again(x), layer(x))
        symbolic = layer(fm.Input(input_shape[1:]))
        assert symbolic.shape == (None, *expected_output_shape[1:])

    def run_class_serialization_test(self, instance: Any, custom_objects: Any = None) -> Any:
        del custom_objects
        again = type(instance).from_config(instance.get_config())
        assert serialize(again) == serialize(instance)
        return again


def shim() -> SimpleNamespace:
    """What the tests find under the name `layers`."""
    names = ("LSTM", "GRU", "SimpleRNN", "RNN", "Bidirectional")
    found = {name: with_plain_outputs(getattr(fm.layers, name)) for name in names}
    cells = ("LSTMCell", "GRUCell", "SimpleRNNCell", "StackedRNNCells")
    found |= {name: getattr(fm.layers, name) for name in cells}
    return SimpleNamespace(
        **found,
        Layer=Layer,
        Input=lambda shape, batch_size: fm.Input(shape),  # noqa: ARG005 - Keras's form
    )


def load(name: str) -> Any:
    """The test classes in a test file of Keras."""
    full = f"keras.src.layers.rnn.{name}_test"
    spec = importlib.util.find_spec(full)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[full] = module  # where the tests of stacked cells look for the cells
    spec.loader.exec_module(module)
    for key, value in vars(module).items():
        if isinstance(value, type) and issubclass(value, TestCase):
            for gap in GAPS.keys() & vars(value):
                setattr(value, gap, pytest.mark.skip(GAPS[gap])(getattr(value, gap)))
            globals()[f"{name.title().replace('_', '')}Test_{key}"] = value


OURS = {
    "layers": shim(),
    "initializers": fm.initializers,
    "testing": SimpleNamespace(**{**vars(testing), "TestCase": TestCase}),
    "ops": SimpleNamespace(
        matmul=np.matmul,
        random=SimpleNamespace(uniform=lambda shape: np.random.default_rng(0).random(shape)),
    ),
}
models.Functional = fm.Model  # which a test imports when it runs
with mock.patch.multiple(keras_src, **OURS):
    for _name in FILES:
        load(_name)


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "GRU_before", "SimpleRNN"])
@pytest.mark.parametrize("rates", [(0.4, 0.0), (0.0, 0.4), (0.4, 0.4)])
@pytest.mark.parametrize("masked", [False, True])
def test_dropout_like_keras(kind: str, rates: tuple[float, float], masked: bool) -> None:
    """Keras gets what we drew, as if it had drawn it, and then computes the same."""
    name = kind.removesuffix("_before")
    options: dict[str, Any] = {"dropout": rates[0], "recurrent_dropout": rates[1], "seed": 1}
    if name == "GRU":
        options["reset_after"] = name == kind
    random = np.random.default_rng(0)
    x = random.normal(size=(5, 6, 3)).astype(np.float32)
    mask = random.random((5, 6)) < 0.6 if masked else None
    ours, theirs = (
        getattr(space, name)(4, return_sequences=True, **options)
        for space in (fm.layers, keras.layers)
    )
    for layer in (ours, theirs):
        layer.build((5, 6, 3))
    weights = [0.5 * random.normal(size=w.shape) for w in ours.get_weights()]
    ours.set_weights(weights)
    theirs.set_weights(weights)
    cell = theirs.cell
    drawn = getattr(fm.layers, name)(4, **options)
    drawn.build((5, 6, 3))
    for kept, attribute in zip(
        drawn.cell._draw(5), ("_dropout_mask", "_recurrent_dropout_mask"), strict=True
    ):
        if kept is not None:
            tensors = [keras.ops.convert_to_tensor(one) for one in kept]
            many = hasattr(cell, "dropout_mask_count")
            setattr(cell, attribute, tensors if many else tensors[0])
    y = ours(x, mask=mask, training=True)
    y = y.data if isinstance(y, fm.Masked) else y
    expected = theirs(
        x, mask=None if mask is None else keras.ops.convert_to_tensor(mask), training=True
    )
    np.testing.assert_allclose(y, keras.ops.convert_to_numpy(expected), rtol=0, atol=1e-6)
