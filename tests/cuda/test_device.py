"""Arrays of any library, the device they are on, and argument errors."""

from __future__ import annotations

import weakref
from typing import Any

import numpy as np
import pytest

from fastmask_kernels import cuda, reference
from fastmask_kernels.cuda.runtime import device as _device
from fastmask_kernels.cuda.runtime import driver as _driver
from fastmask_kernels.cuda.runtime.kernel import blocks_for, lanes_for, threads_for
from fastmask_kernels.spec import ACTIVATIONS, KERNELS

from ..cases import LSTMCase, RNNCase
from .backend import Memory, backend

simulated = pytest.mark.skipif(not _device.SIMULATED, reason="memory of the host is no device's")


class Described:
    """An object with a given array interface."""

    def __init__(self, **changes: Any) -> None:
        memory = np.zeros((2, 3), np.float32)
        self.keep = memory
        self.__cuda_array_interface__ = {**memory.__array_interface__, "version": 3, **changes}


@simulated
def test_nothing_is_copied() -> None:
    ids, valid = np.array([[0, 3]]), np.zeros((1, 2), bool)
    view = _device.view_of(Memory(ids), "ids")
    assert (view.address, view.shape, view.dtype) == (ids.ctypes.data, (1, 2), ids.dtype)
    cuda.mask_not_equal(Memory(valid), Memory(ids), 0)
    assert valid.tolist() == [[False, True]]


def test_device_arrays_are_arrays_of_the_device() -> None:
    array = _device.to_device(np.arange(6, dtype=np.int16).reshape(2, 3))
    assert _device.view_of(array, "array") is array
    assert (array.ndim, array.size, array.nbytes, len(array)) == (2, 6, 12, 2)
    assert _device.to_host(array).tolist() == [[0, 1, 2], [3, 4, 5]]
    assert array.__cuda_array_interface__["data"] == (array.address, False)
    assert _device.to_host(_device.empty((0, 3), "f4")).shape == (0, 3)


@simulated
@pytest.mark.parametrize(
    ("changes", "contiguous"),
    [
        ({"strides": None}, True),
        ({"strides": (12, 4)}, True),
        ({"strides": (24, 4)}, False),
        ({"strides": (4, 8)}, False),
        ({"shape": (1, 3), "strides": (999, 4)}, True),
        ({"shape": (0, 3), "strides": (999, 7)}, True),
    ],
)
def test_strides(changes: dict[str, Any], contiguous: bool) -> None:
    assert _device.view_of(Described(**changes), "x").flags.c_contiguous == contiguous


@simulated
def test_structured_dtypes_and_null_pointers() -> None:
    records = np.zeros(2, [("a", "i1"), ("b", "f4")])
    assert _device.view_of(Memory(records), "x").dtype == records.dtype
    assert _device.view_of(Described(shape=(0,), data=(0, False)), "x").address == 0


@simulated
@pytest.mark.parametrize("given", [np.zeros((1, 2)), [[0.0]], None, 3])
def test_arrays_of_the_host_are_refused(given: Any) -> None:
    with pytest.raises(TypeError, match="ids must be an array on a CUDA device"):
        cuda.mask_not_equal(Memory(np.zeros((1, 2), bool)), given, 0)
    with pytest.raises(TypeError, match="valid must be an array on a CUDA device"):
        cuda.mask_not_equal(given, Memory(np.zeros((1, 2))), 0)


@simulated
def test_masked_arrays_are_refused() -> None:
    with pytest.raises(TypeError, match="x is a masked array"):
        _device.view_of(Described(mask=Memory(np.zeros(6, bool))), "x")


@simulated
def test_arrays_on_two_devices_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    valid, ids = np.zeros((1, 2), bool), np.zeros((1, 2))
    monkeypatch.setattr(_device, "device_of", lambda address: int(address == ids.ctypes.data))
    with pytest.raises(ValueError, match="ids is on device 1, but valid is on device 0"):
        cuda.mask_not_equal(Memory(valid), Memory(ids), 0)


@simulated
def test_outputs_that_cannot_be_written() -> None:
    valid = np.zeros((1, 2), bool)
    valid.flags.writeable = False
    with pytest.raises(ValueError, match="valid is an output and must be writeable"):
        cuda.mask_not_equal(Memory(valid), Memory(np.zeros((1, 2))), 0)
    with pytest.raises(ValueError, match=r"valid must be C-contiguous, .*: an output is allocated"):
        cuda.mask_not_equal(Memory(np.zeros((1, 4), bool)[:, ::2]), Memory(np.zeros((1, 2))), 0)
    words = "ids must be C-contiguous, not transposed or with gaps: pass cupy.ascontiguousarray"
    with pytest.raises(ValueError, match=words):
        cuda.mask_not_equal(Memory(np.zeros((1, 2), bool)), Memory(np.zeros((1, 4))[:, ::2]), 0)


@pytest.mark.parametrize("name", sorted(KERNELS))
def test_the_help_of_every_kernel_explains_its_sizes(name: str) -> None:
    told = getattr(cuda, name).__doc__
    assert "\n\nSizes: " in told
    assert "See `help(fastmask_kernels.spec)`" in told


def test_kernels_of_what_is_no_cell() -> None:
    with pytest.raises(TypeError, match=r"cell must be a cell made by fm\.cell .*, not 'l"):
        cuda.kernels_of("lstm")  # type: ignore[arg-type]  # wrong on purpose


