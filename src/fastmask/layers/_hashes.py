"""The 64-bit hashes by which TensorFlow puts unknown tokens into buckets."""

from __future__ import annotations

from collections.abc import Sequence

_ALL = (1 << 64) - 1
_K0, _K1, _K2 = 0xC3A5C85C97CB3127, 0xB492B66FBE98F273, 0x9AE16A3B2F90404F


def farmhash(text: bytes) -> int:
    """FarmHash's Fingerprint64, the same on all machines.

    Source:
        https://github.com/google/farmhash, `farmhashna::Hash64`.
    """
    size = len(text)
    if size <= 16:
        return _of_16(text, size)
    if size <= 32:
        return _mixed(*_ends(text, _K1, 0)[:2], _K2 + 2 * size)
    return _of_64(text, size) if size <= 64 else _of_more(text, size)


def siphash(text: bytes, key: Sequence[int]) -> int:
    """SipHash-2-4 with a key of two numbers (Aumasson and Bernstein, 2012)."""
    first, second = (number & _ALL for number in key)
    v0, v1 = first ^ 0x736F6D6570736575, second ^ 0x646F72616E646F6D
    v2, v3 = first ^ 0x6C7967656E657261, second ^ 0x7465646279746573
    padded = text + bytes(7 - len(text) % 8) + bytes([len(text) % 256])
    for start in range(0, len(padded), 8):
        word = _word(padded, start)
        v0, v1, v2, v3 = _rounds(v0, v1, v2, v3 ^ word, 2)
        v0 ^= word
    v0, v1, v2, v3 = _rounds(v0, v1, v2 ^ 0xFF, v3, 4)
    return v0 ^ v1 ^ v2 ^ v3


def _rounds(v0: int, v1: int, v2: int, v3: int, count: int) -> tuple[int, int, int, int]:
    for _ in range(count):
        v0, v2 = (v0 + v1) & _ALL, (v2 + v3) & _ALL
        v1, v3 = _turned(v1, 51) ^ v0, _turned(v3, 48) ^ v2
        v0, v2 = (_turned(v0, 32) + v3) & _ALL, (v2 + v1) & _ALL
        v1, v3 = _turned(v1, 47) ^ v2, _turned(v3, 43) ^ v0
        v2 = _turned(v2, 32)
    return v0, v1, v2, v3


def _word(text: bytes, start: int, size: int = 8) -> int:
    return int.from_bytes(text[start : start + size], "little")


def _turned(value: int, by: int) -> int:
    """Rotate the low 64 bits of `value` right."""
    value &= _ALL
    return (value >> by | value << (64 - by)) & _ALL


def _folded(value: int) -> int:
    value &= _ALL
    return value ^ value >> 47


def _mixed(u: int, v: int, factor: int) -> int:
    a = _folded((u ^ v & _ALL) * factor)
    return _folded((v ^ a) * factor) * factor & _ALL


def _of_16(text: bytes, size: int) -> int:
    factor = _K2 + 2 * size
    if size >= 8:
        a, b = _word(text, 0) + _K2, _word(text, size - 8)
        return _mixed(_turned(b, 37) * factor + a, (_turned(a, 25) + b) * factor, factor)
    if size >= 4:
        return _mixed(size + (_word(text, 0, 4) << 3), _word(text, size - 4, 4), factor)
    if size:
        y, z = text[0] + (text[size >> 1] << 8), size + (text[-1] << 2)
        return _folded(y * _K2 ^ z * _K0) * _K2 & _ALL
    return _K2


def _ends(text: bytes, first: int, start: int) -> tuple[int, int, int]:
    """Mix the first and the last 16 bytes."""
    factor = _K2 + 2 * len(text)
    a, b = _word(text, start) * first, _word(text, start + 8)
    c, d = _word(text, len(text) - 8) * factor, _word(text, len(text) - 16) * _K2
    return _turned(a + b, 43) + _turned(c, 30) + d, a + _turned(b + _K2, 18) + c, a


def _of_64(text: bytes, size: int) -> int:
    factor = _K2 + 2 * size
    y, other, a = _ends(text, _K2, 0)
    z = _mixed(y, other, factor)
    e, f = _word(text, 16) * factor, _word(text, 24)
    g = (y + _word(text, size - 32)) * factor
    h = (z + _word(text, size - 24)) * factor
    return _mixed(_turned(e + f, 43) + _turned(g, 30) + h, e + _turned(f + a, 18) + g, factor)


def _of_more(text: bytes, size: int) -> int:
    x, y = 81, 81 * _K1 + 113
    z = _folded(y * _K2 + 113) * _K2
    x = x * _K2 + _word(text, 0)
    state = (x, y, z, (0, 0), (0, 0))
    for start in range(0, (size - 1) // 64 * 64, 64):
        state = _block(text, start, state, _K1, 1)
    x, y, z, v, w = state
    factor = _K1 + ((z & 0xFF) << 1)
    w0 = w[0] + ((size - 1) & 63)
    v0 = v[0] + w0
    x, y, z, v, w = _block(text, size - 64, (x, y, z, (v0, v[1]), (w0 + v0, w[1])), factor, 9)
    return _mixed(
        _mixed(v[0], w[0], factor) + _folded(y) * _K0 + z, _mixed(v[1], w[1], factor) + x, factor
    )


_Pair = tuple[int, int]
_State = tuple[int, int, int, _Pair, _Pair]


def _block(text: bytes, start: int, state: _State, factor: int, times: int) -> _State:
    """Mix in 64 more bytes."""
    x, y, z, v, w = state
    x = _turned(x + y + v[0] + _word(text, start + 8), 37) * factor
    y = _turned(y + v[1] + _word(text, start + 48), 42) * factor
    x = (x ^ w[1] * times) & _ALL
    y = (y + v[0] * times + _word(text, start + 40)) & _ALL
    z = _turned(z + w[0], 33) * factor & _ALL
    v = _half(text, start, v[1] * factor, x + w[0])
    w = _half(text, start + 32, z + w[1], y + _word(text, start + 16))
    return z, y, x, v, w


def _half(text: bytes, start: int, a: int, b: int) -> _Pair:
    """Mix in 32 more bytes."""
    words = [_word(text, start + 8 * n) for n in range(4)]
    a += words[0]
    b = _turned(b + a + words[3], 21)
    c = a
    a += words[1] + words[2]
    b += _turned(a, 44)
    return (a + words[3]) & _ALL, (b + c) & _ALL
