"""Padding with fillers and numbers of every kind, and what its dtype cannot hold."""

from __future__ import annotations

from decimal import Decimal

import numpy as np

import fastmask as fm

from .wrong_calls import Call, Wrong, assert_says, each_row

VECTORS = [[[1, 2, 3]], [[1, 2, 3], [4, 5, 6]]]
PADDING: list[Wrong] = [
    (
        "words without a filler",
        lambda: fm.pad([["a"], ["b", "c"]]),
        ValueError,
        ("value must be one that dtype <U1 can hold", "not 0", "such as ''"),
    ),
    (
        "a filler of another size",
        lambda: fm.pad_sequences(VECTORS, value=[7, 8]),
        ValueError,
        ("value must be one that dtype int32 can hold", "(3,)", "not [7, 8]"),
    ),
    (
        "a filler where steps are numbers",
        lambda: fm.pad_sequences([[1], [2, 3]], value=[7, 8]),
        ValueError,
        ("value must be one that dtype int32 can hold, not [7, 8]",),
    ),
    (
        "a fractional filler",
        lambda: fm.pad_sequences(VECTORS, value=[7, 8.5, 9]),
        ValueError,
        ("value must be", "int32", "[7, 8.5, 9]"),
    ),
    (
        "a fractional decimal",
        lambda: fm.pad_sequences([[1]], value=Decimal("1.5")),
        ValueError,
        ("value must be", "int32", "Decimal('1.5')"),
    ),
    (
        "decimals as integers",
        lambda: fm.pad_sequences([[Decimal("1.5")]]),
        ValueError,
        ("sequences[0]", "Decimal('1.5')", "int32", "pass dtype='float32'"),
    ),
    (
        "floats as integers",
        lambda: fm.pad_sequences([[1], [1.5]]),
        ValueError,
        ("sequences[1]", "1.5", "int32", "pass dtype='float32'"),
    ),
    (
        "a decimal too large",
        lambda: fm.pad_sequences([[Decimal("1e60")]], dtype="float32"),
        ValueError,
        ("sequences[0]", "1E+60", "too large for dtype float32"),
    ),
    (
        "decimals without a dtype",
        lambda: fm.pad([[Decimal(1)]]),
        TypeError,
        ("dtype must be given", "object", "dtype='float64'"),
    ),
    (
        "one sequence",
        lambda: fm.pad_sequences([1, 2]),
        ValueError,
        ("sequences[0] must be a sequence of steps", "1"),
    ),
    (
        "a side that is none",
        lambda: fm.pad_sequences([[1]], padding="left"),
        ValueError,
        ("padding must be one of 'pre', 'post', not 'left'",),
    ),
    (
        "unpad a list",
        lambda: fm.unpad([[1]]),
        TypeError,  # type: ignore[arg-type]  # on purpose
        ("masked must be a fastmask.Masked, not list",),
    ),
]


@each_row(PADDING)
def test_message(call: Call, kind: type[Exception], parts: tuple[str, ...]) -> None:
    assert_says(call, kind, parts)


def test_filler_for_each_feature() -> None:
    for dtype in ("int32", "int64", "float32", "int8"):
        rows = [np.array(row, dtype) for row in VECTORS]
        for sequences in (VECTORS, rows, [rows[0], VECTORS[1]]):
            padded = fm.pad_sequences(sequences, dtype=dtype, value=[7, 8, 9])
            assert padded.tolist() == [[[7, 8, 9], [1, 2, 3]], VECTORS[1]]
            assert padded.dtype == dtype
    wide = [np.array(row, np.int64) for row in VECTORS]
    padded = fm.pad_sequences(wide, maxlen=3, value=np.array([7.0, 8.0, 9.0]), padding="post")
    assert padded[1].tolist() == [*VECTORS[1], [7, 8, 9]]
    matrices = [np.ones((1, 2, 2)), np.ones((2, 2, 2))]
    padded = fm.pad_sequences(matrices, dtype="float64", value=[[1.5], [2.5]])
    assert padded[0, 0].tolist() == [[1.5, 1.5], [2.5, 2.5]]


def test_decimals_are_numbers() -> None:
    rows = [[Decimal("1.5")], [Decimal(2), Decimal("0.1")]]
    for dtype in ("float32", "float64"):
        expected = np.array([[7.25, 1.5], [2, 0.1]], dtype)
        np.testing.assert_array_equal(
            fm.pad_sequences(rows, dtype=dtype, value=Decimal("7.25")), expected
        )
    assert fm.pad_sequences([[1], [2, 3]], value=Decimal(7)).tolist() == [[7, 1], [2, 3]]
