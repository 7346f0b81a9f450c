"""Ops and masks on GPU arrays: the results of the host, without copies and waits."""

from __future__ import annotations

import copy
import pickle
from collections import Counter
from typing import Any

import numpy as np
import pytest

import fastmask as fm
from fastmask.backends import dispatch as _dispatch
from fastmask.backends.cuda import arrays as _arrays
from fastmask.backends.cuda import library_of
from fastmask.backends.cuda import masks as _masks
from fastmask_kernels import cuda
from fastmask_kernels.cuda.runtime import device as _device

from ..cases import MASK_KINDS, make_mask
from .array_cases import (
    CELLS,
    HOLES,
    KINDS,
    SEQUENCES,
    STAND_INS,
    B,
    F,
    H,
    L,
    T,
    arguments,
    normal,
    put,
    same,
    with_weights,
)
from .owners import CUPY, NUMBA, CupyLike, NumbaLike

pytestmark = STAND_INS


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
    """With and without bias and initial states; last outputs of empty and of masked rows."""
    function, arrays, options = arguments(cell)
    options |= {"mask": HOLES, "return_sequences": False, "zero_output_for_mask": zero}
    states = [normal(B, H)] * (2 if cell == "lstm" else 1)
    if zero:
        arrays, states, options["go_backwards"] = arrays[:3], None, True
    expected = function(*arrays, initial_state=states, **options)
    found = function(*put(arrays, kind), initial_state=put(states, kind), **options)
    same(found, expected, kind)


@pytest.mark.parametrize("name", ["peephole_lstm", "minimal_gated_unit", "ind_rnn"])
def test_cells_of_formulas(name: str) -> None:
    layer = L.RNN(fm.cells.CELLS[name](H), return_state=True)
    x = normal(B, T, F)
    expected = layer(x, mask=HOLES)
    same(layer(CupyLike(x), mask=CupyLike(HOLES)), expected, CupyLike)


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
    assert counts["plans"] == 0  # the host's plan is copied
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


def test_quantized_layers() -> None:
    layer = with_weights(L.LSTM(H), x := normal(B, T, F))
    exact, on_gpu = layer(CupyLike(x)).array, CupyLike(x)
    with cuda.use_weights("bfloat16"):
        rounded = layer(on_gpu).array
    layer.quantize("bfloat16")
    np.testing.assert_array_equal(layer(on_gpu).array, rounded)
    assert (rounded != exact).any()
    layer.quantize("int8")
    table = L.Embedding(5, 2)
    table.quantize("int8")
    for call in (lambda: layer(on_gpu), lambda: table(CupyLike(np.array([[1, 0]])))):
        with pytest.raises(ValueError, match="quantized to int8 takes arrays on the host"):
            call()
    rows = table.get_weights()[0][[[1, 0]]]
    table.quantize("bfloat16")
    np.testing.assert_array_equal(table(CupyLike(np.array([[1, 0]]))).array, rows)


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
    with pytest.raises(TypeError, match="must hold integers, not dtype float32"):
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
