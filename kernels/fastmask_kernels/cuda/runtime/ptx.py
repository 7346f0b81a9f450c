"""PTX instructions that Numba does not offer. No other file contains assembly.

Each is a function for kernels, called through the module (`ptx.exp2_approx(x)`); in the simulator
an emulation replaces it. Operands in the text are numbered, results first.

Matrix fragments (PTX ISA, "Matrix Fragments for mma"): lane = 4 * g + t of a warp holds of
    mma_bf16  D (16 x 8) += A (16 x 16) B (16 x 8), pairs of bf16 in a register, low half first:
        A  a0 = [g, 2t..2t+1]  a1 = [g+8, 2t..]  a2 = [g, 2t+8..]  a3 = [g+8, 2t+8..]
        B  b0 = [2t..2t+1, g]  b1 = [2t+8..2t+9, g]
    mma_tf32  D (16 x 8) += A (16 x 8) B (8 x 8), one number in a register:
        A  a0 = [g, t]  a1 = [g+8, t]  a2 = [g, t+4]  a3 = [g+8, t+4]
        B  b0 = [t, g]  b1 = [t+4, g]
    both      C, D  [g, 2t], [g, 2t+1], [g+8, 2t], [g+8, 2t+1] in float32
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba.cuda import types
from numba.cuda.extending import intrinsic
from numba.cuda.typing import signature

from .driver import SIMULATED

f32, i64, u32, u64 = types.float32, types.int64, types.uint32, types.uint64
_LETTERS = {f32: "f", u32: "r", i64: "l", u64: "l"}
_WORD, _WORD64 = ir.IntType(32), ir.IntType(64)
_LLVM = {f32: ir.FloatType(), u32: _WORD, i64: _WORD64, u64: _WORD64}
_SHARED = 3  # the address space, in LLVM's numbers


def _instruction(
    name: str, results: list[Any], operands: list[Any], text: str, memory: bool = False
) -> Any:
    """A function for kernels, made of one piece of PTX.

    Args:
        name: of the function.
        results: Numba types of what it returns: nothing, one, or a tuple of one type.
        operands: Numba types of its arguments.
        text: the PTX.
        memory: it reads or writes memory, or waits, so the compiler must not move it.
    """
    constraints = [f"={_LETTERS[t]}" for t in results] + [_LETTERS[t] for t in operands]
    if memory:
        constraints.append("~{memory}")
    fields = [_LLVM[t] for t in results]
    if not results:
        returned, result_type = ir.VoidType(), types.none
    elif len(results) == 1:
        returned, result_type = fields[0], results[0]
    else:
        returned = ir.LiteralStructType(fields)
        result_type = types.UniTuple(results[0], len(results))
    function = ir.FunctionType(returned, [_LLVM[t] for t in operands])

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        assembly = ir.InlineAsm(function, text, ",".join(constraints), side_effect=memory)
        value = builder.call(assembly, args, attrs=("convergent", "nounwind"))
        if not results:
            return context.get_dummy_value()
        if len(results) == 1:
            return value
        items = [builder.extract_value(value, i) for i in range(len(results))]
        return context.make_tuple(builder, sig.return_type, items)

    return _function(name, len(operands), lambda *_: signature(result_type, *operands), codegen)


def _function(name: str, count: int, typed: Callable[..., Any], codegen: Callable[..., Any]) -> Any:
    """An intrinsic of `count` arguments; Numba wants them in the function's signature."""
    names = [f"a{i}" for i in range(count)]
    source = (
        f"def {name}(typing, {', '.join(names)}):\n    return typed({', '.join(names)}), codegen\n"
    )
    space: dict[str, Any] = {"typed": typed, "codegen": codegen, "__name__": __name__}
    exec(source, space)
    return intrinsic(space[name])


# Elementary functions, with errors of about 2**-22.
exp2_approx = _instruction("exp2_approx", [f32], [f32], "ex2.approx.ftz.f32 $0, $1;")
reciprocal_approx = _instruction("reciprocal_approx", [f32], [f32], "rcp.approx.ftz.f32 $0, $1;")