@simulated
def test_read_only_inputs() -> None:
    ids, valid = np.array([[0, 3]]), np.zeros((1, 2), bool)
    ids.flags.writeable = False
    cuda.mask_not_equal(Memory(valid), Memory(ids), 0)
    assert valid.tolist() == [[False, True]]


@pytest.mark.parametrize("there", [False, True])
def test_no_driver_or_no_compiler(there: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_driver, "SIMULATED", False)
    monkeypatch.setattr(_driver.cuda, "is_available", lambda: False, raising=False)
    monkeypatch.setattr(_driver, "_has_driver", lambda: there)
    message = "NVVM .* was not found: pip install" if there else "no CUDA device can be used"
    _device.require_device.cache_clear()
    try:
        with pytest.raises(RuntimeError, match=message):
            _device.device_arrays([])
        with pytest.raises(RuntimeError, match=message):
            cuda.check_indices()
    finally:
        _device.require_device.cache_clear()


@pytest.mark.parametrize("backward", [False, True])
def test_memory_of_the_owner(backward: bool) -> None:
    """Scratch memory of a call: full of NaN at first, and released at its end."""
    given: list[weakref.ref[Any]] = []

    def allocate(size: int, device: int) -> Any:
        memory = _device.to_device(np.full(size, 0xFF, np.uint8), device)
        given.append(weakref.ref(memory.owner))
        return memory

    case = LSTMCase(3, 3, 2, 4, kind="holes")
    with cuda.use_memory(allocate):
        with cuda.use_memory(None):
            _device.empty(3, "f4")
        assert not given
        run = case.run_backward if backward else case.run
        actual = run(backend, save="gates" if backward else "nothing")
    expected = run(reference, dtype="float64", save="gates" if backward else "nothing")
    for a, wanted in zip(actual, expected, strict=True):
        np.testing.assert_allclose(a, wanted, rtol=1e-4, atol=1e-5)
    assert given
    assert not any(memory() is not None for memory in given)


def test_stream_of_a_block_of_code() -> None:
    with cuda.use_stream(7):
        assert _device.stream_of_launch() == 7
        with cuda.use_stream(0):
            assert _device.stream_of_launch() == 0
        assert _device.stream_of_launch() == 7
    assert _device.stream_of_launch() == 0


@pytest.mark.parametrize("items", [0, 1, 31, 32, 33, 64, 100, 10**9])
def test_launches_have_whole_warps_and_blocks_for_everything(items: int) -> None:
    threads, lanes = threads_for(items, 128), lanes_for(items)
    assert threads in (32, 64, 96, 128)
    assert lanes >= min(items, 32)
    assert 32 % lanes == 0
    assert blocks_for(items, threads) * threads >= min(items, threads)
    assert (blocks_for(items, threads) == 0) == (items == 0)


@pytest.mark.parametrize("name", KERNELS)
def test_an_output_shares_no_memory(name: str) -> None:
    """Its first or last byte belongs to another array; inputs may overlap each other."""
    arguments = KERNELS[name].arguments
    arrays = [a for a in arguments if a.shape is not None]
    kinds = {"activation": ACTIVATIONS[0], "flag": True}
    plain = {a.name: kinds.get(a.dtype, 1) for a in arguments}
    memory = _device.to_device(np.zeros(16 * (len(arrays) + 1), np.uint8))

    def call(first: Any, second: Any, at: int) -> None:
        def place(number: int) -> int:
            return 16 * arrays.index(first) + at if arrays[number] is second else 16 * number

        views = {
            a.name: _device.DeviceArray(
                *(memory.address + place(number), (16,), np.dtype(np.uint8), 0),
                *(memory.flags, memory),
            )
            for number, a in enumerate(arrays)
        }
        getattr(cuda, name)(*[views.get(a.name, plain[a.name]) for a in arguments])

    for first in arrays:
        for second in arrays:
            for at in (0, 15, -15):
                if first is not second and (first.output or second.output):
                    with pytest.raises(ValueError, match="must not share memory with"):
                        call(first, second, at)
    inputs = [a for a in arrays if not a.output]
    with pytest.raises((TypeError, ValueError)) as caught:  # of dtypes or shapes
        call(inputs[0], inputs[-1], 0)
    assert "share" not in str(caught.value)


@simulated
def test_names_of_arrays_that_share_memory() -> None:
    case = RNNCase(2, 3, 2, 4)
    offsets, steps, order = case.plan
    packed = np.zeros(backend.rnn_packed_size(2, 4, np.float32), np.float32)
    states = [np.zeros((2, 4), np.float32) for _ in range(2)]
    out = np.frombuffer(steps, np.float32)[:0].reshape(2, 0, 4)
    rest = np.zeros((0, 4), np.float32), case.x, offsets, steps, order, packed

    def call(out: np.ndarray, last: np.ndarray, first: np.ndarray) -> None:
        arrays = out, last, *rest, first
        cuda.rnn_fwd(*map(Memory, arrays), "tanh", False, False, 1)

    call(out, *states)  # an array without elements shares nothing
    with pytest.raises(ValueError, match=r"h_last is an output and .* share memory with h_first"):
        call(out, states[0], states[0])
    large = np.zeros((2, 3, 4), np.float32)
    last = large.reshape(-1)[8:16].reshape(2, 4)
    with pytest.raises(ValueError, match=r"h_last is an output and .* share memory with out"):
        call(large, last, states[0])
