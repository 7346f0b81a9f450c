"""The compilation cache: one compilation per dtype, and none that outlives its sources."""

from __future__ import annotations

import gc
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numba import njit, types
from numba.core.compiler_lock import global_compiler_lock

import fastmask_kernels
from fastmask_kernels.cpu import jit
from fastmask_kernels.cpu.jit import CompiledKernel, array, output
from fastmask_kernels.sources import digest_of

KERNELS = Path(fastmask_kernels.__file__).parent


def _double(out: Any, x: Any) -> None:
    for i in range(len(x)):
        out[i] = 2 * x[i]


def _kernel() -> CompiledKernel:
    return CompiledKernel(_double, lambda t: types.void(output(t, 1), array(t, 1)))


def test_the_digest_sees_every_file(tmp_path: Path) -> None:
    copy = Path(shutil.copytree(KERNELS, tmp_path / "kernels"))
    before = digest_of(KERNELS)
    assert digest_of(copy) == before
    for edited in sorted(copy.rglob("*.py")):
        text = edited.read_text()
        edited.write_text(text + "# edited\n")
        assert digest_of(copy) != before, edited
        edited.write_text(text)


def test_an_edit_of_any_source_leads_to_another_cache_entry(monkeypatch: Any) -> None:
    def key() -> Any:
        kernel = _kernel()
        dispatcher: Any = kernel.for_dtype(np.dtype("float32"))
        signature = dispatcher.signatures[0]
        return dispatcher._cache._index_key(signature, dispatcher.targetctx.codegen())

    before = key()
    assert key() == before
    monkeypatch.setattr(jit, "source_digest", lambda: "edited")
    assert key() != before


def test_kernels_of_one_source_are_told_apart_by_name() -> None:
    def key(factor: Any, name: str) -> Any:
        def scaled(out: Any, x: Any) -> None:
            for i in range(len(x)):
                out[i] = factor(x[i])

        kernel = CompiledKernel(scaled, lambda t: types.void(output(t, 1), array(t, 1)), name)
        dispatcher: Any = kernel.for_dtype(np.dtype("float32"))
        return dispatcher._cache._index_key(
            dispatcher.signatures[0], dispatcher.targetctx.codegen()
        )

    double, triple = (njit(f) for f in (lambda x: 2 * x, lambda x: 3 * x))
    assert key(double, "double") != key(triple, "triple")
    # The objects in a kernel's closure have another address, and another pickle, in each process.
    assert key(double, "double") == key(njit(lambda x: 2 * x), "double")


def test_read_only_arrays_compile_nothing_more() -> None:
    kernel = _kernel()
    x = np.arange(5, dtype=np.float32)
    frozen = x.copy()
    frozen.flags.writeable = False
    for source in (x, frozen):
        out = np.zeros(5, np.float32)
        kernel.for_dtype(x.dtype)(out, source)
        np.testing.assert_array_equal(out, 2 * x)
    assert len(kernel._ready) == 1
    kernel.for_dtype(np.dtype("float64"))(np.zeros(5), np.zeros(5))
    assert len(kernel._ready) == 2


def test_the_collector_is_paused_until_the_compiler_is_free(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    held = []
    enable = gc.enable
    monkeypatch.setattr(
        gc, "enable", lambda: (held.append(global_compiler_lock.is_locked()), enable())
    )
    _kernel().for_dtype(np.dtype(np.float32))
    assert held == [False]
    assert gc.isenabled()


def test_the_collector_stays_paused_for_the_last_of_several_threads() -> None:
    first, second = jit._no_collections(), jit._no_collections()
    with first:
        second.__enter__()
        assert not gc.isenabled()
    assert not gc.isenabled()
    second.__exit__(None, None, None)
    assert gc.isenabled()
    gc.disable()
    try:
        with jit._no_collections():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()
