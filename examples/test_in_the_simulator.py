"""Tests of GPU code on a machine without a GPU: kernels run in fastmask's simulator.

pip install -e ".[test]"
NUMBA_ENABLE_CUDASIM=1 pytest examples/test_in_the_simulator.py
"""

from __future__ import annotations

import os

import numpy as np
import pytest
from numba import cuda, float32

import fastmask as fm
from fastmask_kernels.cuda.simulator import launch

pytestmark = pytest.mark.skipif(
    os.environ.get("NUMBA_ENABLE_CUDASIM") != "1", reason="set NUMBA_ENABLE_CUDASIM=1"
)


def test_a_model_computes_on_the_device_what_it_computes_on_the_host() -> None:
    rng = np.random.default_rng(0)
    x, valid = rng.normal(size=(3, 4, 2)).astype("f4"), rng.random((3, 4)) < 0.6
    model = fm.Sequential([fm.layers.GRU(5, return_sequences=True), fm.layers.Dense(2)])
    expected = model(fm.Masked(x, valid))
    found = model(fm.Masked(cuda.to_device(x), cuda.to_device(valid)))
    np.testing.assert_allclose(found.data.copy_to_host(), expected.data, atol=1e-5)
    np.testing.assert_array_equal(np.asarray(found.mask), valid)


@cuda.jit
def row_sums(out, x):
    """One block per row: a warp adds up with shuffles, which Numba's own simulator lacks."""
    row, lane = cuda.blockIdx.x, cuda.laneid
    total = x[row, lane]
    for distance in (16, 8, 4, 2, 1):
        total += cuda.shfl_down_sync(0xFFFFFFFF, total, distance)
    if lane == 0:
        out[row] = total


def test_a_kernel_with_warps() -> None:
    x = np.random.default_rng(1).normal(size=(3, 32)).astype("f4")
    out = cuda.to_device(np.zeros(3, "f4"))
    launch(row_sums, 3, 32, out, cuda.to_device(x))
    np.testing.assert_allclose(out.copy_to_host(), x.sum(1), rtol=1e-5)


@cuda.jit
def turned(out, x, first, second):
    """A block of 64 threads reverses one row after the other, through shared memory."""
    shared = cuda.shared.array(64, float32)
    i = cuda.threadIdx.x
    for row in range(x.shape[0]):
        shared[i] = x[row, i]
        if first:
            cuda.syncthreads()  # all have written before any reads
        out[row, i] = shared[63 - i]
        if second:
            cuda.syncthreads()  # all have read before any writes the next row


def is_turned(first: bool, second: bool, seed: int) -> bool:
    x = np.random.default_rng(2).normal(size=(2, 64)).astype("f4")
    out = np.zeros_like(x)
    launch(turned, 1, 64, out, x, first, second, seed=seed)
    return np.array_equal(out, x[:, ::-1])


def test_missing_barriers_show() -> None:
    seeds = range(20)  # a race may show in some orders of the threads only
    assert all(is_turned(True, True, seed) for seed in seeds)
    assert not all(is_turned(False, True, seed) for seed in seeds)
    assert not all(is_turned(True, False, seed) for seed in seeds)
