"""fastmask.keras on torch: compiled, exported and traced models, and torch's transforms."""

from __future__ import annotations

import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.keras_cases import the_keras

pytestmark = [
    pytest.mark.optional,
    pytest.mark.filterwarnings("ignore"),  # of torch's own, while it compiles and exports
]
keras = the_keras()
if keras.config.backend() != "torch":
    pytest.skip("needs Keras's torch backend", allow_module_level=True)

import torch  # noqa: E402 - the backend
from torch.autograd import forward_ad  # noqa: E402 - after the check that torch is there

import fastmask.keras as fk  # noqa: E402 - needs Keras

layers = keras.layers


@pytest.fixture(autouse=True)
def _forget() -> None:
    torch._dynamo.reset()


def data() -> tuple[Any, Any]:
    rng = np.random.default_rng(0)
    x = rng.integers(1, 30, (12, 7)).astype("int32")
    x[np.arange(7) >= rng.integers(0, 8, (12, 1))] = 0
    return x, rng.integers(0, 2, (12, 1)).astype("float32")


def classifier(**options: Any) -> Any:
    keras.utils.set_random_seed(3)
    model = keras.Sequential(
        [
            keras.Input((7,), dtype="int32"),
            layers.Embedding(30, 4, mask_zero=True),
            layers.Bidirectional(layers.LSTM(5, return_sequences=True)),
            layers.GRU(3, go_backwards=True),
            layers.Dense(1, activation="sigmoid"),
        ]
    )
    model.compile("sgd", "binary_crossentropy", **options)
    return model


def test_torch_compile() -> None:
    x, _ = data()
    model = classifier()
    ids = torch.tensor(x)
    outputs, gradients = [], []
    weights = [variable.value for variable in model.trainable_variables]
    for convert in (False, True):
        if convert:
            fk.convert(model)
            compiled = torch.compile(model, backend="aot_eager")
            outputs.append(compiled(ids))
        else:
            outputs.append(model(ids))
        gradients.append(torch.autograd.grad(outputs[-1].square().sum(), weights))
    torch.testing.assert_close(outputs[1], outputs[0], rtol=0, atol=1e-6)
    torch.testing.assert_close(gradients[1], gradients[0], rtol=0, atol=1e-5)


@pytest.mark.slow
def test_training_step_compiles(monkeypatch: pytest.MonkeyPatch) -> None:
    """With jit_compile=True Keras compiles backward and the optimizer, too."""
    x = np.random.default_rng(7).standard_normal((8, 5, 2)).astype("float32")
    x[:4, 3:] = 0
    y = np.ones((8, 1), "float32")
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="aot_eager"))
    losses = []
    for jit in (False, True):
        keras.utils.set_random_seed(4)
        body = [keras.Input((5, 2)), layers.Masking(), layers.LSTM(3), layers.Dense(1)]
        model = keras.Sequential(body)
        model.compile("sgd", "mse", jit_compile=jit)
        assert not fk.convert(model)[1]
        losses.append([model.train_on_batch(x, y) for _ in range(3)])
    np.testing.assert_allclose(losses[1], losses[0], 0, 1e-6)


def test_layer_compiles_without_breaks() -> None:
    x = torch.randn(3, 5, 2)
    mask = torch.tensor([[1, 1, 0, 0, 1]] * 2 + [[0] * 5], dtype=torch.bool)
    for layer in (layers.LSTM(4, return_sequences=True), layers.GRU(4, go_backwards=True)):
        expected = layer(x, mask=mask)
        fk.convert(layer)
        loop = torch.compile(
            lambda x, mask, states, layer=layer: layer.inner_loop(x, states, mask),
            fullgraph=True,
            backend="aot_eager",
        )
        last, outputs, _ = loop(x, mask, layer.get_initial_state(3))
        found = outputs if layer.return_sequences else last
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)


def test_export_keeps_fastmask(tmp_path: Path) -> None:
    """An exported program runs fastmask's operators without importing Keras."""
    x = data()[0][:1]  # Keras exports for batches of one row
    model = classifier()
    fk.convert(model)
    expected = model.predict(x, verbose=0)
    path = tmp_path / "model.pt2"
    model.export(path, format="torch", verbose=False)
    np.save(tmp_path / "x.npy", x)
    code = (
        "import sys, numpy, torch, fastmask.torch\n"
        f"program = torch.export.load({str(path)!r})\n"
        "assert 'fastmask.layer' in str(program.graph)\n"
        f"x = torch.from_numpy(numpy.load({str(tmp_path / 'x.npy')!r}))\n"
        "assert 'keras' not in sys.modules\n"
        "found = program.module()(x)\n"
        f"numpy.save({str(tmp_path / 'y.npy')!r}, found.detach().numpy())"
    )
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True)
    np.testing.assert_allclose(np.load(tmp_path / "y.npy"), expected, 0, 1e-6)


