"""Masks, padding, softmax and embedding: everything around the recurrent layers."""

from __future__ import annotations

from typing import Any

import numpy as np

import fastmask as fm

from ...cases import MASK_KINDS, make_mask, plan_of
from ..cases import flag, pick
from ..problem import Array, Problem, Random, exact, load

DTYPES = ("int8", "uint8", "int32", "int64", "float32", "float64")


def _sizes(random: Random, *most: int) -> list[int]:
    return [int(random.integers(0, n + 1)) for n in most]


def _valid(random: Random, batch: int, time: int) -> Array:
    return make_mask(pick(random, MASK_KINDS), batch, time, random)


@load
def masks(random: Random) -> Problem:
    """Masks from ids, features and lengths; their lengths, fill and combinations."""
    batch, time, features = _sizes(random, 50, 60, 5)
    dtype = pick(random, DTYPES)
    one, other = _valid(random, batch, time), _valid(random, batch, time)
    ids = one.astype(dtype) * random.integers(1, 9, (batch, time)).astype(dtype)
    x = np.where(other[:, :, None], 3.0, 7.0).astype(np.float32).repeat(features + 1, axis=2)
    lengths = other.sum(axis=1)
    embedding = fm.layers.Embedding(10, 2, mask_zero=True)

    def compute() -> list[Any]:
        found = [fm.get_mask(embedding(ids)), fm.get_mask(fm.layers.Masking(7.0)(x))]
        first = fm.Mask.from_lengths(lengths, maxlen=time)
        return [np.asarray(m.valid) for m in (*found, first)] + [found[0].lengths]

    first = np.arange(time) < lengths[:, None]
    return exact(compute, [one, other, first, one.sum(axis=1)])


@load
def plans(random: Random) -> Problem:
    from fastmask_kernels import cpu

    batch, time = _sizes(random, 80, 70)
    valid = _valid(random, batch, time)
    offsets, steps, order = plan_of(valid)

    def compute() -> list[Any]:
        found = np.empty(batch + 1, np.int64), np.empty(batch * time, np.int64)
        ranks = np.empty(batch, np.int64)
        cpu.plan_steps(*found, ranks, valid)
        return [found[0], found[1][: len(steps)], ranks]

    return exact(compute, [offsets, steps, order])


@load
def padding(random: Random) -> Problem:
    """Lists of rows become an array, and then rows again."""
    batch, longest = _sizes(random, 30, 40)
    dtype = pick(random, DTYPES)
    step = (2,) if flag(random) else ()
    rows = [
        random.integers(0, 100, (int(random.integers(0, longest + 1)), *step)).astype(dtype)
        for _ in range(batch)
    ]
    maxlen = int(random.integers(1, 45)) if flag(random) else max(map(len, rows), default=0)
    pre, cut_pre = flag(random), flag(random)
    expected = np.full((batch, maxlen, *step), 7, dtype)
    for b, row in enumerate(rows):
        kept = row[max(len(row) - maxlen, 0) :] if cut_pre else row[:maxlen]
        if len(kept):
            expected[b, maxlen - len(kept) :] = kept if pre else expected[b, maxlen - len(kept) :]
            if not pre:
                expected[b, : len(kept)] = kept
    whole = np.concatenate(rows) if rows else np.empty((0, *step), dtype)

    def compute() -> list[Any]:
        ends = {"padding": "pre" if pre else "post", "truncating": "pre" if cut_pre else "post"}
        padded = fm.pad_sequences(rows, maxlen=maxlen, dtype=dtype, value=7, **ends)
        back = fm.unpad(fm.pad(rows)) if rows else []
        return [padded.reshape(expected.shape), np.concatenate(back) if back else whole]

    return exact(compute, [expected, whole])


@load
def softmax(random: Random) -> Problem:
    batch, time, features = _sizes(random, 30, 40, 6)
    valid = _valid(random, batch, time)[:, :, None]
    dtype = pick(random, ("float32", "float64"))
    x = (10 * random.standard_normal((batch, time, features))).astype(dtype)
    layer = fm.layers.Softmax(axis=1, dtype=dtype)
    powers = np.where(valid, np.exp(np.where(valid, x, 0).astype(np.float64)), 0)
    sums = powers.sum(axis=1, keepdims=True)
    expected = powers / np.where(sums == 0, 1, sums)
    x = np.where(valid, x, np.nan).astype(dtype)
    tolerance = 200 * float(np.finfo(dtype).eps)  # exp of numbers up to 50, which are rounded
    return Problem(lambda: [_data(layer(x, mask=valid))], [expected], [tolerance])


@load
def gather(random: Random) -> Problem:
    """The embedding look-up."""
    batch, time, width = _sizes(random, 40, 40, 30)
    vocabulary = int(random.integers(1, 60))
    layer = fm.layers.Embedding(vocabulary, width + 1, mask_zero=flag(random))
    layer.build((None, None))
    table = random.standard_normal((vocabulary, width + 1)).astype(np.float32)
    layer.set_weights([table])
    ids = random.integers(0, vocabulary, (batch, time)).astype(pick(random, DTYPES))
    return exact(lambda: [_data(layer(ids))], [table[ids.astype(int)]])


def _data(value: Any) -> Any:
    return value.data if isinstance(value, fm.Masked) else value
