"""Keras's own tests of layers that make, use or join masks, run on fastmask's layers.

The installed Keras includes its tests. Here each test file runs with a namespace `layers` whose
layers are ours; `run_layer_test`, which inspects Keras's trainers and variables, is reduced to the
part that applies here. pytest collects the classes from this file when test_keras_suite.py names
it, in a process of its own because Keras's modules are changed.
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
from fastmask.models.config import serialize

FILES = (
    *("rnn.rnn", "rnn.stacked_rnn_cells", "rnn.simple_rnn", "rnn.lstm", "rnn.gru"),
    *("rnn.bidirectional", "rnn.time_distributed", "core.masking", "core.embedding"),
    "merging.merging",
)
# From 3.16 on, Keras's recurrent layers and TimeDistributed declare that they pass no masks on;
# ours pass them on, as Keras's did before.
KERAS = tuple(map(int, keras.__version__.split(".")[:2]))
MASKS_KEPT = () if KERAS < (3, 16) else ("RNN", "LSTM", "GRU", "SimpleRNN", "Bidirectional")
MASKS_KEPT += () if KERAS < (3, 16) else ("TimeDistributed",)
FUSED = "looks at a fused path of Keras's own that needs a GPU"
TRAINING = "is about arguments of training"
VARIABLES = "assigns to, or reads, a variable of Keras's"
QUANTIZED = "looks at Keras's quantized variables"
GAPS = {  # tests by the prefixes of their names
    "test_keeps_use_cudnn": FUSED,
    "test_fused_lstm_eligibility": FUSED,
    "test_fused_lstm_matches_unfused": FUSED,
    "test_fused_gru_eligibility": FUSED,
    "test_fused_gru_matches_unfused": FUSED,
    "test_torch_cudnn_bidirectional_gru_dispatch_fires": FUSED,
    "test_torch_cudnn_dispatch_fires": FUSED,
    "test_stateful_with_symbolic_batch_size": "calls the layer in a TensorFlow function",
    "test_with_mask_zero": "trains the model",
    "test_masking_with_tensor": "saves the model in Keras's format",
    "test_concatenate_with_mask_symbolic": "has a mask as the output of a model",
    "test_dot_higher_dim": "expects batches of one size",
    "test_weights_constructor_arg": VARIABLES,
    "EmbeddingTest.test_correctness": VARIABLES,
    "EmbeddingTest.test_masking": "asks for the mask of ids without steps",
    "test_mask_validation_with_3d_mask": "has a mask that fits no axis within the steps",
    "test_build": "wraps Conv2D, a layer of images",
    "test_embedding_constraints": TRAINING,
    "test_enable_lora": TRAINING,
    "test_lora": TRAINING,
    "test_quantize": QUANTIZED,
    "test_embedding_quantize": QUANTIZED,
    "test_embedding_int8": QUANTIZED,
    "test_int4": QUANTIZED,
    "test_legacy_load_own_variables": "reads an older form of Keras's own files",
}
NOT_OURS = ("implementation", "use_cudnn")  # how Keras computes; the results are the same
REGULARIZERS = ("kernel_regularizer", "recurrent_regularizer", "bias_regularizer")


AS_THEY_ARE = (
    *("Dense", "Embedding", "Masking", "TimeDistributed", "Add", "Subtract", "Maximum", "Minimum"),
    *("Multiply", "Average", "Concatenate", "Dot"),
)


class Layer(fm.layers.Layer):
    """Keras records a layer's arguments by itself; the cells in its tests rely on that."""

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


