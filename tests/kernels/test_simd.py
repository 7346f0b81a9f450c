"""The vector emitter: accuracy of its activations, at every register width of the CPU."""

from __future__ import annotations

import platform
from typing import Any

import numpy as np
import pytest
from numba import njit, types
from numba.extending import intrinsic

from fastmask_kernels.cpu.rnn.activations import CODES, emit_activation
from fastmask_kernels.cpu.simd import Emitter, data_pointer, lanes
from fastmask_kernels.reference.activations import activate

from .test_kernel_table import kernel_tests


@intrinsic
def _activate_vector(_typing: Any, out: Any, x: Any, _start: Any, _code: Any) -> Any:
    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        emit = Emitter(builder, x.dtype)
        to, source = (data_pointer(context, builder, sig.args[i], args[i]) for i in (0, 1))
        emit.store(emit_activation(emit, args[3], emit.load(source, args[2])), to, args[2])
        return context.get_dummy_value()

    return types.void(out, x, types.int64, types.int64), codegen


@njit
def _activate_all(out: Any, x: Any, width: int, code: int) -> None:
    for start in range(0, len(x), width):
        _activate_vector(out, x, start, code)


def _run(name: str, x: Any) -> Any:
    out = np.full_like(x, np.nan)
    _activate_all(out, x, lanes(x.dtype), CODES[name])
    return out


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 3e-7), ("float64", 1e-15)])
@pytest.mark.parametrize("name", sorted(CODES))
def test_activations_are_accurate(name: str, dtype: str, tolerance: float) -> None:
    rng = np.random.default_rng(0)
    spread = np.concatenate([np.linspace(-100, 100, 2**16), rng.standard_normal(2**16) * 3])
    x = np.concatenate([spread, spread * 1e-6, [0.0, -0.0], np.zeros(62)]).astype(dtype)
    error = np.abs(_run(name, x) - activate(name, x.astype(np.longdouble)))
    assert np.max(error / np.maximum(1, np.abs(x))) < tolerance


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_tanh_keeps_relative_accuracy_near_zero(dtype: str) -> None:
    x = np.geomspace(1e-30, 0.1, 4096).astype(dtype)
    exact = np.tanh(x.astype(np.longdouble))
    assert np.max(np.abs(_run("tanh", x) / exact - 1)) < 8 * np.finfo(dtype).eps


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", sorted(CODES))
def test_activations_of_nan_and_inf(name: str, dtype: str) -> None:
    x = np.resize(np.array([np.nan, np.inf, -np.inf, 3e38, -3e38], dtype), 64)
    np.testing.assert_allclose(_run(name, x), activate(name, x), atol=1e-7)


AVX2 = "+sse4.2,+avx,+avx2,+fma"


def _on(features: str, cells: str) -> pytest.MarkDecorator:
    selection = f"(equals_reference or does_not_change_a_bit or are_accurate) and {cells}"
    return kernel_tests(selection, NUMBA_CPU_NAME="generic", NUMBA_CPU_FEATURES=features)


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="features of x86")
@pytest.mark.parametrize(
    "registers",
    [
        pytest.param("sse2, no cell", marks=_on("+sse2", "not gru and not lstm and not rnn")),
        pytest.param("sse2, lstm", marks=[_on("+sse2", "lstm"), pytest.mark.slow]),
        pytest.param("avx2", marks=[_on(AVX2, "not gru"), pytest.mark.slow]),
        pytest.param("avx2, gru", marks=[_on(AVX2, "gru"), pytest.mark.slow]),
    ],
)
def test_narrower_registers(registers: str, own_process: str) -> None:
    """The same source compiled for narrower registers, and without fused multiply-add."""
    assert " passed" in own_process, registers
