"""The project's PTX: fragment layouts, memory, counters.

In the simulator this tests the emulation; on a GPU, our reading of the PTX manual, which both the
emulation and the kernels follow.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numba import cuda

from fastmask_kernels.cuda.runtime import ptx as ptx
from fastmask_kernels.cuda.runtime.device import SIMULATED, to_device, to_host
from fastmask_kernels.cuda.runtime.kernel import float32, int32, kernel, pointer, uint16, uint32


@kernel(pointer(float32), pointer(float32), pointer(float32), pointer(float32))
def multiply_tf32(out: Any, a: Any, b: Any, c: Any) -> None:
    g, t = cuda.laneid // 4, cuda.laneid % 4
    d = ptx.mma_tf32(
        ptx.to_tf32(a[g * 8 + t]),
        ptx.to_tf32(a[(g + 8) * 8 + t]),
        ptx.to_tf32(a[g * 8 + t + 4]),
        ptx.to_tf32(a[(g + 8) * 8 + t + 4]),
        ptx.to_tf32(b[t * 8 + g]),
        ptx.to_tf32(b[(t + 4) * 8 + g]),
        c[g * 8 + 2 * t],
        c[g * 8 + 2 * t + 1],
        c[(g + 8) * 8 + 2 * t],
        c[(g + 8) * 8 + 2 * t + 1],
    )
    out[g * 8 + 2 * t], out[g * 8 + 2 * t + 1] = d[0], d[1]
    out[(g + 8) * 8 + 2 * t], out[(g + 8) * 8 + 2 * t + 1] = d[2], d[3]


@kernel(pointer(float32), pointer(float32), pointer(float32), pointer(float32))
def multiply_bf16(out: Any, a: Any, b: Any, c: Any) -> None:
    g, t = cuda.laneid // 4, cuda.laneid % 4
    k = 2 * t
    d = ptx.mma_bf16(
        ptx.pack_bf16(a[g * 16 + k], a[g * 16 + k + 1]),
        ptx.pack_bf16(a[(g + 8) * 16 + k], a[(g + 8) * 16 + k + 1]),
        ptx.pack_bf16(a[g * 16 + k + 8], a[g * 16 + k + 9]),
        ptx.pack_bf16(a[(g + 8) * 16 + k + 8], a[(g + 8) * 16 + k + 9]),
        ptx.pack_bf16(b[k * 8 + g], b[(k + 1) * 8 + g]),
        ptx.pack_bf16(b[(k + 8) * 8 + g], b[(k + 9) * 8 + g]),
        c[g * 8 + k],
        c[g * 8 + k + 1],
        c[(g + 8) * 8 + k],
        c[(g + 8) * 8 + k + 1],
    )
    out[g * 8 + k], out[g * 8 + k + 1] = d[0], d[1]
    out[(g + 8) * 8 + k], out[(g + 8) * 8 + k + 1] = d[2], d[3]


@kernel(pointer(uint32), pointer(float32))
def fragments(out: Any, a: Any) -> None:
    """Store the fragments of A (16 x 16) that load_matrix returns."""
    packed = cuda.shared.array(128, uint32)
    lane = cuda.laneid
    for i in range(4):
        pair = lane + 32 * i
        packed[pair] = ptx.pack_bf16(a[2 * pair], a[2 * pair + 1])
    cuda.syncthreads()
    # A row of A is 8 words; the four matrices: top left, bottom left, top right, bottom right.
    row, right = lane % 8 + lane // 8 % 2 * 8, lane // 16
    loaded = ptx.load_matrix(ptx.shared_address(packed, row * 8 + right * 4))
    for i in range(4):
        out[4 * lane + i] = loaded[i]


@kernel(pointer(float32), pointer(float32))
def approximate(out: Any, x: Any) -> None:
    i = cuda.grid(1)
    out[2 * i] = ptx.exp2_approx(x[i])
    out[2 * i + 1] = ptx.reciprocal_approx(x[i])


@kernel(pointer(uint32), pointer(uint32), pointer(uint32), int32, cooperative=True)
def neighbors(counter: Any, out: Any, x: Any, blocks: int) -> None:
    """Every block publishes a number, waits for all, and copies what the next block published."""
    copied = cuda.shared.array(4, uint32)
    i = cuda.grid(1)
    out[i] = x[i] * x[i]
    cuda.syncthreads()
    if cuda.threadIdx.x == 0:
        ptx.add_release(ptx.global_address(counter, 0), uint32(1))
        while ptx.load_acquire(ptx.global_address(counter, 0)) < blocks:
            pass
    cuda.syncthreads()
    if cuda.threadIdx.x == 0:
        other = (cuda.blockIdx.x + 1) % blocks * cuda.blockDim.x
        ptx.copy_async(ptx.shared_address(copied, 0), ptx.global_address(out, other))
        ptx.wait_copies()
        x[i] = copied[0] + copied[1] + copied[2] + copied[3]


def numbers(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


def on_device(one: Any, grid: int, threads: int, *args: Any) -> list[np.ndarray]:
    """Run a kernel; returns its arrays."""
    given = [to_device(a) if isinstance(a, np.ndarray) else a for a in args]
    one.launch(grid, threads, *given)
    return [to_host(a) for a in given if not isinstance(a, int)]


@pytest.mark.parametrize(("product", "depth"), [(multiply_tf32, 8), (multiply_bf16, 16)])
def test_products(product: Any, depth: int) -> None:
    a, b, c = numbers(16, depth), numbers(depth, 8)[::-1].copy(), numbers(16, 8)
    out, *_ = on_device(product, 1, 32, np.full_like(c, np.nan), a, b, c)
    np.testing.assert_allclose(out, a @ b + c, atol=0.05)
    assert np.abs(out - (a @ b + c)).max() > 1e-6, "operands have fewer bits"
    whole = [np.round(4 * m) for m in (a, b, c)]
    out, *_ = on_device(product, 1, 32, np.full_like(c, np.nan), *whole)
    np.testing.assert_array_equal(out, whole[0] @ whole[1] + whole[2])


def test_loaded_fragments_are_operands_of_a_product() -> None:
    a = np.arange(256, dtype=np.float32).reshape(16, 16)  # exact in bf16
    out, _ = on_device(fragments, 1, 32, np.zeros((32, 4), np.uint32), a)
    low = (out << 16).view(np.float32)
    g, t = np.divmod(np.arange(32), 4)
    expected = [a[g, 2 * t], a[g + 8, 2 * t], a[g, 2 * t + 8], a[g + 8, 2 * t + 8]]
    np.testing.assert_array_equal(low, np.stack(expected, 1))
    np.testing.assert_array_equal((out & 0xFFFF0000).view(np.float32), np.stack(expected, 1) + 1)


def test_approximations() -> None:
    x = numbers(32)
    out, _ = on_device(approximate, 1, 32, np.empty((32, 2), np.float32), x)
    np.testing.assert_allclose(out, np.stack([np.exp2(x), 1 / x], 1), rtol=2**-20)


def test_blocks_wait_for_each_other() -> None:
    x = np.random.default_rng(1).integers(0, 1 << 12, (3, 32), dtype=np.uint32)
    counter, out, after, *_ = on_device(
        neighbors, 3, 32, np.zeros(1, np.uint32), np.zeros_like(x), x, 3
    )
    assert counter.tolist() == [3]
    np.testing.assert_array_equal(out, x * x)
    np.testing.assert_array_equal(after[:, 0], np.roll((x * x)[:, :4].sum(1), -1))


@kernel(pointer(float32))
def stuck(out: Any) -> None:
    """A deadlock: one thread waits for its block, the others for their warp."""
    if cuda.threadIdx.x == 0:
        cuda.syncthreads()
    else:
        cuda.syncwarp()
    out[cuda.threadIdx.x] = float32(1)


@pytest.mark.skipif(not SIMULATED, reason="a GPU would wait forever")
def test_the_simulator_tells_of_threads_that_wait_for_ever() -> None:
    with pytest.raises(RuntimeError, match="wait for each other forever"):
        on_device(stuck, 1, 32, np.zeros(32, np.float32))


@kernel(pointer(uint32))
def deaf(counter: Any) -> None:
    """Every thread polls for a store that no thread makes."""
    while ptx.load_acquire(ptx.global_address(counter, 0)) == 0:
        pass


@pytest.mark.skipif(not SIMULATED, reason="a GPU would wait forever")
def test_the_simulator_tells_of_threads_that_look_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    from fastmask_kernels.cuda.simulator import _progress

    monkeypatch.setattr(_progress, "PATIENCE", 1000)
    with pytest.raises(RuntimeError, match="waits forever"):
        on_device(deaf, 1, 32, np.zeros(1, np.uint32))


@kernel(pointer(uint32), uint32)
def store(out: Any, word: int) -> None:
    """Store half and whole words to shared memory, and copy what is then there."""
    halves = cuda.shared.array(64, uint16)
    words = cuda.shared.array(32, uint32)
    lane = cuda.laneid
    ptx.store_shared_half(ptx.shared_address(halves, 2 * lane), uint32(word + lane))
    ptx.store_shared_half(ptx.shared_address(halves, 2 * lane + 1), uint32(7))
    ptx.store_shared(ptx.shared_address(words, lane), uint32(word + lane))
    cuda.syncthreads()
    out[3 * lane] = halves[2 * lane]
    out[3 * lane + 1] = halves[2 * lane + 1]
    out[3 * lane + 2] = words[lane]


def test_stores() -> None:
    word = 0x12340000
    out, *_ = on_device(store, 1, 32, np.zeros((32, 3), np.uint32), word)
    lanes = np.arange(32)
    expected = np.stack([lanes, np.full(32, 7), word + lanes], 1)
    np.testing.assert_array_equal(out, expected)