# Conversions to fewer bits.
to_tf32 = _instruction("to_tf32", [u32], [f32], "cvt.rna.tf32.f32 $0, $1;")
pack_bf16 = _instruction("pack_bf16", [u32], [f32, f32], "cvt.rn.bf16x2.f32 $0, $2, $1;")


# Matrix products of a warp: (a0, a1, a2, a3, b0, b1, c0, c1, c2, c3) -> (d0, d1, d2, d3).
def _product(name: str, form: str) -> Any:
    operands = "{$0,$1,$2,$3}, {$4,$5,$6,$7}, {$8,$9}, {$10,$11,$12,$13}"
    text = f"mma.sync.aligned.{form}.f32 {operands};"
    return _instruction(name, [f32] * 4, [u32] * 6 + [f32] * 4, text)


mma_bf16 = _product("mma_bf16", "m16n8k16.row.col.f32.bf16.bf16")
mma_tf32 = _product("mma_tf32", "m16n8k8.row.col.f32.tf32.tf32")

# Memory. Addresses come from `shared_address` and `global_address`.
load_matrix = _instruction(
    "load_matrix",
    [u32] * 4,
    [u32],
    "ldmatrix.sync.aligned.m8n8.x4.shared.b16 {$0,$1,$2,$3}, [$4];",
    memory=True,
)
store_shared_half = _instruction(  # the low 16 bits
    "store_shared_half", [], [u32, u32], "st.shared.u16 [$0], $1;", memory=True
)
store_shared = _instruction("store_shared", [], [u32, u32], "st.shared.u32 [$0], $1;", memory=True)
load_global_4_words = _instruction(  # from L2: L1 does not see other blocks' writes
    "load_global_4_words", [u32] * 4, [u64], "ld.global.cg.v4.u32 {$0,$1,$2,$3}, [$4];", memory=True
)
copy_async = _instruction(  # 16 bytes from global to shared memory, bypassing L1, asynchronously
    "copy_async", [], [u32, u64], "cp.async.cg.shared.global [$0], [$1], 16;", memory=True
)
wait_copies = _instruction("wait_copies", [], [], "cp.async.wait_all;", memory=True)

# Memory that several threads change; Numba's atomics take arrays only.
add_to = _instruction("add_to", [], [u64, i64], "red.global.add.u64 [$0], $1;", memory=True)

# Blocks that wait for each other: a counter in global memory.
add_release = _instruction(
    "add_release", [], [u64, u32], "red.release.gpu.global.add.u32 [$0], $1;", memory=True
)
load_acquire = _instruction(
    "load_acquire", [u32], [u64], "ld.acquire.gpu.global.u32 $0, [$1];", memory=True
)


def _address(builder: Any, pointer: Any, index: Any) -> Any:
    if index.type.width < 64:
        index = builder.sext(index, _WORD64)
    return builder.ptrtoint(builder.gep(pointer, [index]), _WORD64)


def _global_address(context: Any, builder: Any, sig: Any, args: Any) -> Any:
    return _address(builder, *args)


def _shared_address(context: Any, builder: Any, sig: Any, args: Any) -> Any:
    """Computed in 32 bits, so that constant parts of the index become immediate offsets."""
    array = context.make_array(sig.args[0])(context, builder, args[0])
    start = builder.addrspacecast(array.data, array.data.type.pointee.as_pointer(_SHARED))
    index = args[1]
    if index.type.width > 32:
        index = builder.trunc(index, _WORD)
    size = ir.Constant(_WORD, sig.args[0].dtype.bitwidth // 8)
    return builder.add(builder.ptrtoint(start, _WORD), builder.mul(index, size))


# global_address(pointer, i) and shared_address(shared array, i): where the i-th item is.
global_address = _function(
    "global_address", 2, lambda array, i: signature(u64, array, i), _global_address
)
shared_address = _function(
    "shared_address", 2, lambda array, i: signature(u32, array, i), _shared_address
)

if SIMULATED:
    from ..simulator._emulations import EMULATIONS

    globals().update(EMULATIONS)
