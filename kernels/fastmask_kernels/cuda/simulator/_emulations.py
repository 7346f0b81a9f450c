"""The PTX of `runtime.ptx`, in Python. Addresses are pairs of an array and an index."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._barriers import exchange, this
from ._memory import inside


def _word(x: Any) -> int:
    return int(np.float32(x).view(np.uint32))


def _single(word: Any) -> np.float32:
    return np.uint32(word).view(np.float32)


def to_tf32(x: Any) -> np.uint32:
    """Ten bits of mantissa, ties away from zero."""
    return np.uint32(((_word(x) + 0x1000) & 0xFFFFE000) & 0xFFFFFFFF)


def _bf16(x: Any) -> int:
    word = _word(x)
    return (word + 0x7FFF + (word >> 16 & 1)) >> 16 & 0xFFFF


def pack_bf16(low: Any, high: Any) -> np.uint32:
    return np.uint32(_bf16(low) | _bf16(high) << 16)


def _pair(word: Any) -> list[np.float32]:
    return [_single(int(word) << 16 & 0xFFFFFFFF), _single(int(word) & 0xFFFF0000)]


def mma_bf16(*operands: Any) -> tuple[Any, ...]:
    return _product(operands, 16, 2, _pair)


def mma_tf32(*operands: Any) -> tuple[Any, ...]:
    return _product(operands, 8, 1, lambda word: [_single(int(word) & 0xFFFFE000)])


def _product(
    operands: tuple[Any, ...], depth: int, width: int, numbers: Callable[[Any], list[Any]]
) -> tuple[Any, ...]:
    """D = A B + C from every lane's fragments; a register holds `width` numbers."""

    def multiply(shown: list[Any]) -> NDArray[Any]:
        a, b = np.zeros((16, depth), np.float32), np.zeros((depth, 8), np.float32)
        c = np.zeros((16, 8), np.float32)
        for number, held in enumerate(shown):
            g, t = divmod(number, 4)
            for i in range(4):
                k = width * t + (i // 2) * 4 * width
                a[g + i % 2 * 8, k : k + width] = numbers(held[i])
            for i in range(2):
                k = width * t + i * 4 * width
                b[k : k + width, g] = numbers(held[4 + i])
            c[g, 2 * t : 2 * t + 2], c[g + 8, 2 * t : 2 * t + 2] = held[6:8], held[8:10]
        return a @ b + c

    thread = this()
    d = thread.warp.wait("mma", thread.lane, operands).made(multiply)
    g, t = divmod(thread.lane, 4)
    return d[g, 2 * t], d[g, 2 * t + 1], d[g + 8, 2 * t], d[g + 8, 2 * t + 1]


def load_matrix(address: Any) -> tuple[Any, ...]:
    """Four 8 x 8 matrices of 16-bit items; lanes 0..7, 8..15, ... point at their rows."""
    this().engine.interrupt()
    rows, (g, t) = exchange("load_matrix", address), divmod(this().lane, 4)
    return tuple(_sixteen_bytes(rows[8 * i + g])[t] for i in range(4))


def _sixteen_bytes(address: Any) -> NDArray[Any]:
    """The four words at an address, which must be a multiple of 16 bytes into its array."""
    array, start = address
    first = start * array.dtype.itemsize
    if first % 16:
        raise ValueError(f"an access of 16 bytes is not aligned: it is at byte {first} of an array")
    if first < 0 or first + 16 > array.nbytes:
        raise IndexError(f"an access of 16 bytes at byte {first} of an array of {array.nbytes}")
    return np.asarray(array).view(np.uint8)[first : first + 16].view(np.uint32)


def _load_4_words(address: Any) -> tuple[Any, ...]:
    this().engine.interrupt()
    return tuple(_sixteen_bytes(address))


def _copy_async(to: Any, source: Any) -> None:
    _sixteen_bytes(to), _sixteen_bytes(source)  # checked now, copied as late as possible
    this().copies.append((to, source))


def _wait_copies() -> None:
    copies = this().copies
    while copies:
        (array, start), source = copies.pop(0)
        items = slice(start, start + 16 // array.dtype.itemsize)
        array[items] = _sixteen_bytes(source).view(array.dtype)


def _store_half(address: Any, word: Any) -> None:
    array, i = address
    if array.dtype.itemsize != 2:
        raise TypeError(f"a 16-bit store to an array of {array.dtype}")
    array[i] = np.uint16(int(word) & 0xFFFF)


def _store_word(address: Any, word: Any) -> None:
    array, i = address
    array[i] = np.uint32(word)


def _add_to(address: Any, value: Any) -> None:
    array, i = address
    i, thread = inside(i), this()
    thread.stores.flush_place(array, i)
    whole = array.view(np.ndarray)  # in which no other thread is let in
    before = whole[i]
    whole[i] += whole.dtype.type(value)
    if before != whole[i]:
        thread.engine.progress.made()


def _add_release(address: Any, value: Any) -> None:
    this().stores.flush()
    _add_to(address, value)


def _load_acquire(address: Any) -> Any:
    array, i = address
    this().engine.hold_up()
    return array[i]


EMULATIONS: dict[str, Callable[..., Any]] = {
    "exp2_approx": lambda x: np.exp2(np.float32(x)),
    "reciprocal_approx": lambda x: np.float32(1) / np.float32(x),
    "to_tf32": to_tf32,
    "pack_bf16": pack_bf16,
    "mma_bf16": mma_bf16,
    "mma_tf32": mma_tf32,
    "load_matrix": load_matrix,
    "load_global_4_words": _load_4_words,
    "copy_async": _copy_async,
    "wait_copies": _wait_copies,
    "store_shared_half": _store_half,
    "store_shared": _store_word,
    "add_to": _add_to,
    "add_release": _add_release,
    "load_acquire": _load_acquire,
    "global_address": lambda array, i: (array, int(i)),
    "shared_address": lambda array, i: (array, int(i)),
}
