"""What reaches the driver, which is a stand-in here: launches, shared memory, the disk cache."""

from __future__ import annotations

import ctypes
import itertools
import re
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple
from unittest import mock

import numpy as np
import pytest

from . import compiling

REASON = compiling.missing()
pytestmark = [
    pytest.mark.skipif(REASON is not None, reason=str(REASON)),
    pytest.mark.timeout(300),  # compiling for two GPUs
]
ARCH = (9, 0)


def pretend(stack: ExitStack) -> mock.Mock:
    """Let Numba compile for a GPU that is not there; returns what it launches kernels with."""
    from numba.cuda import codegen, dispatcher

    from fastmask_kernels.cuda.runtime import driver as _driver

    def bind(self: Any) -> None:
        self._codelibrary.get_cubin(ARCH)

    launch = mock.Mock()
    device = mock.Mock(compute_capability=ARCH)
    library = codegen.CUDACodeLibrary
    for owner, name, stand_in in (
        (dispatcher, "get_current_device", lambda: device),
        (dispatcher, "launch", launch),
        (dispatcher, "LaunchConfig", SimpleNamespace),  # the true one asks the driver
        (dispatcher._Kernel, "bind", bind),
        (library, "_ensure_cc", lambda self, cc=None: cc or ARCH),
        (library, "get_cufunc", lambda self: mock.Mock()),
        (codegen.JITCUDACodegen, "magic_tuple", lambda self: ((13, 0), ARCH)),
        (_driver._thread, "device", 0),
    ):
        stack.enter_context(mock.patch.object(owner, name, stand_in))
    return launch


@pytest.fixture
def launch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[mock.Mock]:
    monkeypatch.setattr("numba.core.config.CACHE_DIR", str(tmp_path))
    with ExitStack() as stack:
        yield pretend(stack)


def array_at(address: int, shape: tuple[int, ...], dtype: str) -> Any:
    from fastmask_kernels.cuda.runtime.device import DeviceArray, Flags

    return DeviceArray(address, shape, np.dtype(dtype), 0, Flags(True, True, True), None)


def scale() -> Any:
    from numba import cuda

    from fastmask_kernels.cuda.runtime.kernel import float32, int32, int64, kernel, pointer

    @kernel(pointer(float32), int64, float32, int32, cooperative=True)
    def scale(x: Any, count: int, factor: float, twice: int) -> None:
        i = cuda.grid(1)
        if i < count:
            x[i] *= factor if twice else factor * factor

    return scale


def test_launch_gives_addresses_and_numbers(launch: mock.Mock) -> None:
    from fastmask_kernels.cuda import use_stream

    x = array_at(4096, (10,), "f4")
    with use_stream(11):
        scale().launch(2, 32, x, 10, 0.5, True, shared=64)
    (stream, config, _, address, count, factor, twice), _ = launch.call_args
    assert stream.__cuda_stream__() == (0, 11)
    assert (config.grid, config.block, config.shmem_size) == ((2, 1, 1), (32, 1, 1), 64)
    assert config.is_cooperative
    assert (address, count.value, factor.value, twice.value) == (4096, 10, 0.5, 1)
    assert [type(a) for a in (count, factor, twice)] == [
        ctypes.c_int64,
        ctypes.c_float,
        ctypes.c_int32,
    ]


def test_a_tuple_of_arrays_is_launched_as_its_items(launch: mock.Mock) -> None:
    from numba import cuda

    from fastmask_kernels.cuda.runtime.kernel import float32, int64, kernel, pointers

    @kernel(pointers(float32, 2), pointers(float32, 1), int64, pointers(float32, 0))
    def add(x: Any, y: Any, count: int, none: Any) -> None:
        i = cuda.grid(1)
        if i < count:
            x[0][i] += x[1][i] + y[0][i]

    first, second, third = (array_at(address, (10,), "f4") for address in (4096, 8192, 12288))
    add.launch(2, 32, (first, second), (third,), 10, ())
    (_, _, _, *addresses, count), _ = launch.call_args
    assert (addresses, count.value) == ([4096, 8192, 12288], 10)


def test_tuples_of_tuples_with_names(launch: mock.Mock) -> None:
    from numba import cuda

    from fastmask_kernels.cuda.runtime.kernel import float32, int64, kernel, pointer

    class Column(NamedTuple):
        data: Any
        stride: Any

    @kernel((Column(pointer(float32), int64), int64), int64)
    def clear(given: Any, count: int) -> None:
        column, first = given
        i = cuda.grid(1)
        if i < count:
            column.data[(first + i) * column.stride] = 0

    clear.launch(2, 32, (Column(array_at(4096, (10,), "f4"), 5), 3), 10)
    (_, _, _, address, *numbers), _ = launch.call_args
    assert (address, [n.value for n in numbers]) == (4096, [5, 3, 10])


def test_empty_grids_are_not_launched(launch: mock.Mock) -> None:
    x = array_at(4096, (0,), "f4")
    scale().launch(0, 32, x, 0, 0.5, True)
    scale().launch((3, 0), 32, x, 0, 0.5, True)
    launch.assert_not_called()


def test_more_shared_memory_is_asked_for_once(launch: mock.Mock) -> None:
    from fastmask_kernels.cuda.runtime import kernel as _kernel

    x, kernel = array_at(4096, (10,), "f4"), scale()
    with mock.patch.object(_kernel, "allow_shared") as allow:
        for size in (48 * 1024, 100_000, 90_000, 120_000):
            kernel.launch(1, 32, x, 10, 0.5, True, shared=size)
    assert [call.args[1:] for call in allow.call_args_list] == [(0, 100_000), (0, 120_000)]


