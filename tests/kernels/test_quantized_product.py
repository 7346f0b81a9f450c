"""Quantized products against NumPy's, with and without the special instructions of this CPU."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from numba import njit

from fastmask_kernels.cpu.gemm import Tiles
from fastmask_kernels.cpu.quantized.formats import BFLOAT16, INT8, Format
from fastmask_kernels.cpu.quantized.product import quantized_product
from fastmask_kernels.cpu.quantized.rows import row_converter, stride_of
from fastmask_kernels.cpu.simd import flat, lanes

pytestmark = pytest.mark.slow
TILES = Tiles(strip=2, row=4, widths=(2,), few_widths=(2, 4))
L = lanes(np.float32)


def compiled(format: Format) -> tuple[Any, Any]:
    convert_rows, multiply = row_converter(format), quantized_product(format, TILES)

    @njit(error_model="numpy")
    def convert(a: Any, index: Any, depth: int, out: Any, stride: int, least: Any):
        convert_rows(
            *(len(index), depth, flat(a), np.int64(0), flat(index), flat(out), np.int64(0)),
            *(np.int64(stride), np.float32(least)),
        )

    @njit(error_model="numpy")
    def run(a: Any, stride: int, depth: int, packed: Any, places: Any, z: Any):
        zero = np.int64(0)
        multiply(
            *(np.int64(4), np.int64(len(z)), flat(a), zero, stride, depth),
            *(flat(packed), places[0], places[1], flat(z), zero, np.int64(4 * L), flat(z), zero),
            *(places[2], places[3]),
        )

    return convert, run


def rounded(values: Any) -> Any:
    """Rounds to bfloat16 and back."""
    bits = np.asarray(values, np.float32).view(np.uint32)
    return ((bits + 0x7FFF + (bits >> 16 & 1)) & 0xFFFF0000).view(np.float32)


def strips(words: Any) -> Any:
    """[k, gate, lane] words in strips of two gates, as float32."""
    return np.concatenate([words[:, g : g + 2].reshape(-1) for g in (0, 2)]).view(np.float32)


def grouped(values: Any, group: int) -> Any:
    """[k, gate, lane] numbers as words of `group` successive k."""
    depth = -(-len(values) // group) * group
    whole = np.zeros((depth, *values.shape[1:]), values.dtype)
    whole[: len(values)] = values
    whole = whole.reshape(depth // group, group, *values.shape[1:]).transpose(0, 2, 3, 1)
    return np.ascontiguousarray(whole).view(np.int32)[..., 0]


@pytest.mark.parametrize("rows", [1, 2, 5, 13])
@pytest.mark.parametrize("depth", [1, 7, 16, 33])
class TestProduct:
    def test_bfloat16(self, rows: int, depth: int) -> None:
        convert, run = COMPILED["bfloat16"]
        random = np.random.default_rng(rows * 100 + depth)
        a = random.normal(size=(rows + 3, depth)).astype(np.float32)
        index = (random.permutation(rows + 3)[:rows] * depth).astype(np.int64)
        weights = random.normal(size=(depth, 4, L)).astype(np.float32)
        z = random.normal(size=(rows, 4, L)).astype(np.float32)
        stride = stride_of(BFLOAT16, depth, L)
        q = np.full((rows, stride), np.nan, np.float32)
        convert(a, index, depth, q, stride, 0.0)
        bits = (rounded(weights).view(np.uint32) >> 16).astype(np.uint16)
        packed = strips(grouped(bits, 2))
        words = BFLOAT16.words(depth)
        expected = z + np.tensordot(rounded(a[index // depth]), rounded(weights), 1)
        run(q, stride, words, packed, np.array([0, 2 * words * L, 0, 0]), z)
        np.testing.assert_allclose(z, expected, rtol=0, atol=1e-5 * depth**0.5)

    def test_int8(self, rows: int, depth: int) -> None:
        convert, run = COMPILED["int8"]
        random = np.random.default_rng(rows * 100 + depth)
        a = random.normal(size=(rows + 3, depth)).astype(np.float32)
        index = (random.permutation(rows + 3)[:rows] * depth).astype(np.int64)
        weights = random.integers(-127, 128, (depth, 4, L)).astype(np.int8)
        factors = random.uniform(0.5, 1, (4, L)).astype(np.float32)
        z = random.normal(size=(rows, 4, L)).astype(np.float32)
        stride = stride_of(INT8, depth, L)
        q = np.full((rows, stride), np.nan, np.float32)
        convert(a, index, depth, q, stride, 0.0)
        of_rows = a[index // depth]
        largest = np.abs(of_rows).max(axis=1)
        scales = q[:, -1]
        np.testing.assert_allclose(scales, largest / 127, rtol=1e-6)
        whole = np.rint(of_rows * (np.float32(127) / largest)[:, None]).astype(np.int64)
        found = q.view(np.uint8)[:, :depth].astype(np.int64) - 128
        np.testing.assert_array_equal(found, whole)
        starts = -128 * weights.sum(axis=0, dtype=np.int32)
        packed = np.concatenate(
            [strips(grouped(weights, 4)), factors.ravel(), starts.ravel().view(np.float32)]
        )
        words = INT8.words(depth)
        size = 4 * words * L
        sums = np.tensordot(whole, weights.astype(np.int64), 1)
        expected = z + sums * factors * scales[:, None, None]
        run(q, stride, words, packed, np.array([0, size // 2, size, size + 4 * L]), z)
        np.testing.assert_allclose(z, expected, rtol=1e-5, atol=1e-4)


def test_rows_that_are_not_finite() -> None:
    convert, _ = COMPILED["int8"]
    a = np.zeros((5, 40), np.float32)
    a[0, 33], a[1, 3], a[2, 0], a[3, 1] = np.nan, -np.inf, 0.25, -2.0
    stride = stride_of(INT8, 40, L)
    q = np.zeros((5, stride), np.float32)
    convert(a, np.arange(5) * 40, 40, q, stride, 1.0)
    scales = q[:, -1]
    assert np.isnan(scales[:2]).all()
    np.testing.assert_allclose(scales[2:], np.float32([1, 2, 1]) / 127, rtol=1e-6)  # at least 1
    found = q.view(np.uint8)[2:, :2]
    np.testing.assert_array_equal(found, [[128 + 32, 128], [128, 1], [128, 128]])


def test_not_a_number_stays_one_in_bfloat16() -> None:
    convert, _ = COMPILED["bfloat16"]
    a = np.array([[np.nan, np.inf, -np.inf, 3.4e38]], np.float32)
    a.view(np.uint32)[0, 0] = 0x7F800001  # the upper half alone would be infinite
    stride = stride_of(BFLOAT16, 4, L)
    q = np.zeros(stride, np.float32)
    convert(a, np.zeros(1, np.int64), 4, q, stride, 0.0)
    found = (q.view(np.uint16)[:4].astype(np.uint32) << 16).view(np.float32)
    np.testing.assert_array_equal(found, [np.nan, np.inf, -np.inf, np.inf])


COMPILED = {one.name: compiled(one) for one in (BFLOAT16, INT8)}

WITHOUT = {
    "AVX2": "+avx2,+fma,+avx,+sse4.2,+sse2,+popcnt",
    "AVX_VNNI": "+avx2,+fma,+avx,+sse4.2,+sse2,+avxvnni",
    "SSE": "+sse2",
    "AVX-512 alone": "+avx512f,+avx512vl,+avx512bw,+avx512dq,+avx512cd,+avx2,+fma,+avx,+sse4.2",
}


@pytest.mark.parametrize("name", WITHOUT)
def test_other_processors_get_the_same(name: str) -> None:
    from llvmlite.binding import get_host_cpu_features

    host = {feature for feature, on in get_host_cpu_features().items() if on}
    missing = {f[1:] for f in WITHOUT[name].split(",")} - host
    if missing:
        pytest.skip(f"this processor has no {', '.join(sorted(missing))}")
    command = ["-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "-m", "slow", __file__]
    done = subprocess.run(
        [sys.executable, *command, "-k", "not other_processors"],
        env={**os.environ, "NUMBA_CPU_FEATURES": WITHOUT[name], "NUMBA_CPU_NAME": "generic"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
