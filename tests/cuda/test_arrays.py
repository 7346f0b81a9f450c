"""Arrays on a GPU through `fastmask.ops`, masks, layers and models, and the same on the host."""

from __future__ import annotations

import copy
import gc
import pickle
import weakref
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import fastmask as fm
from fastmask.backends import dispatch as _dispatch
from fastmask.backends import table as _table
from fastmask.backends.cuda import arrays as _arrays
from fastmask.backends.cuda import library_of
from fastmask.backends.cuda import masks as _masks
from fastmask_kernels import cuda
from fastmask_kernels.cuda import gather
from fastmask_kernels.cuda.runtime import device as _device
from fastmask_kernels.cuda.runtime import kernel as _kernel

from ..cases import MASK_KINDS, make_mask
from .owners import CUPY, NUMBA, CupyLike, NumbaLike

pytestmark = pytest.mark.skipif(
    not _device.SIMULATED, reason="the stand-ins for libraries of arrays use the simulator's memory"
)
L = fm.layers
KINDS = [CupyLike, NumbaLike]
B, T, F, H = 3, 4, 2, 3
HOLES = np.array([[1, 1, 0, 1], [0, 0, 0, 0], [0, 1, 1, 0]], bool)


@pytest.fixture(autouse=True)
def _reference_on_the_host() -> Iterator[None]:
    before = _table._table
    _table.use_kernels("reference")
    yield
    _table._table = before


