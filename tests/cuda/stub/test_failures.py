"""A driver that fails: each error names the failed call, and nothing leaks."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any
from unittest import mock

import numpy as np
import pytest

from fastmask_kernels import cells, cuda
from fastmask_kernels.cuda.masks import _filler
from fastmask_kernels.cuda.runtime import driver as _driver
from fastmask_kernels.cuda.runtime import kernel as _kernel
from fastmask_kernels.cuda.runtime.device import device_arrays, empty, to_device, to_host

from ...cases import CellCase
from ..backend import Backend
from . import environment, fail, held, logged

OUT_OF_MEMORY, OUT_OF_RESOURCES = 2, 701
_filled = _filler(np.dtype("u1"))


def fresh() -> Any:
    """A kernel that was never launched."""
    return _kernel.Kernel(_filled.function, _filled.argtypes)


def fill(made: Any = _filled) -> None:
    made.launch(1, 32, to_device(np.zeros((9, 3), bool)), 27, 1)


def layer(own: Any = cells.simple_rnn, units: int = 8) -> None:
    CellCase(3, 2, 2, units, own=own).run_backward(Backend())


REFUSED: list[tuple[str, int, Callable[[], Any], type[Exception], str]] = [
    ("cuMemAllocFromPoolAsync", OUT_OF_MEMORY, lambda: empty(3, "f4"), MemoryError, "12 bytes"),
    ("cuMemAllocFromPoolAsync", OUT_OF_MEMORY, layer, MemoryError, "no memory for .* of scratch"),
    ("cuMemAllocFromPoolAsync", 999, lambda: empty(3, "f4"), RuntimeError, "refuses 12 bytes"),
    (
        "cuMemAlloc",
        OUT_OF_MEMORY,
        lambda: to_device(np.zeros(9)),
        MemoryError,
        "refuses a copy of 72 bytes",
    ),
    (
        "cuMemcpyHtoD",
        999,
        lambda: to_device(np.zeros(9)),
        RuntimeError,
        "refuses a copy of 72 bytes",
    ),
    (
        "cuLaunchKernelEx",
        OUT_OF_RESOURCES,
        fill,
        RuntimeError,
        r"to launch filler\(uint8\) in 1 blocks",
    ),
    ("cuLaunchKernelEx", OUT_OF_RESOURCES, layer, RuntimeError, "refuses to launch"),
    (
        "cuLibraryLoadData",
        OUT_OF_MEMORY,
        lambda: fill(fresh()),
        MemoryError,
        "to load filled on device 0",
    ),
    ("cuLibraryLoadData", 218, lambda: fill(fresh()), RuntimeError, "refuses to load filled"),
    (
        "cuCtxSynchronize",
        700,
        lambda: cuda.check_indices(),
        RuntimeError,
        "refuses to wait: .*ILLEGAL_ADDRESS",
    ),
]


@pytest.mark.parametrize(("name", "code", "call", "kind", "message"), REFUSED)
def test_what_the_driver_refuses(
    name: str, code: int, call: Callable[[], Any], kind: type[Exception], message: str
) -> None:
    fill(), layer()  # so that one-time allocations are done
    before = held()
    # Numba frees unused memory and then tries to allocate again.
    fail(name, code, times=2 if name == "cuMemAlloc" else 1)
    with pytest.raises(kind, match=message):
        call()
    assert held() == before
    call()  # works again
    assert held() == before


@pytest.mark.parametrize("after", range(6))
def test_a_layer_without_memory_gives_back_what_it_has(after: int) -> None:
    layer(cells.lstm)
    before = held()
    fail("cuMemAllocFromPoolAsync", OUT_OF_MEMORY, after)
    with pytest.raises(MemoryError):
        layer(cells.lstm)
    assert held() == before


def test_a_grid_that_does_not_fit() -> None:
    with (
        mock.patch.object(_kernel.Kernel, "most_blocks", return_value=3),
        pytest.raises(ValueError, match="needs 64 blocks at once, and the device runs 3"),
    ):
        layer(cells.simple_rnn, 512)


def test_addresses_that_no_device_knows() -> None:
    said = {"shape": (3,), "typestr": "<f4", "data": (4096, False), "version": 3}
    array = SimpleNamespace(__cuda_array_interface__=said)
    with pytest.raises(ValueError, match="address 0x1000 is not memory that a CUDA device knows"):
        device_arrays([("x", array)])


def test_nvvm_that_is_not_there() -> None:
    """With a driver, but without a compiler, the message is about the compiler."""
    _driver.require_device.cache_clear()
    with (
        mock.patch("numba.cuda.cudadrv.nvvm.is_available", return_value=False),
        pytest.raises(RuntimeError, match="there is a driver, but NVVM"),
    ):
        _driver.require_device()


@pytest.mark.parametrize(
    "variables",
    [{"STUB_DEVICES": ""}, {"LD_LIBRARY_PATH": "/nowhere"}],
    ids=["no device", "no driver"],
)
def test_no_device_at_all(variables: dict[str, str]) -> None:
    program = "from fastmask_kernels.cuda import check_indices; check_indices()"
    run = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.stderr.splitlines()[-1].startswith(
        "RuntimeError: no CUDA device can be used: there is no driver, no GPU"
    )


def test_results_come_back_as_they_are() -> None:
    given = np.arange(6, dtype=np.int16).reshape(2, 3)
    with logged() as log:
        assert to_host(to_device(given)).tolist() == given.tolist()
    assert not log.launches
    assert environment()["STUB_DEVICES"] == "90,80"
