"""The XLA handler: looks a call up in a hash table of entries, and computes it or asks Python.

The key is the number of threads and all of the call frame except addresses. On a cache miss Python
computes the call and makes its entry; the table only grows. A hit needs no lock, not even the GIL.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types

from ...xla import (
    ATTRIBUTES,
    DATA,
    DIMENSIONS,
    DTYPE,
    EXECUTE,
    EXTENSION,
    HALF,
    INPUTS,
    OUTPUTS,
    RANK,
    STAGE,
    STRING,
)
from ..jit import compiled, inner
from ..parallel.atomics import atomic_add, atomic_load, atomic_replace
from ..rnn.transpose import address_of, pointer_at
from .entry import (
    ADVICE,
    ADVISE,
    ENTRIES,
    PAGE,
    PYTHON,
    SHORTEST,
    STATE,
    TABLE,
    TABLE_SIZE,
    THREADS,
    Entry,
    read_entry,
)
from .native import c_caller, caller, give_memory, own_words, take_memory, words_named
from .steps import DONE, FAILED, UNKNOWN, call_signature

KEY_WORDS = 512
MOST_ENTRIES = TABLE_SIZE // 2  # soft: threads that add entries at the same time may exceed it
_LINE = 64  # bytes of a cache line, to which the workspace is aligned
_FACTOR = np.int64(-7046029254386353131)  # 2**64 / golden ratio, Knuth's multiplicative hash
_SHIFT = 32

_state, _own_key, _own_word = words_named(STATE), own_words(KEY_WORDS), own_words(1)
_compute = caller(call_signature)
_call_python, _advise = c_caller(4), c_caller(3, ir.IntType(32))
_FIELDS = {name: place for place, name in enumerate(Entry._fields)}
_DIGEST, _COUNT, _KEY = (_FIELDS[name] for name in ("digest", "words", "key"))


@inner
def _describe_text(frame: Any, key: Any, count: int) -> int:
    """Append the call's only attribute, a string, to the key; returns the new length, or -1."""
    if frame[ATTRIBUTES] != 1 or pointer_at(np.int32, frame[ATTRIBUTES + 1])[0] != STRING:
        return -1
    attribute = pointer_at(frame, pointer_at(frame, frame[ATTRIBUTES + 3])[0])
    text, size = pointer_at(np.uint8, attribute[0]), attribute[1]
    if size > KEY_WORDS:
        return -1
    key[count] = size
    word: Any = 0
    end = count + 1
    for i in range(size):
        word |= np.int64(text[i]) << (8 * (i % 8))
        if i % 8 == 7 or i == size - 1:
            key[end] = word
            word, end = 0, end + 1
    return end


@inner
def _describe_arrays(frame: Any, place: int, key: Any, count: int) -> int:
    """Append dtypes and shapes of all inputs or outputs; returns the same as `_describe_text`."""
    number, each = frame[place], pointer_at(frame, frame[place + 2])
    key[count] = number
    count += 1
    for i in range(number):
        buffer = pointer_at(frame, each[i])
        rank, sizes = buffer[RANK], pointer_at(frame, buffer[DIMENSIONS])
        if count + rank + 3 > KEY_WORDS:  # with room for the number of outputs
            return -1
        key[count] = (buffer[DTYPE] & HALF) << _SHIFT | rank
        count += 1
        for axis in range(rank):
            key[count] = sizes[axis]
            count += 1
    return count


@inner
def _describe(frame: Any, threads: int, key: Any) -> int:
    """Write a call's key, its hash first; returns its length, 0 for calls that have none."""
    if threads < 1 or frame[EXTENSION] != 0 or frame[STAGE] & HALF != EXECUTE:
        return 0
    key[1] = threads
    count = _describe_text(frame, key, 2)
    if count > 0:
        count = _describe_arrays(frame, INPUTS, key, count)
    if count > 0:
        count = _describe_arrays(frame, OUTPUTS, key, count)
    digest = np.int64(0)
    for i in range(1, count):
        digest = (digest ^ key[i]) * _FACTOR
        digest ^= digest >> _SHIFT
    key[0] = digest
    return int(max(count, 0))


@inner
def _is_of(entry: Any, key: Any, count: int) -> bool:
    if entry[_DIGEST] != key[0] or entry[_COUNT] != count:
        return False
    own = pointer_at(key, entry[_KEY])
    for i in range(1, count):  # noqa: SIM110 - compiled code has no `all`
        if own[i] != key[i]:
            return False
    return True


@inner
def _find(state: Any, key: Any, count: int) -> int:
    """The address of the entry for a key; 0 if there is none."""
    place = key[0]
    while count > 0:
        place &= TABLE_SIZE - 1
        address = atomic_load(state, TABLE + place)
        if address == 0 or _is_of(pointer_at(key, address), key, count):
            return int(address)
        place += 1
    return 0


@inner
def _add(state: Any, address: int) -> None:
    """Add an entry to the table, which is never full."""
    place = pointer_at(state, address)[_DIGEST] & (TABLE_SIZE - 1)
    atomic_add(state, ENTRIES, 1)
    while not atomic_replace(state, TABLE + place, 0, address):
        place = (place + 1) & (TABLE_SIZE - 1)


@inner
def _ask_for_large_pages(state: Any, frame: Any, itemsize: int) -> None:
    """Ask for large pages, in which new memory is written faster, as `fastmask.jax` does."""
    each, page = pointer_at(frame, frame[OUTPUTS + 2]), state[PAGE]
    for i in range(frame[OUTPUTS]):
        buffer = pointer_at(frame, each[i])
        size, sizes = itemsize, pointer_at(frame, buffer[DIMENSIONS])
        for axis in range(buffer[RANK]):
            size *= sizes[axis]
        if size >= SHORTEST:
            begin = (buffer[DATA] + page - 1) // page * page
            _advise(state[ADVISE], (begin, buffer[DATA] + size - begin, state[ADVICE]))


@inner
def _run(state: Any, frame: Any, words: Any) -> int:
    """Compute a call by its entry; returns how that ended."""
    entry = read_entry(words)
    memory = take_memory(entry.memory + _LINE)
    if memory == 0:
        return UNKNOWN
    if entry.large != 0 and state[ADVISE] != 0:
        _ask_for_large_pages(state, frame, entry.weight_bytes)
    own = pointer_at(frame, (memory + _LINE - 1) // _LINE * _LINE)
    inputs = pointer_at(frame, frame[INPUTS + 2])
    outputs = pointer_at(frame, frame[OUTPUTS + 2])
    ended = _compute(frame, entry.compute, (own, words, inputs, outputs, state))
    give_memory(memory)
    return int(ended)


@compiled(lambda i: i(types.CPointer(i)), in_c=True)
def handle(frame: Any) -> int:
    """Handle a call, given its frame; returns the address of an error, or 0."""
    state, key = _state(), _own_key()
    count = _describe(frame, state[THREADS], key)
    known = _find(state, key, count)
    if known != 0:
        ended = _run(state, frame, pointer_at(frame, known))
        if ended == DONE:
            return 0
        count = -1 if ended == FAILED else 0
    elif state[ENTRIES] >= MOST_ENTRIES:
        count = 0
    made = _own_word()
    made[0] = 0
    places = address_of(frame, 0), address_of(key, 0), count, address_of(made, 0)
    error = _call_python(state[PYTHON], places)
    if made[0] != 0:
        _add(state, made[0])
    return int(error)
