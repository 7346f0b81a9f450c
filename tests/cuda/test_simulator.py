"""The simulator as users see it: arrays of `to_device`, and their own kernels."""

from __future__ import annotations

import re
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from functools import partial
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any, NamedTuple

import numba
import numpy as np
import pytest
from numba import cuda, float32, int64

import fastmask as fm
from fastmask.backends import table as _table
from fastmask_kernels import cells
from fastmask_kernels import cuda as kernels
from fastmask_kernels.cuda import ops
from fastmask_kernels.cuda.rnn.listing import forward_round
from fastmask_kernels.cuda.runtime import device as _device

if not _device.SIMULATED:
    pytest.skip("tests the simulator", allow_module_level=True)
from fastmask_kernels.cuda.runtime import ptx
from fastmask_kernels.cuda.runtime.kernel import family, kernel, pointer, pointers
from fastmask_kernels.cuda.simulator import _engine, _module, _progress, as_numba, launch

ROOT = Path(__file__).parents[2]
DOCS, EXAMPLE = ROOT / "docs" / "cuda.md", ROOT / "examples" / "own_cuda_kernel.py"
L = fm.layers
HOLES = np.array([[1, 1, 0, 1], [0, 0, 0, 0], [0, 1, 1, 0]], bool)


@pytest.fixture(autouse=True)
def _reference_on_the_host() -> Iterator[None]:
    before = _table._table
    _table.use_kernels("reference")
    yield
    _table._table = before


