"""The compiled XLA handler: bitwise the results of the one in Python, without entering Python."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

pytestmark = pytest.mark.optional
jax = pytest.importorskip("jax", reason="jax is not installed")

import fastmask as fm  # noqa: E402 - after the check
import fastmask.jax as fj  # noqa: E402 - needs jax
from fastmask.backends.table import use_kernels  # noqa: E402 - after the check
from fastmask.jax import _ffi  # noqa: E402 - needs jax
from fastmask_kernels.cpu.xla import state  # noqa: E402 - after the check
from fastmask_kernels.cpu.xla.entry import ENTRIES  # noqa: E402 - after the check

KINDS = {"lstm": (4, 2), "gru": (3, 1), "rnn": (1, 1)}  # gates and states


@contextmanager
def python_calls(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """A list with one item for each call that Python computes."""
    calls: list[int] = []
    handle = _ffi.handle
    with monkeypatch.context() as patch:
        patch.setattr(_ffi, "handle", lambda *given: (calls.append(1), handle(*given))[1])
        yield calls


@contextmanager
def threads(number: int) -> Iterator[None]:
    before = fm.get_num_threads()
    fm.set_num_threads(number)
    try:
        yield
    finally:
        fm.set_num_threads(before)


def by_python(function: Any, *arguments: Any) -> Any:
    """The result of a function while Python computes all calls."""
    state.set_threads(0)
    try:
        return jax.block_until_ready(function(*arguments))
    finally:
        fm.set_num_threads(fm.get_num_threads())


def random_case(rng: np.random.Generator) -> tuple[Any, list[Any], dict[str, Any]]:
    """A function of fastmask.jax, its arrays, and options."""
    name = rng.choice(list(KINDS))
    gates, states = KINDS[name]
    batch, time, features, units = (int(rng.integers(1, most)) for most in (9, 13, 20, 40))
    if rng.random() < 0.2:
        batch, units = 40, 96  # shared by threads
    dtype = "float64" if name == "rnn" else "float32"  # each dtype takes time to compile
    reset_after = bool(rng.integers(2))
    bias = (2, gates * units) if name == "gru" and reset_after else (gates * units,)
    shapes = [(batch, time, features), (features, gates * units), (units, gates * units), bias]
    arrays = [rng.normal(0, 0.5, s).astype(dtype) for s in (*shapes, *[(batch, units)] * states)]
    options = {
        word: bool(rng.integers(2))
        for word in ("return_sequences", "go_backwards", "zero_output_for_mask")
    }
    if name == "gru":
        options["reset_after"] = reset_after
    mask = rng.random((batch, time)) < rng.choice([0.0, 0.3, 0.9])
    kind = rng.integers(4)
    if kind == 0:
        mask = np.sort(mask, axis=1)[:, :: rng.choice([1, -1])]
    arrays[0][~mask] = np.nan if kind else 0
    if kind == 3:
        arrays[0], mask = np.nan_to_num(arrays[0]), None
    return name, arrays, {**options, "mask": mask}


def outputs_and_gradients(name: str, options: dict[str, Any], factor: float) -> Any:
    def run(x: Any, kernel: Any, recurrent: Any, bias: Any, *states: Any) -> Any:
        out, last = getattr(fj, name)(
            x, kernel, recurrent, bias, initial_state=list(states), **options
        )
        return (factor * out**2).sum() + sum((s**2).sum() for s in last), (out, last)

    return jax.jit(jax.value_and_grad(run, tuple(range(4 + KINDS[name][1])), has_aux=True))


@pytest.mark.parametrize("number", [1, 2])
def test_same_bits(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(number)
    with threads(number), jax.enable_x64(True):
        for _ in range(12):
            name, arrays, options = random_case(rng)
            call = outputs_and_gradients(name, options, 0.5)
            expected = by_python(call, *arrays)
            jax.block_until_ready(call(*arrays))  # Python computes this one, and makes an entry
            with python_calls(monkeypatch) as calls:
                found = [jax.block_until_ready(call(*arrays)) for _ in range(3)]
            assert not calls
            for one in found:
                jax.tree.map(np.testing.assert_array_equal, one, expected)
            plain = getattr(fm.ops, name)(*arrays[:4], initial_state=arrays[4:], **options)
            jax.tree.map(np.testing.assert_array_equal, found[0][0][1], plain)


def small(name: str = "lstm", units: int = 5) -> tuple[Any, list[Any]]:
    """A jitted function, and arrays for it."""
    gates = KINDS[name][0]
    rng = np.random.default_rng(0)
    shapes = (2, 6, 3), (3, gates * units), (units, gates * units)
    arrays = [rng.normal(0, 0.5, shape).astype("float32") for shape in shapes]
    return jax.jit(lambda *arrays: getattr(fj, name)(*arrays)[0]), arrays


def test_what_python_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once for another number of threads; each time for other kernels, and for no steps."""
    call, arrays = small(units=7)
    np.testing.assert_array_equal(call(*arrays), fm.ops.lstm(*arrays)[0])
    with python_calls(monkeypatch) as calls:
        call(*arrays)
        assert not calls
        with threads(3):
            call(*arrays), call(*arrays)
            assert len(calls) == 1
        call(*arrays)
        assert len(calls) == 1
        use_kernels("reference")
        try:
            call(*arrays), call(*arrays)
        finally:
            use_kernels("cpu")
        assert len(calls) == 3
        call(*arrays)
        assert len(calls) == 3
        last, nothing = jax.jit(lambda *arrays: fj.lstm(*arrays)[1]), arrays[0][:, :0]
        last(nothing, *arrays[1:]), last(nothing, *arrays[1:])
        assert len(calls) == 5


