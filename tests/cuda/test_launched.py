"""What reaches the driver, which is a stand-in here: launches, shared memory, the disk cache."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import numpy as np
import pytest

from . import compiling

REASON = compiling.missing()
pytestmark = pytest.mark.skipif(REASON is not None, reason=str(REASON))
ARCH = (9, 0)


def pretend(stack: ExitStack) -> mock.Mock:
    """Let Numba compile for a GPU that is not there; returns what it launches kernels with."""
    from numba.cuda import codegen, dispatcher

    from fastmask_kernels.cuda import _kernel

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
        (_kernel, "on_device", lambda device: nullcontext()),
    ):
        stack.enter_context(mock.patch.object(owner, name, stand_in))
    return launch


@pytest.fixture
def launch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[mock.Mock]:
    monkeypatch.setattr("numba.core.config.CACHE_DIR", str(tmp_path))
    with ExitStack() as stack:
        yield pretend(stack)


def array_at(address: int, shape: tuple[int, ...], dtype: str) -> Any:
    from fastmask_kernels.cuda._device import DeviceArray, Flags

    return DeviceArray(address, shape, np.dtype(dtype), 0, Flags(True, True, True), None)


def scale() -> Any:
    from numba import cuda

    from fastmask_kernels.cuda._kernel import float32, int32, int64, kernel, pointer

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


def test_empty_grids_are_not_launched(launch: mock.Mock) -> None:
    x = array_at(4096, (0,), "f4")
    scale().launch(0, 32, x, 0, 0.5, True)
    scale().launch((3, 0), 32, x, 0, 0.5, True)
    launch.assert_not_called()


def test_more_shared_memory_is_asked_for_once(launch: mock.Mock) -> None:
    from fastmask_kernels.cuda import _kernel

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
            made(np.dtype(dtype)).launch(1, 32, valid, ids, 10, 2**32 - 1, 0)
    assert compiles.call_count == 2
    assert list(tmp_path.rglob("*.nbc"))


def test_edited_sources_are_compiled_anew(
    launch: mock.Mock, monkeypatch: pytest.MonkeyPatch
) -> None:
    from numba.cuda import dispatcher

    from fastmask_kernels import _sources
    from fastmask_kernels.cuda.masks import _count

    compiles = mock.Mock(side_effect=dispatcher.compile_cuda)
    arrays = array_at(4096, (10,), "i8"), array_at(8192, (9, 3), "?")
    with mock.patch.object(dispatcher, "compile_cuda", compiles):
        _count.__wrapped__().launch(1, 32, *arrays, 9, 3)
        monkeypatch.setattr(_sources, "source_digest", lambda: "edited")
        _count.__wrapped__().launch(1, 32, *arrays, 9, 3)
    assert compiles.call_count == 2