def test_export_plain(tmp_path: Path) -> None:
    x = data()[0][:1]  # Keras exports for batches of one row
    model = classifier()
    fk.convert(model)
    expected = model.predict(x, verbose=0)
    with fk.plain():
        model.export(tmp_path / "model.pt2", format="torch", verbose=False)
    program = torch.export.load(tmp_path / "model.pt2")
    assert "fastmask" not in str(program.graph)
    found = program.module()(torch.from_numpy(x)).detach().numpy()
    np.testing.assert_allclose(found, expected, 0, 1e-6)


def test_recorded_by_torch_jit() -> None:
    x = torch.randn(3, 5, 2)
    layer = layers.LSTM(4)
    expected = layer(x)
    fk.convert(layer)
    recorded = torch.jit.trace(layer, x)
    torch.testing.assert_close(recorded(x), expected)


@pytest.mark.parametrize("zeros", [False, True])
def test_without_gradients(zeros: bool) -> None:
    """The short way that predict takes gives Keras's outputs and states."""
    rng = np.random.default_rng(5)
    x = torch.from_numpy(rng.standard_normal((4, 6, 3)).astype("float32"))
    mask = torch.tensor([[0, 1, 1, 0, 1, 0], [0] * 6, [1] * 6, [1, 0, 0, 0, 0, 0]])
    for kind, sequences, backwards in ((layers.LSTM, False, False), (layers.GRU, True, True)):
        layer = kind(5, return_sequences=sequences, go_backwards=backwards, return_state=True)
        layer.zero_output_for_mask = zeros
        first = [torch.ones(4, 5)] * len(layer.state_size)
        for valid in (None, mask, mask.bool(), mask.T.contiguous().T.bool()):
            fk.revert(layer)
            expected = layer(x, initial_state=first, mask=valid)
            fk.convert(layer)
            with torch.no_grad():
                found = layer(x, initial_state=first, mask=valid)
            torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)
        assert not any(one.requires_grad for one in found)


@pytest.mark.parametrize("masked", [False, True])
def test_training_with_states_of_before(masked: bool) -> None:
    x = torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(2))
    mask = torch.tensor([[True, True, False], [True, False, True]]) if masked else None
    stateful, plain = layers.LSTM(5, stateful=True), layers.LSTM(5)
    stateful.build(x.shape)
    plain.build(x.shape)
    plain.set_weights(stateful.get_weights())
    with fk.enabled():
        stateful(x, mask=mask)
        states = [state.value.clone() for state in stateful.states]
        found = [
            torch.autograd.grad(out.sum(), [weight.value for weight in layer.trainable_weights])
            for layer, out in [
                (stateful, stateful(x, mask=mask)),
                (plain, plain(x, mask=mask, initial_state=states)),
            ]
        ]
    assert all(map(torch.allclose, *found))


def test_variables_of_a_stateless_scope() -> None:
    x = torch.randn(3, 5, 2)
    layer = layers.GRU(4)
    fk.convert(layer)
    layer.build(x.shape)
    other = torch.randn(layer.cell.kernel.shape)
    with torch.no_grad():
        before = layer(x)
        with keras.StatelessScope([(layer.cell.kernel, other)]):
            found = layer(x)
        torch.testing.assert_close(layer(x), before)
        layer.cell.kernel.assign(other)
        torch.testing.assert_close(found, layer(x))
    assert not torch.allclose(found, before)


def test_torch_func_is_kerass() -> None:
    layer = layers.GRU(4)
    layer.build((3, 5, 2))
    x = torch.randn(3, 5, 2)
    found = []
    for convert in (False, True):
        if convert:
            fk.convert(layer)
        found.append(torch.func.grad(lambda x: layer(x).square().sum())(x))
    torch.testing.assert_close(found[1], found[0])


def test_forward_mode_is_kerass() -> None:
    layer = layers.GRU(4)
    layer.build((3, 5, 2))
    x, tangent = torch.randn(2, 3, 5, 2)
    found = []
    for convert in (False, True):
        if convert:
            fk.convert(layer)
        with torch.no_grad(), forward_ad.dual_level():
            result = layer(forward_ad.make_dual(x, tangent))
            found.append(forward_ad.unpack_dual(result).tangent)
    torch.testing.assert_close(found[1], found[0])


def test_shapes_on_no_device() -> None:
    layer = layers.Bidirectional(layers.LSTM(4))
    fk.convert(layer)
    spec = keras.KerasTensor((None, 5, 2))
    assert layer.compute_output_spec(spec).shape == (None, 8)