def test_full_table(monkeypatch: pytest.MonkeyPatch) -> None:
    """A full table leaves new calls to Python; calls with an entry are found."""
    (known, arrays), (other, others) = small(units=8), small("gru", units=8)
    known(*arrays)
    kept, entries = len(state._kept), state._state[ENTRIES]
    state._state[ENTRIES] = 1 << 12
    try:
        with python_calls(monkeypatch) as calls:
            for _ in range(2):
                np.testing.assert_array_equal(other(*others), fm.ops.gru(*others)[0])
                np.testing.assert_array_equal(known(*arrays), fm.ops.lstm(*arrays)[0])
    finally:
        state._state[ENTRIES] = entries
    assert len(calls) == 2
    assert len(state._kept) == kept


def test_many_threads_of_python(monkeypatch: pytest.MonkeyPatch) -> None:
    """Concurrent calls, with and without entries, do not disturb each other."""
    problems = [small(name, units) for name in KINDS for units in (9, 11)]
    expected = [by_python(call, *arrays) for call, arrays in problems]
    wrong: list[int] = []

    def work(seed: int) -> None:
        for i in np.random.default_rng(seed).integers(0, len(problems), 60):
            call, arrays = problems[i]
            if not np.array_equal(call(*arrays), expected[i]):
                wrong.append(i)

    workers = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not wrong
    with python_calls(monkeypatch) as calls:
        for call, arrays in problems:
            call(*arrays)
    assert not calls


_WITHOUT_COMPILER = """
import numpy as np, jax, fastmask as fm, fastmask.jax as fj
x, kernel, recurrent = (np.ones(s, "f4") / 4 for s in ((2, 3, 2), (2, 8), (2, 8)))
for _ in range(2):
    np.testing.assert_allclose(fj.lstm(x, kernel, recurrent)[0],
                               fm.ops.lstm(x, kernel, recurrent)[0], 0, 1e-6)
import sys
assert "fastmask_kernels.cpu.xla.state" not in sys.modules
"""


def test_without_compiler() -> None:
    environment = {**os.environ, "NUMBA_DISABLE_JIT": "1"}
    subprocess.run([sys.executable, "-c", _WITHOUT_COMPILER], check=True, env=environment)
