"""LLVM's code for processors that the tests do not run on: its instructions."""

from __future__ import annotations

import llvmlite.binding as llvm
import pytest
from llvmlite import ir
from numba import types

from fastmask_kernels.cpu import simd
from fastmask_kernels.cpu.quantized import formats
from fastmask_kernels.cpu.simd import Emitter

TRIPLE = "aarch64-unknown-linux-gnu"


def assembly(format: formats.Format, features: set[str], monkeypatch: pytest.MonkeyPatch) -> str:
    """The assembly of a product of a row and weights, for a 64-bit Arm processor."""
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    try:
        target = llvm.Target.from_triple(TRIPLE)
    except RuntimeError:
        pytest.skip("this LLVM makes no code for Arm")
    monkeypatch.setattr(simd, "VECTOR_BYTES", 16)
    monkeypatch.setattr(formats, "host_features", lambda: features)
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    module = ir.Module()
    module.triple = TRIPLE
    emit = Emitter(ir.IRBuilder(), types.float32)
    sums, words = format.sums_type(emit), formats.words_type(emit)
    function = ir.Function(module, ir.FunctionType(sums, [sums, words, words]), "add")
    emit.builder.position_at_end(function.append_basic_block())
    emit.builder.ret(format.dot(emit, *function.args))
    machine = target.create_target_machine(
        features=",".join(f"+{name}" for name in sorted(features)), opt=3
    )
    return str(machine.emit_assembly(llvm.parse_assembly(str(module))))


def test_arm(monkeypatch: pytest.MonkeyPatch) -> None:
    features = {"neon", "bf16", "dotprod"}
    assert "bfdot" in assembly(formats.BFLOAT16, features, monkeypatch)
    assert "sdot" in assembly(formats.INT8, features, monkeypatch)
    assert "fmla" in assembly(formats.BFLOAT16, {"neon"}, monkeypatch)
    assert "sdot" not in assembly(formats.INT8, {"neon"}, monkeypatch)
