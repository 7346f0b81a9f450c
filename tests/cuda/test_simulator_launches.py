"""Launches in the simulator: names, sizes and arguments, and what is refused."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

import numba
import numpy as np
import pytest
from numba import cuda, float32, int64

from fastmask_kernels.cuda.runtime import device as _device

if not _device.SIMULATED:
    pytest.skip("tests the simulator", allow_module_level=True)
from fastmask_kernels.cuda.runtime.kernel import family, kernel, pointer, pointers
from fastmask_kernels.cuda.simulator import _module, launch

from .. import cuda_page


@pytest.mark.parametrize(
    ("use", "message"),
    [
        (lambda: cuda.syncthread(), r"lacks cuda\.syncthread: did you mean cuda\.syncthreads\?"),
        (lambda: cuda.atomic.ad, r"lacks cuda\.atomic\.ad: did you mean cuda\.atomic\.add\?"),
        (lambda: cuda.libdevice, r"lacks cuda\.libdevice: it has activemask, all_sync, .*warpsize"),
    ],
)
def test_what_the_simulator_lacks(use: Any, message: str) -> None:
    with pytest.raises(AttributeError, match=message):
        launch(lambda _: use(), 1, 1, 0)


def test_the_page_lists_what_the_simulator_has() -> None:
    section = cuda_page.section("Run a kernel in the simulator")
    for name in _module.NAMES:
        assert re.search(rf"\b{name}\b", section), name


@cuda.jit
def nothing(out: Any, x: Any) -> None:
    """For launches that are refused."""


@pytest.mark.parametrize(
    ("given", "options", "message"),
    [
        ([0.0], {}, r"argument 1 \(out\) of nothing must be a number, or an array .* not list"),
        (np.array(["a"]), {}, r"argument 1 \(out\) of nothing .* not ndarray of <U1"),
        ("a", {}, r"argument 1 \(out\) of nothing .* not str"),
        (None, {}, r"argument 1 \(out\) of nothing .* not NoneType"),
        (np.zeros, {}, r"argument 1 \(out\) of nothing .* not builtin_function_or_method"),
        ((np.zeros(2), ["a"]), {}, r"argument 1 \(out\) of nothing .* not list"),
        (np.zeros(2), {"shared": -1}, "shared must be 0 bytes or more, not -1"),
        (np.zeros(2), {"shared": 1.5}, r"shared must be a whole number of bytes, not 1\.5"),
    ],
)
def test_arguments_that_no_gpu_takes(given: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        launch(nothing, 1, 1, given, np.zeros(2), **options)


@pytest.mark.parametrize(
    ("grid", "threads", "message"),
    [
        (0, 32, "grid must be from 1"),
        ((1, 65536), 32, "grid must be from 1"),
        (1, (32, 0), "threads must be from 1"),
        (1, 1025, "threads must be from 1"),
        (1, (1, 1, 65), "threads must be from 1"),
        (1, (64, 17), "threads must be at most 1024 in a block, not 1088"),
        (1, -1, "threads must be from 1"),
        (1.0, 32, "grid must be a whole number"),
        (1, (1, 1, 1, 1), "threads must be a whole number"),
    ],
)
def test_sizes_that_no_gpu_takes(grid: Any, threads: Any, message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        launch(nothing, grid, threads, np.zeros(2), np.zeros(2))


@cuda.jit
def named_otherwise(out: Any) -> None:
    out[numba.cuda.threadIdx.x] = 1


@cuda.jit
def with_a_slip(out: Any) -> None:
    out[0] = out.nothing


def test_names_of_numbas_module() -> None:
    with pytest.raises(AttributeError, match=r"write cuda\.threadIdx, after `from numba import"):
        launch(named_otherwise, 1, 32, np.zeros(32))
    with pytest.raises(AttributeError, match="no attribute 'nothing'") as raised:
        launch(with_a_slip, 1, 32, np.zeros(32))
    assert "write cuda" not in str(raised.value)


@cuda.jit
def placed(out: Any, shift: int) -> None:
    """Dimensions, dynamic shared memory, and a device function."""
    shared = cuda.shared.array(0, float32)
    shared[cuda.threadIdx.x] = float32(cuda.threadIdx.x)
    x, y = cuda.grid(2)
    out[next_to(y, shift), x] = shared[cuda.threadIdx.x]


@cuda.jit(device=True)
def next_to(place: int, shift: int) -> Any:
    return int64(place + shift)


def test_dimensions_and_indices() -> None:
    out = np.full((3, 4), -1, "f4")
    launch(placed, (2, 3), (2, 1), out, 0, shared=8)
    assert out.tolist() == [[0, 1, 0, 1]] * 3
    for shift in (-1, 1):
        with pytest.raises(IndexError):
            launch(placed, (2, 3), (2, 1), out, shift, shared=8)


def test_numbas_own_launches_stay_as_they_are() -> None:
    out = cuda.to_device(np.zeros((3, 4), "f4"))

    @cuda.jit
    def numbered(out: Any) -> None:
        x, y = cuda.grid(2)
        out[y, x] = x

    numbered[(2, 3), (2, 1)](out)
    assert out.copy_to_host().tolist() == [[0, 1, 2, 3]] * 3


class Column(NamedTuple):
    data: Any
    stride: Any


@kernel(Column(pointer(float32), int64), pointers(float32, 2), float32)
def _add(c: Any, pair: Any, factor: Any) -> None:
    c.data[0] = pair[0][0] + factor * pair[1][0]


def test_what_a_launch_takes_is_checked() -> None:
    x, host = _device.to_device(np.ones(1, "f4")), np.ones(1, "f4")
    column, double = Column(x, 1), _device.to_device(np.ones(1, "f8"))
    _add.launch(1, 1, column, (x, x), 2.5)
    assert _device.to_host(x) == 3.5
    array = "must be a DeviceArray, not {}: `checked` makes them"
    for given, message in (
        ((column, (x, x)), "_add takes 3 arguments (c, pair, factor), not 2"),
        ((Column(host, 1), (x, x), 1), "item 0 of argument 1 (c) of _add " + array),
        ((column, (x, cuda.to_device(host)), 1), "item 1 of argument 2 (pair) of _add " + array),
        ((column, x, 1), "argument 2 (pair) of _add must be a tuple of 2, not DeviceArray"),
        ((column, (x,), 1), "argument 2 (pair) of _add must be a tuple of 2, not tuple of 1"),
        (
            (column, (x, double), 1),
            "argument 2 (pair) of _add must have dtype float32, not float64",
        ),
        ((column, (x, x), "1"), "argument 3 (factor) of _add must be a number, not str"),
        ((Column(x, 1.5), (x, x), 1), "item 1 of argument 1 (c) of _add must be an int, not float"),
    ):
        kind = "FakeCUDAArray" if "pair" in message else "ndarray"
        with pytest.raises(TypeError, match=re.escape(message.format(kind))):
            _add.launch(1, 1, *given)


def test_only_functions_are_launched() -> None:
    message = "kernel must be a kernel, but next_to is a device function, which only kernels call"
    with pytest.raises(TypeError, match=message):
        launch(next_to, 1, 1, 1, 2)
    for given, kind in ((_add, "Kernel"), (family("f4")(lambda _: _add), "_lru_cache_wrapper")):
        with pytest.raises(TypeError, match=f"kernel must be a function, not {kind}: of a Kernel"):
            launch(given, 1, 1, np.ones(1))
