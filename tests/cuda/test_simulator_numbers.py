"""Numbers in the simulator: atomic operations, dtypes and bits, as Numba has them."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numba
import numpy as np
import pytest
from numba import cuda, float32, int64

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
    assert out.tolist() == [300, -1, 2**32 - 2, 156, 300, 40000 - 2**16, 1.5e9]
    assert words.tolist() == [255]
    assert signed.tolist() == [2**31 - 1, 1, 5 - 2**31]


def unary(out: Any, x: Any) -> None:
    """What Numba computes in the width of the item, and what it computes from that."""
    out[0], out[1], out[2] = -x[0], ~x[0], abs(x[0])
    out[3], out[4], out[5] = (-x[0]) // 2, (~x[0]) >> 1, abs(x[0]) // 2
    out[6], out[7] = -abs(x[0]) - 1, max(-x[0], ~x[0]) + 1


unary_on_the_host = numba.njit(unary)


@pytest.mark.parametrize("dtype", ["i1", "u1", "i2", "u2", "i4", "u4"])
def test_signs_and_complements_of_items_have_their_width(dtype: str) -> None:
    limits = np.iinfo(dtype)
    for number in (limits.min, 0, 1, 100, limits.max):
        x = np.array([number], dtype)
        for place in ("global", "local", "atomic", "argument"):
            found, expected = np.zeros((2, 8))
            unary_on_the_host(expected, x)
            launch(UNARY[place], 1, 1, found, x if place != "argument" else x[0])
            assert found.tolist() == expected.tolist(), (number, place)


def of_a_local_array(out: Any, x: Any) -> None:
    own = cuda.local.array(1, x.dtype)
    own[0] = x[0]
    unary(out, own)


UNARY = {
    "global": unary,
    "local": of_a_local_array,
    "atomic": lambda out, x: unary(out, [cuda.atomic.cas(x, 0, 0, 0)]),
    "argument": lambda out, x: unary(out, [x]),
}


@cuda.jit
def extremes(out: Any, x: Any) -> None:
    out[0], out[1] = max(x[0], x[1]), max(x[1], x[0])
    out[2], out[3] = min(x[0], x[1]), min(x[1], x[0])
    out[4], out[5] = max(x[0], x[0]), max(x[0], 3, x[1])


def test_extremes_of_a_number_and_nan_are_the_number() -> None:
    """As of PTX's max.f32, which Numba emits."""
    out = np.zeros(6)
    launch(extremes, 1, 1, out, np.array([np.nan, 2], "f4"))
    np.testing.assert_array_equal(out, [2, 2, 2, 2, np.nan, 3])


MATH = {  # where Python raises
    "exp": (1000, math.inf),
    "expm1": (1000, math.inf),
    "exp2": (5000, math.inf),
    "log": (0, -math.inf),
    "log2": (-1, math.nan),
    "log10": (0, -math.inf),
    "log1p": (-1, -math.inf),
    "sqrt": (-1, math.nan),
    "sin": (math.inf, math.nan),
    "acos": (2, math.nan),
    "cosh": (1000, math.inf),
    "acosh": (0, math.nan),
    "atanh": (1, math.inf),
    "gamma": (-1, math.nan),
    "lgamma": (0, math.inf),
    "floor": (math.inf, math.inf),
}


@pytest.mark.parametrize("name", [name for name in MATH if hasattr(math, name)])
def test_functions_have_numbas_types_and_do_not_raise(name: str) -> None:
    """Of a float32 a float32, of an integer a float64."""

    def computed(found: Any, x: Any, n: Any) -> None:
        function = getattr(math, name)
        found += [function(x[0]), function(x[1]), function(n[0])]

    x, found = np.array([MATH[name][0], 0.7 + (name == "acosh")], "f4"), []
    launch(lambda x, n: computed(found, x, n), 1, 1, x, np.array([1], "i2"))
    assert [type(one) for one in found] == [np.float32, np.float32, np.float64]
    np.testing.assert_array_equal(found[0], MATH[name][1])
    function = getattr(math, name, None) or np.exp2
    np.testing.assert_allclose(found[1], function(float(x[1])), rtol=3e-7)


@cuda.jit
def of_two(found: Any, x: Any, n: Any) -> None:
    found[0], found[1] = math.pow(x[0], -1.0), math.fmod(x[1], x[0])
    found[2], found[3] = math.pow(x[1], n[0]), math.hypot(x[1], x[1])
    found[4], found[5] = math.remainder(x[1], x[0]), math.ldexp(x[1], n[0])
    found[6] = pow(x[0], x[2])


def test_functions_of_two_numbers() -> None:
    """In Numba a float32 to the power of an integer is a float32."""
    found, x = [0] * 7, np.array([0, 1.1, -1], "f4")
    launch(lambda x, n: of_two.py_func(found, x, n), 1, 1, x, np.array([2]))
    one = x[1]
    expected = [np.inf, np.nan, one * one, np.hypot(one, one), np.nan, 4 * one, np.inf]
    np.testing.assert_allclose(found, expected, rtol=2e-7)
    assert [np.asarray(one).dtype.char for one in found] == list("dffffff")


@cuda.jit
def rows_exponents(out: Any, x: Any, steps: int) -> None:
    total = float32(0)
    for t in range(steps):
        total += math.exp(x[t])
    out[0] = math.log(total)


def test_the_log_of_an_empty_sum() -> None:
    out = np.zeros(1, "f4")
    launch(rows_exponents, 1, 1, out, np.zeros(2, "f4"), 0)
    assert out.tolist() == [-math.inf]


def test_functions_in_other_files() -> None:
    """A device function of another module sees what its kernel sees; afterwards nothing is left."""
    names = {"cuda": cuda, "log": math.log}
    exec("def largest(x): return max(log(x[0]), x[1]) + cuda.laneid", names)
    largest, known = cuda.jit(device=True)(names["largest"]), dict(names)

    def kernel(out: Any, x: Any) -> None:
        cuda.syncthreads()
        out[cuda.laneid] = largest(x)

    out = np.zeros(2)
    launch(kernel, 1, 2, out, np.array([0, np.nan], "f4"))
    assert out.tolist() == [-math.inf, -math.inf]
    assert names == known
    assert "max" not in globals()


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
