"""Keras files of kinds that Keras no longer writes, written here with h5py."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastmask as fm


class TestOtherForms:
    pytestmark = pytest.mark.optional

    def stack(self, folder: Path, layers: list[Any], weights: dict[str, dict[str, Any]]) -> Any:
        """A loaded Keras 2 model whose inputs have four features."""
        h5py = pytest.importorskip("h5py", reason="h5py is not installed")
        first = {"batch_input_shape": [None, None, 4], "dtype": "float32", "name": "input"}
        made = [{"class_name": "InputLayer", "config": first}, *layers]
        config = {"class_name": "Sequential", "config": {"name": "model", "layers": made}}
        path = folder / "old.h5"
        with h5py.File(path, "w") as file:
            file.attrs["model_config"] = json.dumps(config)
            file.attrs["keras_version"] = np.bytes_("2.2.4")
            group = file.create_group("model_weights")
            group.attrs["layer_names"] = [name.encode() for name in weights]
            for name, arrays in weights.items():
                one = group.create_group(name)
                names = [f"{name}/{key}:0" for key in arrays]
                one.attrs["weight_names"] = [key.encode() for key in names]
                for key, value in zip(names, arrays.values(), strict=True):
                    one[key] = value
        return fm.load_model(path)

    def cudnn(self, kind: str, gates: int, folder: Path) -> tuple[Any, list[Any], Any]:
        rng = np.random.default_rng(gates)
        kernel, recurrent, bias = (
            rng.uniform(-0.7, 0.7, shape).astype(np.float32)
            for shape in ((4, 3 * gates), (3, 3 * gates), (2 * 3 * gates,))
        )
        config = {"name": "r", "units": 3, "return_sequences": True, "time_major": False}
        arrays = {"kernel": kernel, "recurrent_kernel": recurrent, "bias": bias}
        model = self.stack(folder, [{"class_name": kind, "config": config}], {"r": arrays})
        x = rng.standard_normal((2, 5, 4)).astype(np.float32)
        # In cuDNN's memory layout: matrices whose rows are multiplied with the inputs.
        inputs = [part.ravel().reshape(3, 4) for part in np.split(kernel, gates, axis=1)]
        states = [part.ravel().reshape(3, 3) for part in np.split(recurrent, gates, axis=1)]
        return model(x), [inputs, states, np.split(bias, 2 * gates)], x

    @pytest.mark.slow
    def test_cudnn_lstm(self, tmp_path: Path) -> None:
        found, (w, u, b), x = self.cudnn("CuDNNLSTM", 4, tmp_path)
        sigmoid = fm.activations.get("sigmoid")
        h = c = np.zeros((2, 3))
        for t in range(5):
            i, f, g, o = (x[:, t] @ w[k].T + h @ u[k].T + b[k] + b[4 + k] for k in range(4))
            c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
            h = sigmoid(o) * np.tanh(c)
            np.testing.assert_allclose(found[:, t], h, atol=1e-6)

    @pytest.mark.slow
    def test_cudnn_gru(self, tmp_path: Path) -> None:
        found, (w, u, b), x = self.cudnn("CuDNNGRU", 3, tmp_path)
        sigmoid = fm.activations.get("sigmoid")
        h = np.zeros((2, 3))
        for t in range(5):
            a = [x[:, t] @ w[k].T + b[k] for k in range(3)]
            r = [h @ u[k].T + b[3 + k] for k in range(3)]
            z = sigmoid(a[0] + r[0])
            h = z * h + (1 - z) * np.tanh(a[2] + sigmoid(a[1] + r[1]) * r[2])
            np.testing.assert_allclose(found[:, t], h, atol=1e-6)

    def test_lora_is_merged(self, tmp_path: Path) -> None:
        rng = np.random.default_rng(2)
        a, b = rng.random((4, 2)).astype("f4"), rng.random((2, 3)).astype("f4")
        kernel, bias = rng.random((4, 3)).astype("f4"), rng.random(3).astype("f4")
        arrays = {"bias": bias, "lora_kernel_a": a, "lora_kernel_b": b, "kernel": kernel}
        for alpha in (None, 3.0):
            config = {"name": "d", "units": 3, "lora_rank": 2, "lora_alpha": alpha}
            model = self.stack(tmp_path, [{"class_name": "Dense", "config": config}], {"d": arrays})
            merged = kernel + (alpha or 2) / 2 * (a @ b)
            np.testing.assert_allclose(model.get_weights()[0], merged, atol=1e-6)
            np.testing.assert_array_equal(model.get_weights()[1], bias)

    def test_bfloat16(self, tmp_path: Path) -> None:
        kernel = np.array([[1.5], [-2.25], [0.0078125], [3e38]], np.float32)
        raw = (kernel.view(np.uint32) >> 16).astype(np.uint16).view("V2")
        config = {"name": "d", "units": 1, "use_bias": False}
        layers = [{"class_name": "Dense", "config": config}]
        model = self.stack(tmp_path, layers, {"d": {"kernel": raw}})
        np.testing.assert_allclose(model.get_weights()[0], kernel, rtol=2**-7)
