"""What reaches the driver: arguments, streams, devices, shared memory, and the disk cache."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import numpy as np
import pytest
from numba import cuda as numba_cuda
from numba.cuda import dispatcher

from fastmask_kernels import cells, cuda
from fastmask_kernels.cuda.masks import _filler, _not_equal
from fastmask_kernels.cuda.rnn import mma_layout, places
from fastmask_kernels.cuda.runtime import driver as _driver
from fastmask_kernels.cuda.runtime import kernel as _kernel
from fastmask_kernels.cuda.runtime.device import OPEN, DeviceArray, empty, to_device
from fastmask_kernels.cuda.runtime.kernel import (
    UNASKED_SHARED,
    float32,
    int32,
    int64,
    kernel,
    pointer,
    pointers,
)

from ...cases import CellCase
from ..backend import Backend
from . import held, logged


def numbers(device: int = 0) -> DeviceArray:
    return to_device(np.zeros(10, np.float32), device)


def scale(cooperative: bool = True) -> Any:
    @kernel(pointer(float32), int64, float32, int32, cooperative=cooperative)
    def scale(x: Any, count: int, factor: float, twice: int) -> None:
        i = numba_cuda.grid(1)
        if i < count:
            x[i] *= factor if twice else factor * factor

    return scale


def test_addresses_numbers_sizes_and_the_stream() -> None:
    x = numbers()
    with cuda.use_stream(0x5500), logged() as log:
        scale().launch(2, 32, x, 10, 0.5, True, shared=64)
    (launch,) = log.launches
    assert (launch.grid, launch.block, launch.shared) == ((2, 1, 1), (32, 1, 1), 64)
    assert (launch.stream, launch.cooperative, launch.device) == (0x5500, True, 0)
    half = int(np.float32(0.5).view(np.uint32))
    assert launch.arguments == [(8, x.address), (8, 10), (4, half), (4, 1)]


def test_tuples_are_launched_as_their_items() -> None:
    class Column(NamedTuple):
        data: Any
        stride: Any

    @kernel((Column(pointer(float32), int64), int64), pointers(float32, 2), pointers(float32, 0))
    def add(given: Any, x: Any, none: Any) -> None:
        column, first = given
        column.data[first * column.stride] = x[0][0] + x[1][0]

    x, y, z = (numbers() for _ in range(3))
    with logged() as log:
        add.launch((2, 3), 32, (Column(x, 5), np.int32(3)), (y, z), ())
    (launch,) = log.launches
    assert launch.grid == (2, 3, 1)
    addresses = [array.address for array in (y, z)]
    assert [value for _, value in launch.arguments] == [x.address, 5, 3, *addresses]


def test_other_arguments_are_refused() -> None:
    x = numbers()
    for given, message in (
        ((x, 10, 0.5), "scale takes 4 arguments (x, count, factor, twice), not 3"),
        ((np.ones(3), 10, 0.5, True), "argument 1 (x) of scale must be a DeviceArray, not ndarray"),
        ((x, 10, "half", True), "argument 3 (factor) of scale must be a number, not str"),
        ((x, 10, 0.5, 1.5), "argument 4 (twice) of scale must be an int, not float"),
    ):
        with pytest.raises(TypeError, match=re.escape(message)):
            scale().launch(2, 32, *given)


def test_empty_grids_are_not_launched() -> None:
    with logged() as log:
        scale().launch(0, 32, numbers(), 0, 0.5, True)
        scale().launch((3, 0), 32, numbers(), 0, 0.5, True)
    assert not log.launches


def test_a_launch_that_was_made_before_asks_for_nothing_else() -> None:
    """Device, module, stream and configuration are kept from the first launch."""
    x, kernel = numbers(), scale()
    kernel.launch(2, 32, x, 10, 0.5, True)
    with (
        mock.patch.object(numba_cuda, "get_current_device", side_effect=AssertionError),
        mock.patch("numba.cuda.cudadrv.devices.get_context", side_effect=AssertionError),
        mock.patch.object(_kernel, "LaunchConfig", side_effect=AssertionError),
        mock.patch.object(_kernel.Kernel, "_load", side_effect=AssertionError),
        logged() as log,
    ):
        for count in range(3):
            kernel.launch(2, 32, x, count, 0.5, True)
    assert [one.arguments[1][1] for one in log.launches] == [0, 1, 2]
    assert _driver.stream_on(0, 0) is _driver.stream_on(0, 0)


def test_more_shared_memory_is_asked_for_once() -> None:
    x, kernel = numbers(), scale()
    with logged() as log:
        for size in (48 * 1024, 100_000, 90_000, 120_000, 120_000):
            kernel.launch(1, 32, x, 10, 0.5, True, shared=size)
    asked = [line.split()[2] for line in log.calls("cuKernelSetAttribute")]
    assert asked == ["100000", "120000"]
    with pytest.raises(ValueError, match="device 0 does not have 300000 bytes of shared memory"):
        kernel.launch(1, 32, x, 10, 0.5, True, shared=300_000)


def test_static_shared_memory_counts() -> None:
    """Up to 48 KiB need no request; the kernel's static shared memory counts."""

    @kernel(pointer(float32))
    def turn(x: Any) -> None:
        own, more = numba_cuda.shared.array(32, float32), numba_cuda.shared.array(0, float32)
        i = numba_cuda.threadIdx.x
        own[i] = x[i]
        more[i] = x[i]
        numba_cuda.syncthreads()
        x[i] = own[31 - i] + more[31 - i]

    with logged() as log:
        turn.launch(1, 32, numbers(), shared=UNASKED_SHARED - 4 * 32)
    assert not log.calls("cuKernelSetAttribute")
    with logged() as log:
        turn.launch(1, 32, numbers(), shared=UNASKED_SHARED)
    assert [line.split()[2] for line in log.calls("cuKernelSetAttribute")] == [str(UNASKED_SHARED)]