def test_kernels_of_one_source_and_another_dtype_are_cached_apart(
    launch: mock.Mock, tmp_path: Path
) -> None:
    from numba.cuda import dispatcher

    from fastmask_kernels.cuda.masks import _not_equal

    made = _not_equal.__wrapped__  # without what the family remembers
    compiles = mock.Mock(side_effect=dispatcher.compile_cuda)
    valid, ids = array_at(4096, (10,), "?"), array_at(8192, (10,), "i8")
    with mock.patch.object(dispatcher, "compile_cuda", compiles):
        for dtype in ("u4", "u8", "u4", "u8"):
            made(np.dtype(dtype)).launch(1, 32, valid, ids, 10, (2**32 - 1, 0, 0))
    compiled = [call.args[0].__name__ for call in compiles.call_args_list]
    assert compiled.count("not_equal") == 2
    assert list(tmp_path.rglob("*.nbc"))


def test_edited_sources_are_compiled_anew(
    launch: mock.Mock, monkeypatch: pytest.MonkeyPatch
) -> None:
    from numba.cuda import dispatcher

    from fastmask_kernels.cuda.masks import _filled
    from fastmask_kernels.cuda.runtime import kernel

    compiles = mock.Mock(side_effect=dispatcher.compile_cuda)
    valid = array_at(4096, (9, 3), "?")
    with mock.patch.object(dispatcher, "compile_cuda", compiles):
        kernel.Kernel(_filled.function, _filled.argtypes).launch(1, 32, valid, 27, 1)
        monkeypatch.setattr(kernel, "source_digest", lambda: "edited")
        kernel.Kernel(_filled.function, _filled.argtypes).launch(1, 32, valid, 27, 1)
    assert compiles.call_count == 2


ROOM = 1 << 30  # bytes from one array to the next, more than any takes
ADDRESSES = itertools.count(1)


class Driver:
    """Gives memory, and remembers what it was asked for; whoever waits or copies fails."""

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
        assert self.held.pop(address, stream) == stream  # or a failed test's, let go of late


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> Driver:
    """In place of the true one; Numba, which has none, could neither wait nor allocate."""
    from fastmask_kernels import cuda
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
    for module in [m for name, m in sys.modules.items() if name.startswith(cuda.__name__)]:
        monkeypatch.setattr(module, "multiprocessors", lambda: 132, raising=False)
    compiled = mock.Mock(**{"max_cooperative_grid_blocks.return_value": 132})
    monkeypatch.setattr(_kernel.Kernel, "_dispatcher", lambda self: compiled)
    monkeypatch.setattr(
        *(_kernel.Kernel, "_start"),
        lambda self, *args: driver.asked.append(self.name.partition("(")[0]),
    )
    return driver


def arguments(name: str, units: int) -> list[Any]:
    """Of a kernel, somewhere on the device."""
    from fastmask_kernels import cuda
    from fastmask_kernels.spec import KERNELS

    sizes = dict.fromkeys("TSX", 700) | dict.fromkeys("PKLN", 2100) | {"B": 3, "F": 8, "H": units}
    if name.endswith("fwd"):
        sizes["W"] = getattr(cuda, name.replace("fwd", "packed_size"))(8, units, np.float32)
    made: list[Any] = []
    for a in KERNELS[name].arguments:
        if a.shape is None:
            made.append({"activation": "tanh"}.get(a.dtype, 1))
            continue
        words = [re.fullmatch(r"(\d*)([A-Z]?)(?:\+(\d+))?", word) for word in a.shape]
        shape = [int(w[1] or 1) * sizes.get(w[2], 4 if w[2] else 1) + int(w[3] or 0) for w in words]
        dtype = {"real": "f4", "any": "f4"}.get(a.dtype, a.dtype)
        made.append(array_at(ROOM * (1 + len(made)), tuple(shape), dtype))
    return made


CALLS = [
    *("plan_steps", "gather_rows", "pad_rows", "unpad_rows", "masked_softmax"),
    *(f"{cell}_{way}" for cell in ("lstm", "gru", "rnn") for way in ("fwd", "bwd")),
]


@pytest.mark.parametrize("units", [64, 512], ids=["a block", "a grid"])
@pytest.mark.parametrize("name", CALLS)
def test_calls_wait_for_nothing(driver: Driver, name: str, units: int) -> None:
    """The first one prepares memory; another asks for scratch of its stream and gives it back."""
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
    assert launched[0] == "product"
    assert launched[-1] == "spreader"
    assert len(launched) <= 4


def test_calls_by_the_owners_of_memory_and_products(driver: Driver) -> None:
    """Then nothing is asked of the driver."""
    from fastmask_kernels import cuda

    multiply = mock.Mock()
    memory = mock.Mock(side_effect=lambda size, device: array_at(4096, (size,), "u1"))
    with cuda.use_memory(memory), cuda.use_products(multiply, exact=True):
        cuda.lstm_fwd(*arguments("lstm_fwd", 64))
        assert len(multiply.call_args_list) == 1
        cuda.lstm_bwd(*arguments("lstm_bwd", 64))
    assert len(multiply.call_args_list) == 4
    assert all(call.args[1] == 0 for call in memory.call_args_list)
    assert not [call for call in driver.asked if call.startswith("cu")]


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

    word, call = faults.expect("row {place} is none", 0)
    assert (word.address - driver.words.ctypes.data) % 8 == 0
    faults.raise_found()
    faults._reports.word[0] = 5 * faults.CALLS + call
    with pytest.raises(ValueError, match=r"^row 5 is none$"):
        faults.raise_found()
    faults.raise_found()
