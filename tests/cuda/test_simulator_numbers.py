"""Numbers in the simulator: atomic operations, dtypes and bits, as Numba has them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numba
import numpy as np
import pytest
from numba import cuda, int64

from fastmask_kernels.cuda.runtime import device as _device

if not _device.SIMULATED:
    pytest.skip("tests the simulator", allow_module_level=True)
from fastmask_kernels.cuda.runtime import ptx
from fastmask_kernels.cuda.simulator import launch

ATOMICS = "add sub max min nanmax nanmin and_ or_ xor inc dec exch".split()

ATOMIC_CALLS: dict[str, Callable[[Any, Any], Any]] = {
    "cas": lambda array, i: cuda.atomic.cas(array, i, 0, 1),
    **{
        name: lambda array, i, name=name: getattr(cuda.atomic, name)(array, i, 1)
        for name in ATOMICS
    },
}


@cuda.jit
def outside(out: Any, call: Any, index: Any, in_shared: bool) -> None:
    shared = cuda.shared.array((2, 4), int64)
    call(shared if in_shared else out, index)


@pytest.mark.parametrize("name", ATOMIC_CALLS)
@pytest.mark.parametrize("in_shared", [False, True])
def test_atomics_outside_their_array(name: str, in_shared: bool) -> None:
    out = np.zeros((2, 4), np.int64)
    call = partial(outside.py_func, call=ATOMIC_CALLS[name], in_shared=in_shared)
    for index, message in (
        ((0, -1), "negative index -1"),
        ((np.int32(-2), 0), "negative index -2"),
        ((0, 4), "out of bounds"),
        (0, "1 indices of an array of 2 dimensions"),
    ):
        with pytest.raises(IndexError, match=message):
            launch(lambda out, index: call(out, index=index), 1, 1, out, index)
    assert not out.any()


@cuda.jit
def added(counter: Any, i: int) -> None:
    ptx.add_release(ptx.global_address(counter, i), 1)


def test_adding_outside_a_counter() -> None:
    counter = np.zeros(4, np.uint32)
    for i, message in ((-1, "negative index -1"), (4, "out of bounds")):
        with pytest.raises(IndexError, match=message):
            launch(added, 1, 1, counter, i)
    assert not counter.any()


@cuda.jit
def widely(out: Any, words: Any, signed: Any, scale: Any) -> None:
    """Sums too large for the dtype of their arrays, and one that is cut when it is stored."""
    own = cuda.local.array(1, numba.int16)
    own[0] = 40000
    out[0], out[1] = words[0] + 200, words[0] - 101
    out[2], out[3] = signed[0] + signed[0], -words[0]
    out[4] = cuda.atomic.add(words, 0, -101) * 3
    out[5] = own[0]
    signed[1] = signed[0] * 2 + 3
    signed[2] = 2**31 + 5
    out[6] = scale * 0.5 / 3 * 3e9


def test_integers_are_added_as_int64_and_stored_as_what_the_array_holds() -> None:
    """As in Numba: the same function, compiled for the CPU, gives the same results."""
    out, words, signed = np.zeros(7), np.array([100], "u1"), np.full(3, 2**31 - 1, "i4")
    launch(widely, 1, 1, out, words, signed, 3)
    assert out.tolist() == [300, -1, 2**32 - 2, -100, 300, 40000 - 2**16, 1.5e9]
    assert words.tolist() == [255]
    assert signed.tolist() == [2**31 - 1, 1, 5 - 2**31]


def test_numbers_of_a_launch_have_numbas_types() -> None:
    @cuda.jit
    def quotients(out: Any, x: Any, n: Any, factor: Any) -> None:
        out[0], out[1] = x[0] / n, x[0] * factor

    out = np.zeros(2)
    launch(quotients, 1, 1, out, np.ones(1, "f4"), 3, 0.1)
    assert out.tolist() == [1 / 3, 0.1], "computed in float64"


@cuda.jit
def bitwise(out: Any, x: Any) -> None:
    out[0], out[1], out[2] = cuda.popc(x[0]), cuda.clz(x[1]), cuda.ffs(x[2])
    out[3], out[4], out[5] = cuda.brev(x[1]), cuda.cbrt(-8.0), cuda.popc(1 << 40)
    cuda.stcg(out, 6, cuda.ldcv(x, 2) + cuda.float32(0.5))


def test_bits_and_loads_past_caches() -> None:
    out = np.zeros(7)
    launch(bitwise, 1, 1, out, np.array([-1, 1, 8], "i4"))
    assert out.tolist() == [32, 31, 4, 2**31, -2, 1, 8.5]