class Wrapper(Layer):
    """Keras's base class of layers that wrap another one."""

    def __init__(self, layer: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.layer = layer

    def build(self, input_shape: Any) -> None:
        self.layer.build(input_shape)


def with_plain_outputs(cls: Any) -> Any:
    """The layer class, but returning arrays instead of `Masked`."""

    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:
        cls.__init__(self, *args, **{k: v for k, v in kwargs.items() if k not in NOT_OURS})

    def __call__(self: Any, *args: Any, **kwargs: Any) -> Any:
        outputs = cls.__call__(self, *args, **kwargs)
        if isinstance(outputs, tuple):
            return tuple(getattr(one, "data", one) for one in outputs)
        return outputs.data if isinstance(outputs, fm.Masked) else outputs

    return type(cls.__name__, (cls,), {"__init__": __init__, "__call__": __call__})


def of_shapes(shape: Any, make: Any) -> Any:
    """The result of `make` for a shape, or a list of results for several shapes."""
    return [make(one) for one in shape] if isinstance(shape[0], tuple) else make(shape)


def numbers(shape: tuple[int, ...], dtype: str) -> Any:
    random = np.random.default_rng(0)
    return (
        random.normal(size=shape).astype(dtype)
        if "float" in dtype
        else random.integers(0, 4, shape)
    )


def plain(value: Any) -> Any:
    """An output, or a mask, as an array."""
    if isinstance(value, fm.Masked):
        return value.data
    return value.valid if isinstance(value, fm.Mask) else value


class TestCase(testing.TestCase):
    def run_layer_test(
        self,
        layer_cls: Any,
        init_kwargs: dict[str, Any],
        input_shape: tuple[Any, ...],
        expected_output_shape: tuple[int, ...],
        expected_num_trainable_weights: int,
        expected_num_non_trainable_weights: int,
        supports_masking: bool,
        call_kwargs: dict[str, Any] | None = None,
        input_dtype: str = "float32",
        **_ours_has_none: Any,  # losses, seed generators, variables, mixed precision
    ) -> None:
        options = {k: v for k, v in init_kwargs.items() if k not in REGULARIZERS}
        layer = layer_cls(**options)
        x = of_shapes(input_shape, lambda shape: numbers(shape, input_dtype))
        output = plain(layer(x, **(call_kwargs or {})))
        assert output.shape == expected_output_shape
        assert layer.compute_output_shape(input_shape) == expected_output_shape
        count = expected_num_trainable_weights + expected_num_non_trainable_weights
        assert len(layer.get_weights()) == count
        kept = layer_cls.__name__ in (*MASKS_KEPT, "Embedding")  # which may lose one, and warns
        assert layer.supports_masking == (kept or supports_masking)
        again = layer_cls.from_config(layer.get_config())
        again.build(input_shape)
        again.set_weights(layer.get_weights())
        self.assertAllClose(again(x), layer(x))
        symbolic = layer(of_shapes(input_shape, lambda shape: fm.Input(shape[1:], input_dtype)))
        assert symbolic.shape == (None, *expected_output_shape[1:])

    def assertAllClose(self, x1: Any, x2: Any, **options: Any) -> None:
        super().assertAllClose(plain(x1), plain(x2), **options)

    def assertRaisesRegex(self, error: Any, words: Any, *call: Any, **options: Any) -> Any:
        del words  # Keras's words
        del call, options
        return pytest.raises((error, TypeError))  # ours for arguments of a wrong type

    def run_class_serialization_test(self, instance: Any, custom_objects: Any = None) -> Any:
        del custom_objects
        again = type(instance).from_config(instance.get_config())
        assert serialize(again) == serialize(instance)
        return again


def shim() -> SimpleNamespace:
    """The namespace that the tests use as `layers`."""
    names = ("LSTM", "GRU", "SimpleRNN", "RNN", "Bidirectional")
    found = {name: with_plain_outputs(getattr(fm.layers, name)) for name in names}
    cells = ("LSTMCell", "GRUCell", "SimpleRNNCell", "StackedRNNCells")
    found |= {name: getattr(fm.layers, name) for name in cells}
    return SimpleNamespace(
        **found,
        **{name: getattr(fm.layers, name) for name in AS_THEY_ARE},
        Layer=Layer,
        Wrapper=Wrapper,
        Conv2D=None,
        Input=fm.Input,
    )


def load(name: str) -> Any:
    """The test classes in a test file of Keras."""
    full = f"keras.src.layers.{name}_test"
    spec = importlib.util.find_spec(full)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[full] = module  # the tests of stacked cells look for the cells there
    spec.loader.exec_module(module)
    for key, value in vars(module).items():
        if isinstance(value, type) and issubclass(value, TestCase):
            for test in vars(value).copy():
                names = test, f"{key}.{test}"
                gap = next((g for g in GAPS for name in names if name.startswith(g)), None)
                if gap is not None:
                    setattr(value, test, pytest.mark.skip(GAPS[gap])(getattr(value, test)))
            globals()[f"{name.title().replace('_', '').replace('.', '')}Test_{key}"] = value


OURS = {
    "layers": shim(),
    "initializers": fm.initializers,
    "backend": SimpleNamespace(
        **{
            **vars(keras_src.backend),
            "get_keras_mask": fm.get_mask,
            "convert_to_tensor": np.asarray,
            "convert_to_numpy": np.asarray,
            "Variable": np.asarray,
        }
    ),
    "models": SimpleNamespace(Model=fm.Model, Sequential=fm.Sequential),
    "testing": SimpleNamespace(**{**vars(testing), "TestCase": TestCase}),
    "ops": SimpleNamespace(
        matmul=np.matmul,
        transpose=np.transpose,
        cast=lambda x, dtype: np.asarray(x, dtype),
        shape=np.shape,
        random=SimpleNamespace(uniform=lambda shape: np.random.default_rng(0).random(shape)),
    ),
}
models.Functional = fm.Model  # which a test imports when it runs
with (
    mock.patch.multiple(keras_src, **OURS),
    mock.patch.object(models, "Sequential", fm.Sequential),
    mock.patch.object(testing.test_case, "TestCase", TestCase),
):
    for _name in FILES:
        load(_name)


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "GRU_before", "SimpleRNN"])
@pytest.mark.parametrize("rates", [(0.4, 0.0), (0.0, 0.4), (0.4, 0.4)])
@pytest.mark.parametrize("masked", [False, True])
def test_dropout_like_keras(kind: str, rates: tuple[float, float], masked: bool) -> None:
    """Given the dropout masks that we drew, Keras computes the same."""
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
