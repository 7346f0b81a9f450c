"""Models that Keras has just saved give Keras's outputs."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastmask as fm

from .keras_zoo import models

pytestmark = pytest.mark.optional


def arrays(outputs: Any) -> list[Any]:
    if isinstance(outputs, dict):
        outputs = [outputs[key] for key in sorted(outputs)]
    each = outputs if isinstance(outputs, (list, tuple)) else [outputs]
    return [one.data if isinstance(one, fm.Masked) else np.asarray(one) for one in each]


@pytest.mark.parametrize("ending", [".keras", ".h5"])
def test_outputs(ending: str, tmp_path: Path) -> None:
    pytest.importorskip("keras", reason="keras is not installed")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of lost masks, and of libraries that Keras calls
        for name, model, inputs in models():
            path = tmp_path / f"{name}{ending}"
            model.save(path)
            loaded = fm.load_model(path)
            expected = arrays(model.predict(inputs, verbose=0))
            found = arrays(loaded.predict(inputs, verbose=0))
            assert len(found) == len(expected), name
            for one, other in zip(found, expected, strict=True):
                assert one.dtype == other.dtype or one.dtype.kind != "f", name
                np.testing.assert_allclose(one, other, rtol=0, atol=3e-6, err_msg=name)
            again = tmp_path / f"{name}.npz"  # it can be saved like any model
            fm.save_model(loaded, again)
            for one in (loaded, fm.load_model(again)) if hasattr(model, "output_names") else ():
                assert one.output_names == model.output_names, name
            fresh = fm.load_model(path)  # without states
            kept = arrays(fm.load_model(again).predict(inputs, verbose=0))
            for one, other in zip(kept, arrays(fresh.predict(inputs, verbose=0)), strict=True):
                np.testing.assert_array_equal(one, other, err_msg=name)


def test_weights_of_a_nested_model_come_in_the_order_of_its_file(tmp_path: Path) -> None:
    """Passing states makes other calls here than in Keras, and so another order."""
    keras = pytest.importorskip("keras", reason="keras is not installed")
    K = keras.layers
    source, target = (keras.Input((None,), dtype="int32") for _ in range(2))
    _, h, c = K.LSTM(3, return_state=True)(K.Embedding(12, 4, mask_zero=True)(source))
    decoder = K.LSTM(3, return_sequences=True)
    inner = keras.Model(
        [source, target], decoder(K.Embedding(12, 4, mask_zero=True)(target), initial_state=[h, c])
    )
    ends = [keras.Input((None,), dtype="int32") for _ in range(2)]
    model = keras.Model(ends, K.Dense(2)(inner(ends)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about libraries that Keras calls
        model.save(tmp_path / "m.keras")
        model.save_weights(tmp_path / "m.weights.h5")
    loaded = fm.load_model(tmp_path / "m.keras")
    kept = loaded.get_weights()
    for path in (tmp_path / "m.keras", tmp_path / "m.weights.h5"):
        loaded.set_weights([np.zeros_like(one) for one in kept])
        loaded.load_weights(path)
        for one, other in zip(loaded.get_weights(), kept, strict=True):
            np.testing.assert_array_equal(one, other, err_msg=path.name)


def test_operations_that_are_not_there(tmp_path: Path) -> None:
    keras = pytest.importorskip("keras", reason="keras is not installed")
    x = keras.Input((4, 3))
    keras.Model(x, keras.ops.corrcoef(x[:, 0])).save(tmp_path / "m.keras")
    with pytest.raises(ValueError, match="the operation 'corrcoef', which is not supported: put"):
        fm.load_model(tmp_path / "m.keras")


def test_nothing_stands_around_layers_without_masks(tmp_path: Path) -> None:
    keras = pytest.importorskip("keras", reason="keras is not installed")
    K = keras.layers
    model = keras.Sequential(
        [
            keras.Input((5, 4)),
            K.LSTM(4, go_backwards=True, return_sequences=True),
            K.RMSNormalization(),
            K.GroupNormalization(2),
        ]
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about libraries that Keras calls
        model.save(tmp_path / "m.keras")
    loaded = fm.load_model(tmp_path / "m.keras")
    assert [type(one).__name__ for one in loaded.layers] == [
        "LSTM",
        "RMSNormalization",
        "GroupNormalization",
    ]