def normal(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype("f4")


def put(value: Any) -> Any:
    """The same on the simulated device."""
    if isinstance(value, fm.Masked):
        return fm.Masked(cuda.to_device(value.data), value.mask)
    if isinstance(value, list):
        return [put(one) for one in value]
    return cuda.to_device(np.ascontiguousarray(value))


def same(found: Any, expected: Any) -> None:
    if isinstance(expected, (list, tuple)):
        for pair in zip(found, expected, strict=True):
            same(*pair)
    elif isinstance(expected, fm.Masked):
        np.testing.assert_array_equal(np.asarray(found.mask), expected.mask.valid)
        same(found.data, expected.data)
    else:
        assert type(found) is type(cuda.to_device(np.zeros(1)))
        assert found.dtype == expected.dtype
        np.testing.assert_allclose(found.copy_to_host(), expected, atol=2e-6)


@pytest.mark.parametrize("turned", [False, True], ids=["", "in another order and dtype"])
def test_operations(turned: bool) -> None:
    arrays = [normal(0, 3, 4, 2), normal(1, 2, 12), normal(2, 3, 12), normal(3, 12)]
    given = [np.asfortranarray(one.astype("f8")) for one in arrays] if turned else arrays
    found = fm.ops.lstm(*map(cuda.to_device, given), mask=cuda.to_device(HOLES))
    same(found, fm.ops.lstm(*given, mask=HOLES))


def test_masks() -> None:
    mask = fm.Mask(cuda.to_device(HOLES))
    assert type(mask.valid) is type(cuda.to_device(HOLES))
    assert mask.lengths.tolist() == [3, 0, 2]
    np.testing.assert_array_equal(np.asarray(mask), HOLES)


LAYERS: dict[str, Callable[[], Any]] = {
    "lstm": lambda: L.LSTM(3, return_sequences=True),
    "gru": lambda: L.GRU(3, return_state=True),
    "both ways": lambda: L.Bidirectional(L.SimpleRNN(3)),
    "masking": lambda: L.Masking(0.0),
    "dense": lambda: L.Dense(4, activation="softmax"),
    "mean": L.GlobalAveragePooling1D,
    "normalized": L.LayerNormalization,
    "shared": lambda: L.TimeDistributed(L.Dense(2)),
    "model": lambda: fm.Sequential([L.GRU(2, return_sequences=True), L.Dense(3)]),
}


@pytest.mark.filterwarnings("ignore:Layer 'masking")  # which counts masked steps again
@pytest.mark.parametrize("name", LAYERS)
def test_layers(name: str) -> None:
    """Layers that run kernels, and layers of NumPy code."""
    layer, x = LAYERS[name](), fm.Masked(normal(4, 3, 4, 2), HOLES)
    expected = layer(x)
    same(layer(put(x)), expected)


def test_ids_and_lists_of_inputs() -> None:
    ids, parts = np.array([[1, 2, 0], [3, 0, 0]]), [normal(5, 2, 3), normal(6, 2, 3)]
    embedding, joined = L.Embedding(5, 3, mask_zero=True), L.Concatenate()
    same(embedding(put(ids)), embedding(ids))
    same(joined(put(parts)), joined(parts))
    with pytest.raises(TypeError, match="array on a CUDA device"):
        joined([put(parts[0]), parts[1]])


def test_kernels_of_the_table() -> None:
    valid, ids = put(np.zeros((1, 3), bool)), put(np.array([[0, 7, 8]]))
    kernels.mask_not_equal(valid, ids, 0)
    assert valid.copy_to_host().tolist() == [[False, True, True]]
    kernels.mask_not_equal(valid, ids[:, ::1], 7)
    assert valid.copy_to_host().tolist() == [[True, False, True]]
    with pytest.raises(ValueError, match="C-contiguous"):
        kernels.mask_not_equal(valid, put(np.arange(6)[np.newaxis])[:, ::2], 0)


def test_the_page_of_the_documentation() -> None:
    section = DOCS.read_text().split("## Run a kernel in the simulator")[1]
    blocks = [part.split("```")[0] for part in section.split("```python\n")[1:3]]
    for block in blocks:
        exec(compile(block, str(DOCS), "exec"), {"__name__": "documentation"})


def test_the_page_shows_the_generated_lines_of_a_round() -> None:
    shown = DOCS.read_text("utf-8").split("print(forward_round())")[1].split("```text\n")[1]
    assert shown.split("```")[0] == forward_round()
    assert forward_round(cells.gru).count("def run(t, c, k):\n") == 1
    assert forward_round(cells.gru_reset_before).count("def run(t, c, k):\n") == 2, "two products"


def test_what_has_no_generated_lines() -> None:
    for given, kind in ((fm.cells.ind_rnn(8), r"\w+"), ("lstm", "str")):
        message = f"cell must be a cell made by fm.cell or .*, not {kind}$"
        with pytest.raises(TypeError, match=message):
            forward_round(given)


def test_tracebacks_show_generated_lines() -> None:
    divided = ops.of_lines(("x",), ("y = x - x", "return x / y"), {})
    with pytest.raises(ZeroDivisionError) as raised:
        divided(1)
    assert traceback.extract_tb(raised.tb)[-1].line == "return x / y"


@pytest.mark.parametrize("shape", [(2, 3), (0, 3)])
def test_arrays_of_others_as_those_of_numba(shape: tuple[int, ...]) -> None:
    turned = put(normal(7, *shape[::-1])).T
    array = as_numba(_device.view_of(put(normal(8, *shape)), "array"))
    assert array.shape == turned.shape == shape


@cuda.jit
def counted(out: Any, x: Any) -> None:
    """Votes of a block, and an atomic sum."""
    i = cuda.threadIdx.x
    positive = x[i] > 0
    out[0] = cuda.syncthreads_count(positive)
    out[1] = cuda.syncthreads_and(positive)
    out[2] = cuda.syncthreads_or(positive)
    cuda.atomic.add(out, 3, i)
    cuda.atomic.max(out, 4, i)


def test_votes_and_atomics() -> None:
    x, out = normal(9, 70), cuda.to_device(np.zeros(5, np.int64))
    launch(counted, 1, 70, out, x)
    assert out.copy_to_host().tolist() == [(x > 0).sum(), 0, 1, 70 * 69 // 2, 69]


@cuda.jit
def told(out: Any, x: Any, how: int) -> None:
    """Lane 0 stores, all lanes shuffle, and all read what it stored."""
    shared = cuda.shared.array(2, float32)
    lane = cuda.laneid
    if lane == 0:
        shared[0], x[0], x[1] = 5, 6, 7
        if how == 1:
            cuda.threadfence()
        if how == 2:
            cuda.atomic.add(x, 0, 1)
    if how == 3:
        cuda.syncwarp()
    cuda.shfl_sync(0xFFFFFFFF, lane, 0)
    out[lane, 0], out[lane, 1], out[lane, 2] = shared[0], x[0], x[1]
    cuda.shfl_sync(0xFFFFFFFF, lane, 0)  # before any thread ends and so publishes its stores


@pytest.mark.parametrize(
    ("how", "others"),
    [(0, [np.nan, 1, 2]), (1, [5, 6, 7]), (2, [np.nan, 7, 2]), (3, [5, 6, 7])],
    ids=["a shuffle", "a fence", "an atomic operation", "syncwarp"],
)
def test_who_sees_a_store(how: int, others: list[float]) -> None:
    """The thread itself at once; others only after a barrier or a fence."""
    out, x = np.zeros((32, 3), "f4"), np.array([1, 2], "f4")
    launch(told, 1, 32, out, x, how)
    own = [5, 7 if how == 2 else 6, 7]
    np.testing.assert_array_equal(out, [own, *[others] * 31])
    assert x.tolist() == own[1:]


@cuda.jit
def sliced(out: Any, x: Any) -> None:
    """Lane 0 stores two items at once."""
    if cuda.laneid == 0:
        x[:2] = 5
    cuda.shfl_sync(0xFFFFFFFF, 0, 0)
    out[cuda.laneid] = x[1]
    cuda.shfl_sync(0xFFFFFFFF, 0, 0)


def test_who_sees_a_store_of_several_items(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_engine, "INTERRUPTED", 1)
    out = np.zeros(32)
    launch(sliced, 1, 32, out, np.ones(3))
    assert out.tolist() == [5, *[1] * 31]


@cuda.jit
def taken(out: Any, counter: Any) -> None:
    """Many stores of a thread, to places that other threads store to as well."""
    for i in range(out.size):
        out[i] = cuda.threadIdx.x
    while cuda.atomic.add(counter, 0, 0) < cuda.threadIdx.x:
        pass
    cuda.threadfence()
    cuda.atomic.add(counter, 0, 1)


def test_threads_that_wait_for_each_other_by_atomic_operations() -> None:
    out, counter = np.zeros(100), np.zeros(1, np.int64)
    launch(taken, 1, 3, out, counter)
    assert counter.tolist() == [3]
    assert set(out) <= {0, 1, 2}


POLLS: dict[str, Callable[[Any], Any]] = {
    "reads": lambda _: None,
    "a barrier of the warp": lambda _: cuda.syncwarp(),
    "a vote": lambda _: cuda.any_sync(0xFFFFFFFF, 1),
    "a fence": lambda _: cuda.threadfence(),
    "an atomic operation": lambda x: cuda.atomic.max(x, 1, -1),
    "a store of the same value": lambda x: x.__setitem__(2, 5),
    "a sleep": lambda _: cuda.nanosleep(10),
}


@cuda.jit
def endless(x: Any, poll: Any, count: bool) -> None:
    """All warps but one poll for a store that comes after a barrier of all warps."""
    if cuda.threadIdx.x < 32:
        cuda.syncthreads()
        x[0] = 1
    turns = 0
    while x[0] == 0:
        poll(x)
        turns += count


@pytest.mark.parametrize(
    ("poll", "count"), [*((poll, False) for poll in POLLS), ("reads", True), ("a vote", True)]
)
def test_threads_that_wait_for_ever(
    poll: str, count: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_progress, "PATIENCE", 500 if count else 10**9)
    monkeypatch.setattr(_progress, "BETWEEN", 50)
    with pytest.raises(RuntimeError, match="waits forever") as raised:
        launch(lambda x: endless.py_func(x, POLLS[poll], count), 1, 34, np.zeros(3))
    assert any(entry.name == "endless" for entry in raised.traceback)
    first = r"\(\d+, 0, 0\) of block \(0, 0, 0\)"
    stuck = rf"\n  \d+ threads? (waiting in \w+|running) at {re.escape(__file__)}:\d+: {first}"
    assert re.search(stuck, str(raised.value))
    if sys.version_info >= (3, 11):
        (note,) = raised.value.__notes__
        assert re.fullmatch(r"in thread \(\d+, 0, 0\) of block \(0, 0, 0\)", note)


@cuda.jit
def knotted(out: Any) -> None:
    """Warps of block 0 wait in four calls; block 1 waits for nobody."""
    i = cuda.threadIdx.x
    if cuda.blockIdx.x == 0:
        if i < 16:
            cuda.syncwarp()
        elif i < 32:
            cuda.syncthreads()
        elif i < 37:
            cuda.shfl_sync(0x3F, i, 0)
        else:
            cuda.cg.this_grid().sync()


def test_a_deadlock_says_where_threads_wait() -> None:
    with pytest.raises(RuntimeError, match="deadlock") as raised:
        launch(knotted, 2, 38, np.zeros(1), cooperative=True)
    first = knotted.py_func.__code__.co_firstlineno

    def at(line: int, *threads: int) -> str:
        named = ", ".join(f"({i}, 0, 0) of block (0, 0, 0)" for i in threads)
        return f"at {__file__}:{first + line}: {named}"

    assert str(raised.value).splitlines()[1:] == [
        f"  16 threads waiting in syncwarp {at(6, 0, 1, 2)}, ...",
        f"  16 threads waiting in syncthreads {at(8, 16, 17, 18)}, ...",
        f"  5 threads waiting in shfl_sync with mask 0x3f {at(10, 32, 33, 34)}, ...",
        f"  1 thread waiting in this_grid().sync {at(12, 37)}",
        "  38 threads ended",
    ]


@cuda.jit
def patient(x: Any, length: int) -> None:
    """Threads poll while the first one adds, and then it polls for what the others add."""
    i = cuda.threadIdx.x
    total = 0
    if i == 0:
        for _ in range(length):
            total += x[2]
        x[0] = total
        while x[1] < cuda.blockDim.x - 1:
            pass
    else:
        while x[0] == 0:
            cuda.threadfence()
        cuda.atomic.add(x, 1, 1)


@pytest.mark.parametrize("seed", range(2))
def test_threads_that_wait_long_for_a_store(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_progress, "BETWEEN", 20)
    x = np.array([0, 0, 1])
    launch(patient, 1, 40, x, 1000, seed=seed)
    assert x.tolist() == [1000, 39, 1]


@cuda.jit
def divided(out: Any, first: Any, second: Any) -> None:
    """The halves of a warp call different functions, or the same at different lines."""
    if cuda.threadIdx.x < 16:
        out[cuda.threadIdx.x] = first(cuda.threadIdx.x)
    else:
        out[cuda.threadIdx.x] = second(cuda.threadIdx.x)


ALL = 0xFFFFFFFF
CALLS: dict[str, tuple[Callable[[Any], Any], Callable[[Any], Any]]] = {
    "syncthreads at syncthreads": (
        lambda _: cuda.syncthreads() or 0,
        lambda _: cuda.syncthreads() or 0,
    ),
    "syncthreads at syncthreads_or": (
        lambda _: cuda.syncthreads() or 0,
        lambda i: cuda.syncthreads_or(i),
    ),
    "shfl_down_sync at syncwarp": (
        lambda i: cuda.shfl_down_sync(ALL, i, 1),
        lambda _: cuda.syncwarp() or 0,
    ),
    "any_sync at ballot_sync": (
        lambda i: cuda.any_sync(ALL, i),
        lambda i: cuda.ballot_sync(ALL, i),
    ),
}


@pytest.mark.parametrize("calls", CALLS)
@pytest.mark.parametrize("seed", range(2))
def test_different_calls_in_the_arms_of_a_branch(calls: str, seed: int) -> None:
    with pytest.raises(RuntimeError, match="must all make the same call") as raised:
        launch(lambda out: divided.py_func(out, *CALLS[calls]), 1, 64, np.zeros(64), seed=seed)
    assert str(raised.value).count(" of block (0, 0, 0) is in ") == 1
    assert "(0, 0, 0) in " in str(raised.value)
    assert "move the call out of the branch" in str(raised.value)
    for name, function in zip(calls.split(" at "), CALLS[calls], strict=True):
        place = f"{name} at {__file__}:{function.__code__.co_firstlineno}"
        assert re.search(re.escape(place) + r"\b", str(raised.value))


@cuda.jit
def of_a_half(out: Any) -> None:
    """Halves of a warp work apart; lane 5 ends before."""
    lane, half = cuda.laneid, cuda.laneid // 16
    mask = 0xFFFF << 16 * half
    if lane == 5:
        return
    if half == 0:
        for _ in range(3):
            cuda.syncwarp(mask)
        total = cuda.shfl_down_sync(mask, float32(lane), 8)
    else:
        total = cuda.shfl_xor_sync(np.int32(-65536), lane, 1)
    out[lane, 0], out[lane, 1] = total, cuda.ballot_sync(mask, lane % 2)
    cuda.syncthreads()
    out[lane, 2] = cuda.all_sync(ALL, 1)


def test_masks_of_some_lanes() -> None:
    out = np.zeros((32, 3))
    launch(of_a_half, 1, 32, out)
    lanes = np.arange(32)
    expected = np.where(lanes < 8, lanes + 8, np.where(lanes < 16, np.nan, lanes ^ 1))
    votes = np.where(lanes < 16, 0xAAAA - (1 << 5), 0xAAAA0000 - 2**32)  # an int32
    others = lanes != 5
    np.testing.assert_array_equal(out[others], np.stack([expected, votes, lanes >= 0], 1)[others])


@cuda.jit
def left_out(out: Any) -> None:
    out[cuda.laneid] = cuda.shfl_sync(0xFFFF, cuda.laneid, 0)


def test_lanes_that_a_mask_does_not_name() -> None:
    at = f"{__file__}:{left_out.py_func.__code__.co_firstlineno + 2}"
    told = rf"mask 0xffff of shfl_sync at {re.escape(at)} does not name its lane \d+: pass the mask"
    with pytest.raises(RuntimeError, match=told):
        launch(left_out, 1, 32, np.zeros(32))


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
def matched(out: Any, values: Any) -> None:
    i = cuda.laneid
    out[i, 0] = cuda.match_any_sync(ALL, values[i])
    mask = 0xFF if i < 8 else ALL - 0xFF
    out[i, 1], out[i, 2] = cuda.match_all_sync(mask, values[i])
    out[i, 3], out[i, 4] = cuda.eq_sync(mask, values[i] > 0), cuda.eq_sync(ALL, values[i] > 0)
    out[i, 5], out[i, 6] = cuda.lanemask_lt(), cuda.activemask()
    cuda.syncwarp()


@pytest.mark.parametrize("dtype", ["i4", "f4"])
def test_matches_of_lanes(dtype: str) -> None:
    out, lanes = np.zeros((32, 7), np.int64), np.arange(32)
    values = np.where(lanes < 8, 0, np.where(lanes % 2, 1, 2))
    launch(matched, 1, 32, out, values.astype(dtype))
    for lane in lanes:
        same = sum(1 << i for i in range(32) if values[i] == values[lane])
        assert out[lane, 0] & ALL == same
        assert -(2**31) <= out[lane, 0] < 2**31, "an int32"
    first = lanes < 8
    assert (out[:, 1] == np.where(first, 0xFF, 0)).all()
    assert (out[:, 2] == first).all()
    assert (out[:, 3:5] == [1, 0]).all()
    assert (out[:, 5] == 2**lanes - 1).all()
    assert (out[:, 6] == ALL).all()


@cuda.jit
def matched_in_arms(out: Any) -> None:
    if cuda.laneid < 16:
        out[0] = cuda.match_any_sync(ALL, 1)
    else:
        out[0] = cuda.eq_sync(ALL, 1)


def test_matches_in_the_arms_of_a_branch() -> None:
    with pytest.raises(RuntimeError, match="must all make the same call"):
        launch(matched_in_arms, 1, 32, np.zeros(1))


@cuda.jit
def bitwise(out: Any, x: Any) -> None:
    out[0], out[1], out[2] = cuda.popc(x[0]), cuda.clz(x[1]), cuda.ffs(x[2])
    out[3], out[4], out[5] = cuda.brev(x[1]), cuda.cbrt(-8.0), cuda.popc(1 << 40)
    cuda.stcg(out, 6, cuda.ldcv(x, 2) + cuda.float32(0.5))


def test_bits_and_loads_past_caches() -> None:
    out = np.zeros(7)
    launch(bitwise, 1, 1, out, np.array([-1, 1, 8], "i4"))
    assert out.tolist() == [32, 31, 4, 2**31, -2, 1, 8.5]


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
    section = DOCS.read_text("utf-8").split("## Run a kernel in the simulator")[1].split("\n## ")[0]
    for name in _module.NAMES:
        assert re.search(rf"\b{name}\b", section), name


@pytest.mark.parametrize(
    ("given", "options", "message"),
    [
        ([0.0], {}, r"argument 1 \(out\) of sliced must be a number, or an array .* not list"),
        (np.array(["a"]), {}, r"argument 1 \(out\) of sliced .* not ndarray of <U1"),
        ("a", {}, r"argument 1 \(out\) of sliced .* not str"),
        (None, {}, r"argument 1 \(out\) of sliced .* not NoneType"),
        (normal, {}, r"argument 1 \(out\) of sliced .* not function"),
        ((np.zeros(2), ["a"]), {}, r"argument 1 \(out\) of sliced .* not list"),
        (np.zeros(2), {"shared": -1}, "shared must be 0 bytes or more, not -1"),
        (np.zeros(2), {"shared": 1.5}, r"shared must be a whole number of bytes, not 1\.5"),
    ],
)
def test_arguments_that_no_gpu_takes(given: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        launch(sliced, 1, 1, given, np.zeros(2), **options)


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
        launch(left_out, grid, threads, np.zeros(32))


@cuda.jit
def exchanged(out: Any, x: Any) -> None:
    """After a barrier of all blocks, every block reads what the others wrote."""
    i = cuda.grid(1)
    out[0, i] = x[i]
    cuda.cg.this_grid().sync()
    out[1, i] = out[0, cuda.gridsize(1) - 1 - i]


def test_blocks_wait_for_each_other_in_cooperative_launches() -> None:
    x, out = normal(10, 3 * 4), np.zeros((2, 12), "f4")
    launch(exchanged, 3, 4, out, cuda.to_device(x), cooperative=True)
    np.testing.assert_array_equal(out, [x, x[::-1]])
    with pytest.raises(RuntimeError, match="only in cooperative launches: pass coop"):
        launch(exchanged, 3, 4, out, x)


@cuda.jit
def skipped(out: Any, threads: int) -> None:
    """Some threads of block 0 do not wait for the other blocks."""
    if cuda.blockIdx.x > 0 or cuda.threadIdx.x >= threads:
        cuda.cg.this_grid().sync()
    out[cuda.grid(1)] = 1


def test_blocks_that_end_without_a_grid_barrier() -> None:
    """The others wait forever; threads that end do not matter as long as their block waits."""
    with pytest.raises(RuntimeError, match="wait for each other forever"):
        launch(skipped, 2, 32, np.zeros(64), 32, cooperative=True)
    out = np.zeros(64)
    launch(skipped, 2, 32, out, 31, cooperative=True)
    assert out.tolist() == [1] * 64


@cuda.jit
def racing(out: Any, x: Any) -> None:
    """Column sums, without the barrier between one column and the next."""
    shared = cuda.shared.array(32, float32)
    i = cuda.threadIdx.x
    for column in range(2):
        shared[i] = x[i, column]
        cuda.syncthreads()
        if i == 0:
            for k in range(32):
                out[column] += shared[k]


def test_other_seeds_show_other_races() -> None:
    x = np.ones((32, 2), "f4") * [1, 100]
    found = []
    for seed in (0, 1, 2, 3, 4, 5, 6, 7, 0):
        out = np.zeros(2)
        launch(racing, 1, 32, out, x, seed=seed)
        found.append(out.tolist())
    assert found[0] == found[-1]
    assert len({tuple(one) for one in found}) > 2


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


def test_calls_of_several_threads() -> None:
    x = normal(11, 3, 4, 2)
    layer = L.LSTM(3)
    expected, found = layer(x), {}

    def call(number: int) -> None:
        found[number] = layer(put(x)).copy_to_host()

    threads = [threading.Thread(target=call, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number in range(4):
        np.testing.assert_allclose(found[number], expected, atol=2e-6)


def test_the_example_of_a_kernel_of_ones_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Right with its barriers, wrong without."""
    spec = spec_from_file_location("own_cuda_kernel", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    spec.loader.exec_module(example := module_from_spec(spec))
    example.check()
    monkeypatch.setattr(_module.Module, "syncthreads", lambda _: None)
    with pytest.raises(AssertionError):
        example.check()


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
    for given, kind in ((_add, "Kernel"), (family("f4")(lambda _: _add), "_lru_cache_wrapper")):
        with pytest.raises(TypeError, match=f"kernel must be a function, not {kind}: of a Kernel"):
            launch(given, 1, 1, np.ones(1))