def test_each_device_has_its_own_limits_kernels_and_streams() -> None:
    """An H100 and an A100: the same layer fits in a block of one, but not of the other."""
    found = []
    devices = (132, 232448, (9, 0)), (108, 166912, (8, 0))
    for device, (count, shared, capability) in enumerate(devices):
        with _driver.on_device(device):
            assert _driver.limits() == (count, shared, capability)
            assert places.shared_bytes() == shared - places.OWN_SHARED
        with logged() as log, _driver.on_device(device):  # for the size of packed weights
            CellCase(3, 2, 2, 96, dtype="float64", own=cells.lstm).run(Backend(device))
        (loop,) = [one for one in log.launches if "time_loop" in one.name]
        found.append((loop.cooperative, loop.device))
        pools = [line.split()[-1] for line in log.calls("cuMemPoolCreate")]
        assert set(pools) <= {str(device)}
    assert found == [(False, 0), (True, 1)]
    assert _driver.current_device() == 0


def test_an_empty_array_chooses_no_device() -> None:
    nothing = DeviceArray(0, (0,), np.dtype("f4"), 0, OPEN, None)
    with _driver.on_device(1), logged() as log:
        scale().launch(1, 32, nothing, 0, 0.5, True)
    assert [one.device for one in log.launches] == [1]


def test_arrays_on_two_devices_are_refused() -> None:
    with pytest.raises(ValueError, match="ids is on device 1, but valid is on device 0"):
        cuda.mask_not_equal(
            to_device(np.zeros((1, 2), bool)), to_device(np.zeros((1, 2)), device=1), 0
        )


def test_scratch_comes_from_a_pool_and_goes_back_on_its_stream() -> None:
    before = held()
    with cuda.use_stream(0x5500), logged() as log:
        memory = empty(100, "f4", device=1)
        assert held() == before + 1
        del memory
    assert held() == before
    (taken,), (given,) = log.calls("cuMemAllocFromPoolAsync"), log.calls("cuMemFreeAsync")
    assert taken.endswith("pool 0x9001 stream 0x5500")
    assert given.endswith("stream 0x5500")


def test_kernels_of_one_source_and_another_dtype_are_cached_apart(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("numba.core.config.CACHE_DIR", str(tmp_path))
    made = _not_equal.__wrapped__  # without the family's cache
    compiles = mock.Mock(side_effect=dispatcher.compile_cuda)
    valid, ids = to_device(np.zeros(10, bool)), to_device(np.zeros(10, np.int64))
    with mock.patch.object(dispatcher, "compile_cuda", compiles):
        for dtype in ("u4", "u8", "u4", "u8"):
            made(np.dtype(dtype)).launch(1, 32, valid, ids, 10, (2**32 - 1, 0, 0))
    compiled = [call.args[0].__name__ for call in compiles.call_args_list]
    assert compiled.count("not_equal") == 2
    assert list(tmp_path.rglob("*.nbc"))


def test_edited_sources_are_compiled_anew(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("numba.core.config.CACHE_DIR", str(tmp_path))
    compiles = mock.Mock(side_effect=dispatcher.compile_cuda)
    valid = to_device(np.zeros((9, 3), bool))
    _filled = _filler(np.dtype("u1"))
    with mock.patch.object(dispatcher, "compile_cuda", compiles):
        _kernel.Kernel(_filled.function, _filled.argtypes).launch(1, 32, valid, 27, 1)
        monkeypatch.setattr(_kernel, "source_digest", lambda: "edited")
        _kernel.Kernel(_filled.function, _filled.argtypes).launch(1, 32, valid, 27, 1)
    assert compiles.call_count == 2


AGAIN = """
import numpy as np
from unittest import mock
from numba.cuda import dispatcher
from fastmask_kernels.cuda.masks import _filler
from fastmask_kernels.cuda.runtime.device import to_device
for device in (0, 1):
    with mock.patch.object(dispatcher, "compile_cuda", side_effect=AssertionError):
        _filler(np.dtype("u1")).launch(1, 32, to_device(np.zeros((9, 3), bool), device), 27, 1)
"""


def test_another_process_compiles_nothing(tmp_path: Path) -> None:
    """On the device that the first process compiled for, and on another one."""
    first = AGAIN.replace("side_effect=AssertionError", "wraps=dispatcher.compile_cuda")
    variables = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    for program in (first, AGAIN):
        subprocess.run([sys.executable, "-W", "error", "-c", program], check=True, env=variables)


def test_forms_of_weights_on_tensor_cores_need_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """The message names the device's multiprocessors."""
    with _driver.on_device(1), cuda.use_weights("bfloat16"):
        with pytest.raises(ValueError, match="108 multiprocessors cannot hold 4000 units"):
            cuda.lstm_packed_size(8, 4000, np.float32)
        assert mma_layout.alone(((4, 8),), 8, 2) is not None
