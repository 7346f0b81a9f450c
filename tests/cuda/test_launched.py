"""What calls ask of the driver, here a stand-in: memory and launches, but no waiting."""

from __future__ import annotations

import itertools
from typing import Any
from unittest import mock

import numpy as np
import pytest

from fastmask_kernels.spec import KERNELS

from . import compiling

REASON = compiling.missing()
pytestmark = pytest.mark.skipif(REASON is not None, reason=str(REASON))


def array_at(address: int, shape: tuple[int, ...], dtype: str) -> Any:
    from fastmask_kernels.cuda.runtime.device import DeviceArray, Flags

    return DeviceArray(address, shape, np.dtype(dtype), 0, Flags(True, True, True), None)


ROOM = 1 << 30  # bytes from one array to the next, more than any array takes
ADDRESSES = itertools.count(1)


class Driver:
    """Gives memory and records its calls; waiting and copying fail."""

    def __init__(self) -> None:
        from cuda.bindings import driver

        self._true, self.asked, self.held = driver, [], {}

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("cu") or name == "cuuint64_t":
            return getattr(self._true, name)  # types and numbers

        def ask(*args: Any) -> tuple[Any, ...]:
            self.asked.append(name)
            answer = getattr(self, f"_{name}", None)
            assert answer is not None, f"{name} was called"
            return self._true.CUresult.CUDA_SUCCESS, answer(*args)

        return ask

    def _cuDeviceGetAttribute(self, attribute: Any, device: int) -> int:
        return 1

    def _cuMemPoolCreate(self, properties: Any) -> str:
        assert properties.location.id == 0
        return "pool"

    def _cuMemPoolSetAttribute(self, pool: str, attribute: Any, value: Any) -> None:
        assert (pool, int(value)) == ("pool", 2**64 - 1)

    def _cuMemHostAlloc(self, size: int, flags: int) -> int:
        self.words = np.full(size, 0xFF, np.uint8)
        return self.words.ctypes.data

    def _cuMemAllocFromPoolAsync(self, size: int, pool: str, stream: int) -> int:
        assert 0 < size < ROOM
        address = ROOM * next(ADDRESSES)
        self.held[address] = stream
        return address

    def _cuMemFreeAsync(self, address: int, stream: int) -> None:
        assert self.held.pop(address, stream) == stream  # or of a failed test, freed late


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> Driver:
    """Replaces the real driver, without which Numba could neither wait nor allocate."""
    from fastmask_kernels.cuda.runtime import device as _device
    from fastmask_kernels.cuda.runtime import driver as _driver
    from fastmask_kernels.cuda.runtime import errors as faults
    from fastmask_kernels.cuda.runtime import kernel as _kernel

    driver = Driver()
    monkeypatch.setattr(_driver, "_driver", lambda: driver)
    monkeypatch.setattr(_driver, "_pools", {})
    monkeypatch.setattr(_driver._thread, "device", 0)
    monkeypatch.setattr(_device, "require_device", lambda: None)
    monkeypatch.setattr(faults, "_unused", [])
    monkeypatch.setattr(faults, "_reports", faults._Reports())
    monkeypatch.setattr(_driver, "limits", lambda: _driver.Limits(132, 232448))
    monkeypatch.setattr(_kernel.Kernel, "most_blocks", lambda *args: 132)
    monkeypatch.setattr(
        *(_kernel.Kernel, "_start"),
        lambda self, *args: driver.asked.append(self.name.partition("(")[0]),
    )
    return driver


def arguments(name: str, units: int) -> list[Any]:
    """Arguments of a kernel, at made-up device addresses."""
    from fastmask_kernels.machine_code.launches import arguments

    return arguments(name, {"B": 3, "T": 700, "F": 8, "H": units}, "float32")


@pytest.mark.parametrize("units", [64, 512], ids=["a block", "a grid"])
@pytest.mark.parametrize("name", KERNELS)
def test_calls_wait_for_nothing(driver: Driver, name: str, units: int) -> None:
    """The first call prepares memory; another allocates scratch on its stream and frees it."""
    from fastmask_kernels import cuda

    once = arguments(name, units)
    with cuda.use_stream(11):
        getattr(cuda, name)(*once)
        assert not driver.held
        driver.asked.clear()
        getattr(cuda, name)(*once)
    assert not driver.held
    asked = [call for call in driver.asked if call.startswith("cu")]
    assert set(asked) <= {"cuMemAllocFromPoolAsync", "cuMemFreeAsync"}
    print([call for call in driver.asked if not call.startswith("cu")], len(asked) // 2)


@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn"])
def test_launches_of_a_forward_call(driver: Driver, cell: str) -> None:
    from fastmask_kernels import cuda

    once = arguments(f"{cell}_fwd", 64)
    getattr(cuda, f"{cell}_fwd")(*once)
    launched = [call for call in driver.asked if not call.startswith("cu")]
    assert launched[:2] == ["copy_plan", "product"]
    assert launched[-1] == "spreader"
    assert len(launched) <= 5
    driver.asked.clear()
    getattr(cuda, f"{cell}_fwd").unchecked(*once)  # as layers and torch modules call it
    assert [call for call in driver.asked if not call.startswith("cu")] == launched[1:]


def test_calls_by_the_owners_of_memory_and_products(driver: Driver) -> None:
    """A call then asks the driver for no memory, except once for that of reports."""
    from fastmask_kernels import cuda

    multiply = mock.Mock()
    memory = mock.Mock(side_effect=lambda size, device: array_at(4096, (size,), "u1"))
    with cuda.use_memory(memory), cuda.use_products(multiply, exact=True):
        cuda.lstm_fwd(*arguments("lstm_fwd", 64))
        assert len(multiply.call_args_list) == 1
        cuda.lstm_bwd(*arguments("lstm_bwd", 64))
    assert len(multiply.call_args_list) == 4
    assert all(call.args[1] == 0 for call in memory.call_args_list)
    asked = [call for call in driver.asked if call.startswith("cu")]
    assert asked == ["cuMemHostAlloc"], "once, for reports"


def test_a_device_without_pools(driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    from fastmask_kernels.cuda.runtime import device as _device
    from fastmask_kernels.cuda.runtime import driver as _driver

    kept = mock.Mock(__cuda_array_interface__={"data": (512, False)})
    allocate = mock.Mock(return_value=kept)
    monkeypatch.setattr(_driver.cuda, "device_array", allocate)
    monkeypatch.setattr(Driver, "_cuDeviceGetAttribute", lambda *args: 0)
    assert _device.empty(3, "f4").address == 512
    assert driver.asked == ["cuDeviceGetAttribute"]


def test_no_memory(driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    from fastmask_kernels.cuda.runtime import device as _device

    full = driver.CUresult.CUDA_ERROR_OUT_OF_MEMORY
    monkeypatch.setattr(driver, "cuMemAllocFromPoolAsync", lambda *args: (full, 0), raising=False)
    with pytest.raises(MemoryError, match="no memory for 12 bytes of scratch"):
        _device.empty(3, "f4")


def test_words_of_the_host_are_zeros_at_first(driver: Driver) -> None:
    from fastmask_kernels.cuda.runtime import errors as faults

    word, call = faults.expect("row {} is none".format, 0)
    assert (word.address - driver.words.ctypes.data) % 8 == 0
    faults.raise_found()
    faults._reports.word[0] = 5 * faults.CALLS + call
    with pytest.raises(ValueError, match=r"^row 5 is none$"):
        faults.raise_found()
    faults.raise_found()
