"""Memory and functions by address, for compiled code that Python does not call."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from numba.np.arrayobj import populate_array

from ..parallel.queue import FAILURE
from ..simd import I32, I64, data_pointer

_i8 = types.int64
WORDS = types.CPointer(_i8)


@intrinsic
def array_at(typingctx: Any, like: Any, address: Any, shape: Any) -> Any:
    """An array over the memory at an address, of the dtype of `like`; not reference-counted."""
    made = types.Array(like.dtype, len(shape), "C")

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        itemsize = I64(context.get_abi_sizeof(context.get_data_type(made.dtype)))
        sizes = cgutils.unpack_tuple(builder, args[2])
        strides = [itemsize]
        for size in sizes[:0:-1]:
            strides.insert(0, builder.mul(strides[0], size))
        array = context.make_array(made)(context, builder)
        data = builder.inttoptr(args[1], context.get_data_type(made.dtype).as_pointer())
        populate_array(array, data, sizes, strides, itemsize, None)
        return array._getvalue()

    return made(like, _i8, types.UniTuple(_i8, len(shape))), codegen


def numbers_at(count: int, place: int | None = None) -> Any:
    """`numbers`, which reads `count` numbers, for compiled code to call."""

    @intrinsic
    def numbers(typingctx: Any, words: Any, start: Any, value: Any) -> Any:
        """words[start:][:count], with `value` at `place`, as a tuple."""
        found = types.UniTuple(_i8, count)

        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            first = builder.gep(data_pointer(context, builder, words, args[0]), [args[1]])
            each = [builder.load(builder.gep(first, [I64(n)])) for n in range(count)]
            if place is not None:
                each[place] = args[2]
            return context.make_tuple(builder, found, each)

        return found(words, _i8, _i8), codegen

    return numbers


def caller(signature_of: Callable[[Any], Any]) -> Any:
    """`call`, by which compiled code calls compiled functions with a signature."""

    @intrinsic
    def call(typingctx: Any, like: Any, address: Any, arguments: Any) -> Any:
        """Call the function at an address; its signature is that for the dtype of `like`.

        Returns its result, 0 if it returns nothing, FAILURE if it raises an error.
        """
        signature = signature_of(like.dtype)
        result, kinds = signature.return_type, signature.args

        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            convention = context.call_conv
            function = builder.inttoptr(
                args[1], convention.get_function_type(result, kinds).as_pointer()
            )
            values = cgutils.unpack_tuple(builder, args[2])
            status, value = convention.call_function(builder, function, result, kinds, values)
            ended = value if result == _i8 else I64(0)
            return builder.select(status.is_error, I64(FAILURE), ended)

        return _i8(like, _i8, types.Tuple(kinds)), codegen

    return call


def c_caller(count: int, returned: Any = I64) -> Any:
    """`call`, by which compiled code calls C functions of `count` 64-bit arguments."""

    @intrinsic
    def call(typingctx: Any, address: Any, arguments: Any) -> Any:
        """Call the C function at an address."""

        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            signature = ir.FunctionType(returned, [I64] * count)
            function = builder.inttoptr(args[0], signature.as_pointer())
            value = builder.call(function, cgutils.unpack_tuple(builder, args[1]))
            return value if returned == I64 else builder.sext(value, I64)

        return _i8(_i8, types.UniTuple(_i8, count)), codegen

    return call


@intrinsic
def take_memory(typingctx: Any, size: Any) -> Any:
    """Allocate memory; returns its address, or 0 on failure."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.ptrtoint(context.nrt.allocate(builder, args[0]), I64)

    return _i8(_i8), codegen


@intrinsic
def give_memory(typingctx: Any, address: Any) -> Any:
    """Free what `take_memory` allocated."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        context.nrt.free(builder, builder.inttoptr(args[0], cgutils.voidptr_t))
        return context.get_dummy_value()

    return types.void(_i8), codegen


def own_words(count: int) -> Any:
    """`words`, which reserves `count` words on the stack of the function that calls it."""

    @intrinsic
    def words(typingctx: Any) -> Any:
        """Words that live until the function returns."""

        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            return cgutils.alloca_once(builder, I64, size=I32(count))

        return WORDS(), codegen

    return words


def words_named(name: str) -> Any:
    """`words`, at the address that is registered with llvmlite under a name."""

    @intrinsic
    def words(typingctx: Any) -> Any:
        """The words at the symbol's address."""

        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            known = builder.module.globals.get(name)
            return known or ir.GlobalVariable(builder.module, I64, name)

        return WORDS(), codegen

    return words