@pytest.fixture
def counts(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often kernels are launched, plans made, and the host waits."""
    counted: Counter[str] = Counter()

    def count(owner: Any, name: str, as_name: str) -> None:
        function = getattr(owner, name)

        def counting(*args: Any, **kwargs: Any) -> Any:
            counted[as_name] += 1
            return function(*args, **kwargs)

        monkeypatch.setattr(owner, name, counting)

    for module, name in ((m, n) for m in (_device, gather) for n in ("to_host", "to_device")):
        if hasattr(module, name):
            count(module, name, "waits")
    count(_device, "wait", "waits")
    count(cuda, "plan_steps", "plans")
    launch = _kernel.Kernel.launch

    def launching(self: Any, *args: Any, **kwargs: Any) -> None:
        counted[f"stream {_device.stream_of_launch().handle}"] += 1
        launch(self, *args, **kwargs)

    monkeypatch.setattr(_kernel.Kernel, "launch", launching)
    return counted


def normal(*shape: int, dtype: str = "f4", seed: int | None = None) -> np.ndarray:
    """Random numbers; without a seed those of the test (see tests/conftest.py)."""
    return np.random.default_rng(seed).normal(size=shape).astype(dtype)


def put(value: Any, kind: type[NumbaLike]) -> Any:
    """The same on a GPU; masks stay on the host."""
    if isinstance(value, fm.Masked):
        return fm.Masked(put(value.data, kind), value.mask)
    if isinstance(value, (list, tuple)):
        return type(value)(put(one, kind) for one in value)
    return kind(value) if isinstance(value, np.ndarray) else value


def same(found: Any, expected: Any, kind: type[NumbaLike]) -> None:
    """Numbers, masks, shapes and dtypes are those expected, and the kind is the one given."""
    if isinstance(expected, (list, tuple)):
        assert type(found) is type(expected)
        for pair in zip(found, expected, strict=True):
            same(*pair, kind)
    elif isinstance(expected, fm.Masked):
        np.testing.assert_array_equal(np.asarray(found.mask), expected.mask.valid)
        same(found.data, expected.data, kind)
    else:
        assert type(found) is kind
        assert found.dtype == expected.dtype
        np.testing.assert_allclose(found.array, expected, atol=2e-6)


CELLS: dict[str, tuple[Callable[..., Any], int, tuple[int, ...], dict[str, Any]]] = {
    "lstm": (fm.ops.lstm, 4, (4 * H,), {}),
    "gru": (fm.ops.gru, 3, (2, 3 * H), {}),
    "gru_before": (fm.ops.gru, 3, (3 * H,), {"reset_after": False}),
    "rnn": (fm.ops.rnn, 1, (H,), {"activation": "relu"}),
}


def arguments(cell: str, dtype: str = "f4") -> tuple[Callable[..., Any], list[Any], dict[str, Any]]:
    function, gates, bias, options = CELLS[cell]
    arrays = [normal(B, T, F), normal(F, gates * H), normal(H, gates * H), normal(*bias)]
    return function, [one.astype(dtype) for one in arrays], options


@pytest.mark.parametrize("mask", MASK_KINDS)
def test_masks_of_every_kind(mask: str) -> None:
    function, arrays, options = arguments("lstm")
    valid = make_mask(mask, B, T, np.random.default_rng())
    arrays[0][~valid] = np.nan
    expected = function(*arrays, mask=valid)
    same(function(*put(arrays, CupyLike), mask=CupyLike(valid), **options), expected, CupyLike)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("zero", [False, True])
def test_cells(cell: str, kind: type[NumbaLike], zero: bool) -> None:
    """With and without bias and first states; last outputs of empty and of masked rows."""
    function, arrays, options = arguments(cell)
    options |= {"mask": HOLES, "return_sequences": False, "zero_output_for_mask": zero}
    states = [normal(B, H)] * (2 if cell == "lstm" else 1)
    if zero:
        arrays, states, options["go_backwards"] = arrays[:3], None, True
    expected = function(*arrays, initial_state=states, **options)
    found = function(*put(arrays, kind), initial_state=put(states, kind), **options)
    same(found, expected, kind)


def test_dtypes_and_layouts_are_converted_by_the_owner() -> None:
    function, arrays, _ = arguments("lstm", "f8")
    expected = function(*arrays)
    x, *weights = put(arrays, CupyLike)
    turned = CupyLike(np.asfortranarray(x.array))
    same(function(turned, *weights), expected, CupyLike)
    with pytest.raises(
        TypeError, match=r"x must be C-contiguous and of dtype float64, .*NumbaLike"
    ):
        function(NumbaLike(turned.array), *put(arrays[1:], NumbaLike))
    whole = np.arange(B * T * F).reshape(B, T, F)
    weights = [one.astype("f4") for one in arrays[1:]]
    same(function(CupyLike(whole), *put(weights, CupyLike)), function(whole, *weights), CupyLike)


def test_what_fits_is_not_copied() -> None:
    x = CupyLike(normal(B, T, F))
    assert _arrays.view_of(_dispatch.real_array(x, "x"), "x").address == x.address
    assert _dispatch.real_array(x, "x") is x
    bare = NumbaLike(x.array)
    assert _dispatch.real_array(bare, "x").address == x.address
    masked = fm.Masked(bare, HOLES)
    assert masked.data is bare
    assert L.Masking()(x).data is x


def test_nothing_waits_once_there_is_a_plan(counts: Counter[str]) -> None:
    layer = L.LSTM(H, return_sequences=True)
    x, mask = CupyLike(normal(B, T, F)), fm.Mask(CupyLike(HOLES))
    first = layer(x, mask=mask)
    assert counts["plans"] == 1
    assert first.mask is mask
    counts.clear()
    layer(x, mask=mask)
    assert counts["waits"] == counts["plans"] == 0
    assert counts["stream 0"] > 0


def test_a_plan_waits_once(counts: Counter[str]) -> None:
    mask = fm.Mask(CupyLike(HOLES))
    assert counts["waits"] == 0
    plan = _masks.plan_on(mask, 0)
    assert counts["waits"] == counts["plans"] == 1
    assert _masks.plan_on(mask, 0) is plan
    np.testing.assert_array_equal(mask.lengths, [3, 0, 2])
    assert mask.fill == 5 / 12
    assert counts["waits"] == 1
    host = fm.Mask(HOLES).plan
    for found, expected in zip(plan, host, strict=False):
        np.testing.assert_array_equal(_arrays.to_host(found), expected)


def test_a_mask_of_the_host_is_sent_once(counts: Counter[str]) -> None:
    function, arrays, _ = arguments("rnn")
    mask = fm.Mask(HOLES)
    on_gpu = put(arrays, CupyLike)
    for _ in range(2):
        function(*on_gpu, mask=mask)
    assert counts["plans"] == 0  # the host's is copied
    counts.clear()
    function(*on_gpu, mask=mask)
    assert counts["waits"] == 0


@pytest.mark.parametrize("owner", [CUPY, NUMBA])
def test_kernels_run_on_the_stream_of_the_owner(
    owner: Any, counts: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(owner, "current", 11)
    x = owner.kind(normal(B, T, F))
    L.GRU(H, go_backwards=True, return_sequences=True)(x, mask=owner.kind(HOLES))
    L.Embedding(5, 2, mask_zero=True)(owner.kind(np.array([[1, 0]])))
    assert [name for name in counts if name.startswith("stream")] == ["stream 11"]


def test_products_are_the_owners() -> None:
    function, arrays, _ = arguments("lstm")
    before = CUPY.products
    function(*put(arrays, CupyLike))
    assert CUPY.products > before


def test_weights_are_packed_in_each_form() -> None:
    layer = with_weights(L.LSTM(H), x := normal(B, T, F))
    on_gpu, found = CupyLike(x), []
    for form in ("float32", "bfloat16", "float32", "tf32", "bfloat16"):
        with cuda.use_weights(form):
            found.append(layer(on_gpu).array)
    np.testing.assert_array_equal(found[0], found[2])
    np.testing.assert_array_equal(found[1], found[4])
    for rounded, least, most in ((found[1], 1e-5, 1e-1), (found[3], 1e-6, 1e-2)):
        assert least < abs(rounded - found[0]).max() < most


def test_what_a_layer_keeps_is_no_scratch_of_a_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    layer = with_weights(L.GRU(H), x := normal(B, T, F))
    kept = []
    to_device = _device.to_device
    monkeypatch.setattr(_device, "to_device", lambda *a: kept.append(made := to_device(*a)) or made)
    layer(CupyLike(x))
    (packed,) = layer._cells[0]._weights.made.values()
    assert packed.address in [one.address for one in kept]


@pytest.mark.parametrize("kind", KINDS)
def test_masks(kind: type[NumbaLike]) -> None:
    given = kind(HOLES.astype("i4")[:, :, None])
    mask = fm.Mask(given)
    given.array[...] = 1  # it is copied
    assert type(mask.valid) is kind
    assert mask.shape == (B, T)
    assert (mask.size, len(mask), mask.dtype) == (B * T, B, np.dtype(bool))
    np.testing.assert_array_equal(np.asarray(mask), HOLES)
    np.testing.assert_array_equal(mask & [[True, False, True, True]], HOLES & [1, 0, 1, 1])
    np.testing.assert_array_equal(mask[0], HOLES[0])
    np.testing.assert_array_equal(list(mask), list(HOLES))
    assert repr(mask) == repr(fm.Mask(HOLES))
    assert fm.Masked(kind(normal(B, T)), mask.valid).mask is mask
    np.testing.assert_array_equal(copy.deepcopy(mask).valid, HOLES)
    for found, expected in zip(mask.plan, fm.Mask(HOLES).plan, strict=True):
        np.testing.assert_array_equal(found, expected)


def test_masks_that_are_none() -> None:
    with pytest.raises(ValueError, match="mask holds NaN"):
        fm.Mask(CupyLike(np.array([[1.0, np.nan]])))
    np.testing.assert_array_equal(fm.Mask(CupyLike(np.array([[-0.0, 1.0]]))), [[False, True]])
    for bad in ([[0.0, -np.inf]], [[0.5, 1.0]], [[0, -1]]):
        with pytest.raises(ValueError, match="True or 1 where a step is valid"):
            fm.Mask(CupyLike(np.array(bad)))
    with pytest.raises(ValueError, match=r"mask must have shape \(batch, time\)"):
        fm.Mask(CupyLike(np.ones(3)))
    with pytest.raises(TypeError, match="mask must hold real numbers"):
        fm.Mask(CupyLike(np.ones((2, 2), complex)))
    function, (x, *weights), _ = arguments("rnn")
    with pytest.raises(ValueError, match=r"mask has shape \(3, 4\), but x has shape \(1, 4, 2\)"):
        function(CupyLike(x[:1]), *put(weights, CupyLike), mask=CupyLike(HOLES))


@pytest.mark.parametrize("kind", KINDS)
def test_masks_of_three_axes(kind: type[NumbaLike]) -> None:
    valid = np.stack([HOLES, ~HOLES], axis=1)
    mask, host = fm.Mask(kind(valid)), fm.Mask(valid)
    assert (mask.shape, mask.ndim, mask.fill) == (host.shape, 3, host.fill)
    np.testing.assert_array_equal(mask.lengths, host.lengths)
    np.testing.assert_array_equal(mask, valid)
    np.testing.assert_array_equal(mask.any(axis=2), valid.any(axis=2))
    for found, expected in zip(mask.plan, host.plan, strict=True):
        np.testing.assert_array_equal(found, expected)
    assert pickle.loads(pickle.dumps(mask)).shape == valid.shape  # noqa: S301 - own bytes
    assert fm.Mask(kind(valid[..., None])).shape == valid.shape


def with_weights(layer: Any, x: Any) -> Any:
    """The layer with random weights, biases included."""
    layer(x)
    layer.set_weights([normal(*one.shape) for one in layer.get_weights()])
    return layer


SEQUENCES = fm.Masked(np.where(HOLES[:, :, None], normal(B, T, F, seed=7), 0).astype("f4"), HOLES)
IDS = np.array([[3, 1, 0, 2], [0, 0, 0, 0], [0, 4, 4, 0]])
DOCUMENTS = fm.Masked(np.stack([SEQUENCES.data] * 2, axis=1), np.stack([HOLES, ~HOLES], axis=1))
# Layers that need kernels only, then those that need NumPy's functions too.
WITH_KERNELS = {
    "lstm": (lambda: L.LSTM(H, return_sequences=True, return_state=True), SEQUENCES),
    "gru": (lambda: L.GRU(H, reset_after=False), SEQUENCES),
    "rnn": (lambda: L.SimpleRNN(H, zero_output_for_mask=True, use_bias=False), SEQUENCES),
    "backwards": (lambda: L.GRU(H, return_sequences=True, go_backwards=True), SEQUENCES),
    "float64": (lambda: L.SimpleRNN(H, dtype="float64"), SEQUENCES.data.astype("f8")),
    "stack": (
        lambda: L.RNN([L.GRUCell(3), L.SimpleRNNCell(2)], return_sequences=True, go_backwards=True),
        SEQUENCES,
    ),
    "unmerged": (
        lambda: L.Bidirectional(L.SimpleRNN(2, return_sequences=True), merge_mode=None),
        SEQUENCES,
    ),
    "documents": (lambda: L.Embedding(5, 3, mask_zero=True), np.stack([IDS, IDS[::-1]], axis=1)),
    "masked_documents": (lambda: L.Masking(), np.stack([SEQUENCES.data] * 2, axis=1)),
    "embedding": (lambda: L.Embedding(5, 3, mask_zero=True), IDS),
    "masking": (lambda: L.Masking(), SEQUENCES.data),
    "model": (
        lambda: fm.Sequential([L.Embedding(5, 2, mask_zero=True), L.LSTM(2)]),
        IDS,
    ),
}
BY_CUPY = {
    "masking_value": (lambda: L.Masking(1.0), np.array([[[1, 1], [1, 2]]], "f4")),
    "bidirectional": (
        lambda: L.Bidirectional(L.SimpleRNN(2, return_sequences=True)),
        SEQUENCES,
    ),
    "dense": (lambda: L.Dense(3, activation="softmax"), SEQUENCES),
    "pooling": (lambda: L.GlobalAveragePooling1D(), SEQUENCES),
    "normalization": (lambda: L.LayerNormalization(), SEQUENCES),
    "given": (lambda: L.Normalization(mean=[1.0, 2.0], variance=[1.0, 3.0]), SEQUENCES),
    "softmax": (lambda: L.Softmax(axis=1), SEQUENCES),
    "concatenate": (lambda: L.Concatenate(), [SEQUENCES, SEQUENCES.data]),
    "multiply": (lambda: L.Multiply(), [SEQUENCES, SEQUENCES]),
    "padding": (lambda: L.ZeroPadding1D(1), SEQUENCES.data),
    "distributed": (lambda: L.TimeDistributed(L.Dense(2)), SEQUENCES),
    "hierarchical": (lambda: L.TimeDistributed(L.SimpleRNN(2)), DOCUMENTS),
    "hierarchical_sequences": (
        lambda: L.TimeDistributed(L.SimpleRNN(2, return_sequences=True)),
        DOCUMENTS,
    ),
    "group_norm": (lambda: L.GroupNormalization(-1), SEQUENCES),
    "masking_nan": (lambda: L.Masking(np.nan), np.array([[[np.nan, np.nan], [1, 2]]], "f4")),
}


@pytest.mark.parametrize("name", WITH_KERNELS)
@pytest.mark.parametrize("kind", KINDS)
def test_layers_with_kernels(name: str, kind: type[NumbaLike]) -> None:
    make, x = WITH_KERNELS[name]
    layer = with_weights(make(), x)
    if kind is NumbaLike and isinstance(x, np.ndarray) and x.dtype == "f8":
        x = x.astype(layer.dtype)
    same(layer(put(x, kind)), layer(x), kind)


@pytest.mark.parametrize("name", BY_CUPY)
def test_layers_of_numpy_code(name: str) -> None:
    make, x = BY_CUPY[name]
    layer = with_weights(make(), x)
    same(layer(put(x, CupyLike)), layer(x), CupyLike)
    with pytest.raises(TypeError, match=r"computes on a GPU by CuPy, which is not installed"):
        layer(put(x, NumbaLike))


def test_masks_go_on_and_stay_where_they_are(counts: Counter[str]) -> None:
    model = fm.Sequential(
        [
            L.Embedding(5, F, mask_zero=True),
            L.LSTM(H, return_sequences=True),
            L.Dense(2),
            L.GRU(2, return_sequences=True),
        ]
    )
    y = model(CupyLike(IDS))
    assert counts["plans"] == 1
    assert type(y.mask.valid) is CupyLike
    same(y, model(IDS), CupyLike)


def test_masks_are_forgotten_at_once() -> None:
    """Reference counts must do: memory of a GPU that waits for Python's collector runs out."""
    gc.disable()
    try:
        for valid in (CupyLike(HOLES), HOLES):
            mask = fm.Mask(valid)
            x = fm.Masked(CupyLike(SEQUENCES.data), mask)
            L.GRU(H)(L.Dense(2)(x))
            alive = weakref.ref(mask)
            del mask, x
            assert alive() is None
    finally:
        gc.enable()


def test_new_weights_count_at_once() -> None:
    for make, x in (
        (lambda: L.LSTM(H), SEQUENCES),
        (lambda: L.Dense(3), SEQUENCES),
        (lambda: L.Embedding(5, 3), IDS),
    ):
        layer = make()
        same(layer(put(x, CupyLike)), layer(x), CupyLike)
        layer.set_weights([normal(*one.shape) for one in layer.get_weights()])
        same(layer(put(x, CupyLike)), layer(x), CupyLike)
        same(copy.deepcopy(layer)(put(x, CupyLike)), layer(x), CupyLike)


@pytest.mark.parametrize("make", [lambda: L.GRU(H), lambda: L.Dense(3)], ids=["packed", "copied"])
def test_weights_that_change_while_they_are_copied(
    make: Callable[[], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What began before the change serves no call after it."""
    rng = np.random.default_rng(17)
    layer, x = make(), rng.normal(size=(B, T, F)).astype("f4")
    layer(x)
    new = [rng.normal(size=one.shape) for one in layer.get_weights()]
    copy_to_device = _arrays.put

    def change_after(array: Any, device: int) -> Any:
        copied = copy_to_device(array, device)
        monkeypatch.setattr(_arrays, "put", copy_to_device)
        layer.set_weights(new)
        return copied

    monkeypatch.setattr(_arrays, "put", change_after)
    layer(put(x, CupyLike))
    assert _arrays.put is copy_to_device
    same(layer(put(x, CupyLike)), layer(x), CupyLike)


def test_weights_that_a_layer_may_write_to_are_compared() -> None:
    class Scale(L.Layer):
        def build(self, input_shape: Any) -> None:
            self.scale = self.add_weight((input_shape[-1],), "ones")

        def call(self, inputs: Any) -> Any:
            return inputs * self.scale

    layer, x = Scale(), normal(B, T, F)
    layer.build(x.shape)
    view = layer.scale[1:]
    for change in (lambda: None, lambda: layer.scale.fill(3), lambda: view.fill(2)):
        change()
        same(layer(put(x, CupyLike)), x * layer.scale, CupyLike)


def test_weights_that_somebody_unseals_are_compared_from_then_on() -> None:
    layer, x = L.Dense(H), normal(B, T, F)
    same(layer(put(x, CupyLike)), layer(x), CupyLike)
    layer.kernel.flags.writeable = True
    for value in (3, 2):
        layer.kernel[...] = value
        same(layer(put(x, CupyLike)), x @ layer.kernel, CupyLike)


def test_moments_that_move_after_use_on_a_device() -> None:
    layer, adapted, x = L.BatchNormalization(), L.Normalization(), normal(B, T, F)
    for _ in range(2):
        for one in (layer, adapted):
            same(one(put(x, CupyLike)), one(x), CupyLike)
        layer(x, training=True)
        adapted.adapt(x)


def test_states_are_kept_on_the_device() -> None:
    layers = [L.GRU(H, stateful=True, return_sequences=True, seed=1) for _ in range(2)]
    layers[1].build(SEQUENCES.shape)
    layers[0].build(SEQUENCES.shape)
    layers[1].set_weights(layers[0].get_weights())
    for _ in range(2):
        same(layers[1](put(SEQUENCES, NumbaLike)), layers[0](SEQUENCES), NumbaLike)
    assert type(layers[1].states[0]) is NumbaLike
    with pytest.raises(TypeError, match="inputs must be an array on a CUDA device"):
        layers[1](SEQUENCES)


def test_cells_and_first_states() -> None:
    cell = L.LSTMCell(H)
    x, states = normal(B, F), [normal(B, H), normal(B, H)]
    expected = cell(x, states=states)
    output, after = cell(CupyLike(x), states=put(states, CupyLike))
    same([output, *after], [expected[0], *expected[1]], CupyLike)
    layer = L.LSTM(H)
    expected = layer(SEQUENCES, initial_state=states)
    same(layer(put(SEQUENCES, CupyLike), initial_state=put(states, CupyLike)), expected, CupyLike)


@pytest.mark.parametrize("kind", KINDS)
def test_predict(kind: type[NumbaLike]) -> None:
    model = fm.Sequential([L.Masking(), L.SimpleRNN(2, return_sequences=True)])
    x = np.concatenate([SEQUENCES.data] * 2)
    for given in (x, fm.Masked(x, np.concatenate([HOLES] * 2))):
        found = model.predict(put(given, kind), batch_size=4, verbose=0)
        same(found, model.predict(given, batch_size=4, verbose=0), kind)


def test_two_inputs_and_a_custom_layer() -> None:
    class Difference(fm.layers.Layer):
        calls = 0

        def call(self, inputs: Any) -> Any:
            self.calls = self.calls + 1
            return np.abs(inputs[0] - inputs[1]).max(axis=1)

    first, second = fm.Input((T, F)), fm.Input((T, F))
    layer = Difference()
    model = fm.Model([first, second], layer([first, second]))
    x = [normal(B, T, F), normal(B, T, F)]
    expected, before = model(x), layer.calls
    same(model(put(x, CupyLike)), expected, CupyLike)
    assert layer.calls == before + 1


def test_host_and_device_are_not_mixed() -> None:
    function, (x, *weights), _ = arguments("lstm")
    states = [normal(B, H), normal(B, H)]
    on_gpu = put(weights, CupyLike)
    with pytest.raises(TypeError, match=r"kernel must be an array on a CUDA device.*host"):
        function(CupyLike(x), *weights)
    with pytest.raises(TypeError, match=r"x must be an array on a CUDA device.*host"):
        function(x, *on_gpu)
    with pytest.raises(TypeError, match=r"initial_state\[0\] must be an array on a CUDA device"):
        function(CupyLike(x), *on_gpu, initial_state=states)
    with pytest.raises(TypeError, match=r"x must be an array on a CUDA device"):
        function(x, *weights, initial_state=put(states, CupyLike))
    layer = L.LSTM(H)
    with pytest.raises(TypeError, match=r"initial_state\[0\] must be an array on a CUDA device"):
        layer(CupyLike(x), initial_state=states)
    with pytest.raises(TypeError, match=r"inputs must be an array on a CUDA device"):
        layer(x, initial_state=put(states, CupyLike))
    with pytest.raises(TypeError, match=r"inputs\[1\] must be an array on a CUDA device"):
        L.Add()([CupyLike(x), x])
    with pytest.raises(TypeError, match=r"sequences.* on the host, not numbalike.NumbaLike"):
        fm.pad(NumbaLike(x))


def test_two_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    function, (x, *weights), _ = arguments("lstm")
    on_gpu = put([x, *weights], CupyLike)
    other = on_gpu[2].address
    monkeypatch.setattr(_device, "device_of", lambda address: int(address == other))
    with pytest.raises(ValueError, match="recurrent_kernel is on device 1, but x is on device 0"):
        function(*on_gpu)
    mask = fm.Mask(CupyLike(HOLES))
    other = mask.valid.address
    with pytest.raises(ValueError, match="mask is on device 1, but the inputs are on device 0"):
        L.LSTM(H)(on_gpu[0], mask=mask)


def test_what_runs_on_the_host_only() -> None:
    x = put(SEQUENCES, CupyLike)
    with pytest.raises(TypeError, match="training with dropout"):
        L.LSTM(H, dropout=0.5)(x, training=True)
    with pytest.raises(TypeError, match="changes its weights in training"):
        L.BatchNormalization()(x, training=True)

    class Counter(fm.layers.Layer):
        state_size = 1

        def call(self, inputs: Any, states: Any) -> Any:
            return states[0] + 1, [states[0] + 1]

    with pytest.raises(TypeError, match="its cell is not LSTMCell"):
        L.RNN(Counter())(x)
    with pytest.raises(TypeError, match=r"inputs must hold integers, not dtype float32"):
        L.Embedding(5, 2)(CupyLike(normal(2, 2)))


def test_unknown_libraries_are_named() -> None:
    foreign = type("Array", (), {"__module__": "elsewhere", "__cuda_array_interface__": {}})()
    with pytest.raises(TypeError, match=r"of torch, CuPy or numba, not elsewhere\.Array"):
        library_of(foreign)


def test_no_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> None:
        raise RuntimeError("no CUDA device can be used")

    monkeypatch.setattr(_device, "require_device", missing)
    with pytest.raises(RuntimeError, match="no CUDA device can be used"):
        L.LSTM(H)(CupyLike(normal(B, T, F)))
