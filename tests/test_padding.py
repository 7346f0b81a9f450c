"""`pad_sequences` against Keras: forms of rows, dtypes, and values that must not change."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from collections import deque
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import fastmask as fm
from fastmask.masks import joining

from .rows import arrays, numbers, one_by_one

seeds = st.integers(0, 2**32 - 1)
ends = st.sampled_from(("pre", "post"))


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, [[0, 0, 1], [0, 2, 3], [4, 5, 6]]),
        ({"value": -1}, [[-1, -1, 1], [-1, 2, 3], [4, 5, 6]]),
        ({"padding": "post"}, [[1, 0, 0], [2, 3, 0], [4, 5, 6]]),
        ({"maxlen": 2}, [[0, 1], [2, 3], [5, 6]]),
        ({"maxlen": 2, "truncating": "post"}, [[0, 1], [2, 3], [4, 5]]),
        ({"maxlen": 4, "value": 9}, [[9, 9, 9, 1], [9, 9, 2, 3], [9, 4, 5, 6]]),
    ],
)
@pytest.mark.parametrize("form", [list, tuple, np.array, deque])
def test_examples_of_keras(
    form: Callable[..., Any], options: dict[str, Any], expected: list[list[int]]
) -> None:
    padded = fm.pad_sequences([form(row) for row in ([1], [2, 3], [4, 5, 6])], **options)
    assert padded.tolist() == expected
    assert padded.dtype == np.int32
    assert padded.flags.c_contiguous
    assert padded.flags.writeable


def test_example_of_the_guide() -> None:
    raw = [[711, 632, 71], [73, 8, 3215, 55, 927], [83, 91, 1, 645, 1253, 927]]
    assert fm.pad_sequences(raw, padding="post").tolist() == [
        [711, 632, 71, 0, 0, 0],
        [73, 8, 3215, 55, 927, 0],
        [83, 91, 1, 645, 1253, 927],
    ]


FORMS: dict[str, Callable[[NDArray[Any]], Any]] = {
    "array": lambda row: row,
    "list": lambda row: row.tolist(),
    "tuple": lambda row: tuple(row.tolist()),
    "wider": lambda row: row.astype({"i": "i8", "u": "u8", "f": "f8"}[row.dtype.kind]),
    "swapped": lambda row: row.astype(row.dtype.newbyteorder()),
    "strided": lambda row: np.repeat(row, 2, axis=0)[::2],
    "wide_strided": lambda row: np.repeat(row, 2, axis=0)[::2].astype(
        "f8" if row.dtype.kind == "f" else "i8"
    ),
    "scalars": lambda row: list(row),
    "deque": lambda row: deque(row.tolist()),
}


@given(
    st.sampled_from(("i1", "i2", "i4", "i8", "u1", "u4", "u8", "f2", "f4", "f8")),
    st.lists(st.sampled_from(tuple(FORMS)), min_size=1, max_size=2),
    st.integers(1, 6),
    st.sampled_from((None, 0, 1, 3, 12)),
    st.sampled_from(((), (1,), (3,), (2, 2))),
    ends,
    ends,
    st.sampled_from((0, 0.0, 7)),
    seeds,
)
@settings(max_examples=300, deadline=None)
def test_any_form_of_rows(
    dtype: str,
    forms: list[str],
    batch: int,
    maxlen: int | None,
    step: tuple[int, ...],
    padding: str,
    truncating: str,
    value: float,
    seed: int,
) -> None:
    rng = np.random.default_rng(seed)
    rows = arrays(rng, batch, 6, dtype, step)
    if not any(map(len, rows)):
        rows[0] = numbers(rng, (1, *step), dtype)  # lists need a step to show its shape
    given_rows = [FORMS[forms[b % len(forms)]](row) for b, row in enumerate(rows)]
    actual = fm.pad_sequences(given_rows, maxlen, dtype, padding, truncating, value)
    np.testing.assert_array_equal(actual, one_by_one(rows, maxlen, padding, truncating, value))
    assert actual.dtype == dtype
    assert actual.flags.c_contiguous
    assert actual.flags.writeable


@pytest.mark.parametrize("padding", ["pre", "post"])
@pytest.mark.parametrize("value", [0, -1])
def test_narrowing_in_many_blocks(
    monkeypatch: pytest.MonkeyPatch, padding: str, value: int
) -> None:
    monkeypatch.setattr(joining, "_BLOCK_BYTES", 1)
    rows = arrays(np.random.default_rng(0), 9, 5, "i8")
    expected = one_by_one([row.astype("i2") for row in rows], None, padding, "pre", value)
    np.testing.assert_array_equal(
        fm.pad_sequences(rows, None, "i2", padding, "pre", value), expected
    )
    rows[7] = np.array([1, 40_000])
    with pytest.raises(ValueError, match=r"sequences\[7\] holds 40000, but dtype int16"):
        fm.pad_sequences(rows, None, "i2", padding, "pre", value)


def test_generators_and_arrays_of_rows() -> None:
    expected = [[0, 0, 0], [0, 0, 1], [0, 2, 2]]
    assert fm.pad_sequences(([b] * b for b in range(3)), maxlen=3).tolist() == expected
    square = np.arange(4).reshape(2, 2)
    assert fm.pad_sequences(square).tolist() == [[0, 1], [2, 3]]
    assert fm.pad_sequences(memoryview(square)).tolist() == [[0, 1], [2, 3]]
    ragged = np.empty(2, object)
    ragged[:] = [[1], [2, 3]]
    assert fm.pad_sequences(ragged).tolist() == [[0, 1], [2, 3]]
    assert fm.pad_sequences([range(2), bytearray(b"a")]).tolist() == [[0, 1], [0, 97]]


@pytest.mark.parametrize(
    ("sequences", "maxlen", "shape"),
    [
        ([], None, (0, 0)),
        ([], 4, (0, 4)),
        ([[], []], None, (2, 0)),
        ([[], []], 3, (2, 3)),
        ([[1, 2], [3]], 0, (2, 0)),
        ([np.zeros((0, 12)), np.zeros((0, 12))], 3, (2, 3, 12)),
        ([np.zeros((2, 0))], None, (1, 2, 0)),
        ([[[1.0, 2.0]], []], None, (2, 1, 2)),
    ],
)
def test_empty(sequences: list[Any], maxlen: int | None, shape: tuple[int, ...]) -> None:
    padded = fm.pad_sequences(sequences, maxlen, "float32", value=7)
    assert padded.shape == shape
    assert padded.dtype == np.float32
    kept = [[1.0, 2.0], [7.0, 7.0]] if shape == (2, 1, 2) else []
    assert (padded == 7).all() or padded.reshape(-1, 2).tolist() == kept


def test_empty_rows_have_no_say() -> None:
    """np.array([]) is float64, but has no values that could be lost."""
    assert fm.pad_sequences([np.array([]), np.array([5])]).tolist() == [[0], [5]]
    assert fm.pad_sequences([[], np.array([5], np.int32)]).tolist() == [[0], [5]]


def test_values_cut_away_need_not_fit() -> None:
    assert fm.pad_sequences([[1.5, 2], [3]], maxlen=1).tolist() == [[2], [3]]
    assert fm.pad_sequences([np.array([300, 2])], maxlen=1, dtype="int8").tolist() == [[2]]
    assert fm.pad_sequences([[1.5]], maxlen=0).shape == (1, 0)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of NumPy before it became an error
def test_arrays_of_one_number_are_not_numbers() -> None:
    with pytest.raises(ValueError, match=r"sequences\[1\] has steps of shape \(1,\)"):
        fm.pad_sequences([[1.0], [np.array([2.5])]], dtype="float32")


def test_read_only_rows_are_copied() -> None:
    row = np.arange(3, dtype=np.int32)
    row.flags.writeable = False
    padded = fm.pad_sequences([row])
    padded[:] = 9
    assert row.tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("sequences", "dtype", "value", "expected"),
    [
        ([["a", "bc"], ["d"]], object, "PAD", [["a", "bc"], ["PAD", "d"]]),
        ([["a", "bc"], ["d"]], str, "", [["a", "bc"], ["", "d"]]),
        ([["a"], []], "U3", "PAD", [["a"], ["PAD"]]),
        ([[b"ab"], []], "S", b"xyz", [[b"ab"], [b"xyz"]]),
        ([[True, False], [True]], bool, 0.0, [[True, False], [False, True]]),
        ([[1, 0], [1]], bool, False, [[True, False], [False, True]]),
        ([[True], [2]], "int32", True, [[1], [2]]),
        ([[1j], [2]], "complex64", 0, [[1j], [2 + 0j]]),
        ([[2**63], []], "uint64", 2**64 - 1, [[2**63], [2**64 - 1]]),
        ([[10**30], []], "float64", 10**20, [[1e30], [1e20]]),
        ([[1, 2.5], [np.inf]], "float32", -np.inf, [[1.0, 2.5], [-np.inf, np.inf]]),
        ([np.array([3, 4], object), [5]], "int32", 0.0, [[3, 4], [0, 5]]),
        ([[np.array([1.5])], [np.array([2.5])]], "float32", 0, [[[1.5]], [[2.5]]]),
        ([[1, 2], [3]], ">i4", 0, [[1, 2], [0, 3]]),
        ([np.array([1], "u8"), np.array([7, 2], "u8")], "int32", -1, [[-1, 1], [7, 2]]),
        (
            [np.array([1], "M8[D]")],
            "M8[s]",
            np.datetime64("NaT", "s"),
            [[np.datetime64(86400, "s")]],
        ),
    ],
)
def test_other_dtypes(sequences: Any, dtype: Any, value: Any, expected: Any) -> None:
    padded = fm.pad_sequences(sequences, dtype=dtype, value=value)
    if padded.dtype.kind == "M":
        expected = np.array(expected).tolist()
    assert padded.tolist() == expected
    assert padded.dtype.kind == np.dtype(dtype).kind


def test_rounding_to_a_float_is_no_loss() -> None:
    assert fm.pad_sequences([[0.1]], dtype="float32")[0, 0] == np.float32(0.1)
    assert fm.pad_sequences([np.array([2**24 + 1])], dtype="float32")[0, 0] == 2**24
    assert fm.pad_sequences([[1]], maxlen=2, dtype="float32", value=0.1)[0, 0] == np.float32(0.1)


@pytest.mark.parametrize(
    ("sequences", "dtype", "words"),
    [
        ([[1], [1.5]], "int32", r"sequences\[1\] holds 1.5 of type float, which dtype int32"),
        ([[1.0]], "int32", r"sequences\[0\] holds 1.0 of type float"),
        ([np.array([1.0])], "int32", r"sequences\[0\] has dtype float64.*pass dtype='float64'"),
        ([[1], np.array([1.0])], "int32", r"sequences\[1\] has dtype float64"),
        ([[np.nan]], "int64", r"sequences\[0\] holds nan"),
        ([[300]], "int8", r"sequences\[0\] holds 300, but dtype int8 holds only -128 to 127"),
        ([[1], [-1]], "uint8", r"sequences\[1\] holds -1, but dtype uint8 holds only 0 to 255"),
        ([[2**31]], "int32", r"sequences\[0\] holds 2147483648"),
        ([[2**70]], "int64", r"sequences\[0\] holds 1180591620717411303424"),
        ([[2**63, -1]], "int64", r"sequences\[0\] holds 9223372036854775808"),
        ([np.array([1]), np.array([5, 2**31])], "int32", r"sequences\[1\] holds 2147483648"),
        ([np.array([5, -(2**31) - 1])], "int32", r"sequences\[0\] holds -2147483649"),
        ([np.array([1], "i4"), np.array([2**31])], "int32", r"sequences\[1\] holds 2147483648"),
        ([np.array([2**63], "u8")], "int64", r"sequences\[0\] holds 9223372036854775808"),
        ([[2]], bool, r"sequences\[0\] holds 2, but dtype bool holds only 0 to 1"),
        ([[0.5]], bool, r"sequences\[0\] holds 0.5"),
        ([[1e300]], "float32", r"sequences\[0\] holds numbers too large for dtype float32"),
        ([np.ones(1), np.array([1e300])], "float32", r"sequences\[1\] holds numbers too large"),
        ([np.array([70_000])], "float16", r"sequences\[0\] holds numbers too large"),
        ([[10**400]], "float64", r"sequences\[0\] holds numbers too large for dtype float64"),
        ([[1j]], "float32", r"sequences\[0\] has dtype complex128"),
        ([["a"]], "int32", r"sequences\[0\] has dtype <U1, which dtype int32"),
        ([["abc"]], "U2", r"sequences\[0\] has dtype <U3, which dtype <U2"),
        ([[None]], "float32", r"sequences\[0\] holds None of type NoneType"),
        ([np.array([1, None])], "int32", r"sequences\[0\] holds None of type NoneType"),
    ],
)
def test_no_cast_loses_values(sequences: list[Any], dtype: Any, words: str) -> None:
    value = "" if dtype == "U2" else 0
    with pytest.raises(ValueError, match=words):
        fm.pad_sequences(sequences, dtype=dtype, value=value)


@pytest.mark.parametrize(
    ("value", "dtype"),
    [
        *((value, "int32") for value in (0.5, np.nan, np.inf, 2**31, "x", None, [1, 2], 1j)),
        *((value, "uint8") for value in (-1, 256, 10**400)),
        *((value, "float32") for value in (1e300, 10**400, 1j, "x", None, [0.0])),
        *((2, bool), (0.5, bool), (0.0, str), (None, str)),
    ],
)
@pytest.mark.parametrize("form", [list, np.array])
def test_no_value_is_bent(form: Callable[..., Any], value: Any, dtype: Any) -> None:
    row = form(["a"]) if dtype is str else form([1])
    with pytest.raises(ValueError, match=r"value must be one that dtype .* can hold, not"):
        fm.pad_sequences([row], dtype=dtype, value=value)


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"padding": "mid"}, ValueError, "padding must be one of 'pre', 'post', not 'mid'"),
        ({"padding": None}, ValueError, "padding must be one of"),
        ({"truncating": "PRE"}, ValueError, "truncating must be one of .*not 'PRE'"),
        ({"sequences": [], "truncating": 1}, ValueError, "truncating must be one of .*not 1"),
        ({"maxlen": -1}, ValueError, "maxlen must be at least 0, not -1"),
        ({"maxlen": 2.0}, TypeError, "maxlen must be an integer, not 2.0"),
        ({"maxlen": "2"}, TypeError, "maxlen must be an integer, not '2'"),
        ({"maxlen": True}, TypeError, "maxlen must be an integer, not True"),
        ({"dtype": "int33"}, TypeError, "dtype must be a NumPy dtype or its name, not 'int33'"),
        ({"sequences": 5}, ValueError, "sequences must be a list of sequences, not 5"),
        ({"sequences": None}, ValueError, "sequences must be a list of sequences, not None"),
        ({"sequences": "abc"}, ValueError, "sequences must be a list of sequences, not 'abc'"),
        ({"sequences": {1: [2]}}, ValueError, "sequences must be a list of sequences, not {1"),
        ({"sequences": [1, 2]}, ValueError, r"sequences\[0\] must be a sequence of steps"),
        ({"sequences": [[1], None]}, ValueError, r"sequences\[1\] must be .* not None"),
        ({"sequences": ["ab"]}, ValueError, r"sequences\[0\] must be a sequence of steps"),
        ({"sequences": [[1], {2, 3}]}, ValueError, r"sequences\[1\] must be a sequence of steps"),
        ({"sequences": [np.array(3)]}, ValueError, r"sequences\[0\] must be a sequence of steps"),
        ({"sequences": [np.ma.array([1])]}, TypeError, r"sequences\[0\] is a numpy.ma array"),
        (
            {"sequences": [[[1, 2]], [], [[3, 4, 5]]]},
            ValueError,
            r"sequences\[2\] has steps of shape \(3,\), but sequences\[0\] of shape \(2,\)",
        ),
        (
            {"sequences": [np.ones((2, 3)), np.ones(2)], "dtype": "float32"},
            ValueError,
            r"sequences\[1\] has steps of shape \(\), but sequences\[0\] of shape \(3,\)",
        ),
        (
            {"sequences": [[[1, 2], [3]]]},
            ValueError,
            r"sequences\[0\] must have steps of one shape, not \[\[1, 2\], \[3\]\]",
        ),
    ],
)
def test_wrong_arguments(arguments: dict[str, Any], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        fm.pad_sequences(**{"sequences": [[1], [2, 3]], **arguments})


def test_numba_is_not_needed() -> None:
    code = (
        "import sys, numpy, fastmask; fastmask.pad_sequences([[1], [2, 3]]); "
        "fastmask.pad_sequences([numpy.arange(3)]); assert 'numba' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=250)


@pytest.fixture(scope="module")
def keras_pad_sequences() -> Callable[..., NDArray[Any]]:
    if "KERAS_BACKEND" not in os.environ and find_spec("torch"):
        os.environ["KERAS_BACKEND"] = "torch"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        keras = pytest.importorskip("keras", reason="compares with Keras")
    return keras.utils.pad_sequences  # type: ignore[no-any-return]  # keras has no types


@pytest.mark.optional
def test_equals_keras(keras_pad_sequences: Callable[..., NDArray[Any]]) -> None:
    rng = np.random.default_rng(1)
    for _ in range(500):
        dtype = rng.choice(["int32", "int64", "uint8", "float32", "float64", "int8"])
        step = ((), (1,), (3,), (2, 2))[rng.integers(4)]
        rows: list[Any] = arrays(rng, int(rng.integers(1, 7)), 6, dtype, step)
        if rng.random() < 0.5:
            rows = [row.tolist() for row in rows]
        options = {
            "maxlen": None if rng.random() < 0.3 else int(rng.integers(1, 9)),
            "dtype": dtype,
            "padding": rng.choice(["pre", "post"]),
            "truncating": rng.choice(["pre", "post"]),
            "value": int(rng.integers(0, 3)),
        }
        if not any(map(len, rows)):
            continue  # Keras then loses the shape of the steps
        options = {k: str(v) if isinstance(v, np.str_) else v for k, v in options.items()}
        expected = keras_pad_sequences(rows, **options)
        actual = fm.pad_sequences(rows, **options)
        np.testing.assert_array_equal(actual, expected)
        assert actual.dtype == expected.dtype
