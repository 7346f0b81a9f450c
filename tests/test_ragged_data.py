"""`fm.ragged`: rows from every library without copying their values, and back."""

from __future__ import annotations

import gc
import importlib
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

import fastmask as fm

ROWS = [[1, 2], [], [3, 4, 5], [6]]
PAIRS = [[[1, 2], [3, 4]], [], [[5, 6]]]
WORDS = [["a", "été"], [], ["a word that is longer than its view"]]


def address(array: np.ndarray[Any, Any]) -> int:
    return int(array.__array_interface__["data"][0])


def refused(x: Any, words: str, kind: type[Exception] = ValueError) -> None:
    with pytest.raises(kind) as caught:
        fm.ragged(x)
    assert words in str(caught.value)


class TestLists:
    def test_of_python(self) -> None:
        for rows in (ROWS, tuple(map(tuple, ROWS)), (row for row in ROWS), [*map(np.array, ROWS)]):
            x = fm.ragged(rows)
            assert x.to_list() == ROWS
            assert x.offsets.tolist() == [0, 2, 2, 5, 6]
        assert fm.ragged(ROWS).dtype == np.int64
        assert fm.ragged(PAIRS).shape == (3, None, 2)
        assert fm.ragged(WORDS).to_list() == WORDS
        assert fm.ragged([[1], [2.5]]).dtype == np.float64

    def test_of_arrays(self) -> None:
        x = fm.ragged([np.ones((2, 3), np.float32), np.zeros((0, 3), np.float32)])
        assert (x.shape, x.dtype) == ((2, None, 3), np.float32)
        mixed = fm.ragged([np.float32([1, 2]), [3], np.array([], np.int8)])
        assert mixed.to_list() == [[1, 2], [3], []]
        of_objects = np.empty(3, object)
        of_objects[:] = [np.array(row, object) for row in WORDS]
        assert fm.ragged(of_objects).to_list() == WORDS

    def test_no_steps(self) -> None:
        assert fm.ragged([]).offsets.tolist() == [0]
        assert fm.ragged([[], []]).to_list() == [[], []]
        assert fm.ragged([np.zeros((0, 3), np.float64)]).values.shape == (0, 3)

    def test_a_padded_array_is_not_copied(self) -> None:
        array = np.arange(12.0).reshape(2, 3, 2)
        for given in (array, memoryview(array)):
            x = fm.ragged(given)
            assert address(x.values) == address(array)
            np.testing.assert_array_equal(list(x), array)

    def test_batches(self) -> None:
        x = fm.ragged(fm.Masked([[7, 8, 0], [5, 0, 6]], [[1, 1, 0], [1, 0, 1]]))
        assert x.to_list() == [[7, 8], [5, 6]]
        assert fm.ragged(x) is x
        assert fm.Ragged([1, 2, 3], [0, 2, 3], valid=[1, 0, 1]).to_list() == [[1], [3]]

    def test_mistakes(self) -> None:
        refused([[1, None], [2]], "x[0] has a null at step 1")
        refused([[[1, 2], [3, None]]], "x[0] has a null at step 1")
        refused([["a"], ["b", None]], "x[1] has a null at step 1")
        refused([[1], None], "x[1] is null")
        refused([[1], float("nan")], "x[1] is null")
        refused([[1], 5], "x[1] must be a list of steps, not 5")
        refused(["ab"], "x[0] must be a list of steps, not 'ab'")
        refused([[[1, 2], [3, 4]], [[5]]], "x[1] has steps of shape (1,), but x[0] of shape (2,)")
        refused([np.ones((1, 2)), np.ones((1, 3))], "x[1] has steps of shape (3,)")
        refused([["a", 1]], "x[0] must hold numbers or texts", TypeError)
        refused([[1], ["a"]], "numbers or texts, not both", TypeError)
        refused([[{}]], "x[0] must hold numbers or texts, not [{}]", TypeError)
        refused(np.ones(3), "x must have shape (batch, time, ...), not (3,)")
        refused(np.ma.array([[1, 2]], mask=[[0, 1]]), "numpy.ma", TypeError)
        for other in ("abc", 5, {"a": [1]}, None):
            refused(other, "x must be rows of steps, such as a list of lists", TypeError)


@pytest.mark.optional
class TestArrow:
    def test_types(self) -> None:
        pa = pytest.importorskip("pyarrow")
        kinds = (pa.list_, pa.large_list, pa.list_view, pa.large_list_view)
        values = (*(pa.int8(), pa.uint16(), pa.int32(), pa.int64()), pa.float16(), pa.float32())
        for kind in kinds:
            for value in values:
                whole = pa.array(ROWS, kind(value))
                for start, stop in ((0, 4), (1, 4), (2, 3), (3, 3), (1, 2)):
                    x = fm.ragged(whole[start:stop])
                    assert x.to_list() == ROWS[start:stop]
                    assert x.dtype == value.to_pandas_dtype()
                chunked = pa.chunked_array([whole[1:], whole[:0], whole[:2]])
                assert fm.ragged(chunked).to_list() == ROWS[1:] + ROWS[:2]
            flags = [[True, False], [], [False] * 9]
            assert fm.ragged(pa.array(flags, kind(pa.bool_()))[1:]).to_list() == flags[1:]
        fixed = pa.array([[1, 2], [3, 4], [5, 6]], pa.list_(pa.int64(), 2))
        assert fm.ragged(fixed[1:]).to_list() == [[3, 4], [5, 6]]
        assert fm.ragged(pa.chunked_array([], pa.list_(pa.int16()))).dtype == np.int16
        assert len(fm.ragged(pa.array([]))) == 0
        assert fm.ragged(pa.array([[], []])).to_list() == [[], []]

    def test_nested(self) -> None:
        pa = pytest.importorskip("pyarrow")
        for inner in (pa.list_(pa.int64()), pa.list_(pa.int64(), 2), pa.large_list(pa.int64())):
            whole = pa.array(PAIRS, pa.list_(inner))
            assert fm.ragged(whole).to_list() == PAIRS
            assert fm.ragged(whole[2:]).to_list() == PAIRS[2:]
            assert fm.ragged(whole[1:2]).to_list() == [[]]
        deep = [[[[1, 2], [3, 4]]], [[[5, 6], [7, 8]]]]
        assert fm.ragged(pa.array(deep)).shape == (2, None, 2, 2)

    def test_texts(self) -> None:
        pa = pytest.importorskip("pyarrow")
        for kind in (pa.string(), pa.large_string(), pa.string_view()):
            whole = pa.array(WORDS, pa.list_(kind))
            assert fm.ragged(whole).to_list() == WORDS
            assert fm.ragged(whole[1:]).to_list() == WORDS[1:]
        words = pa.DictionaryArray.from_arrays(pa.array([1, 0, 1], pa.int8()), pa.array(["a", "b"]))
        coded = pa.ListArray.from_arrays([0, 2, 2, 3], words)
        assert fm.ragged(coded).to_list() == [["b", "a"], [], ["b"]]
        assert fm.ragged(coded[2:]).to_list() == [["b"]]

    def test_list_views_in_any_order(self) -> None:
        pa = pytest.importorskip("pyarrow")
        values = pa.array([10, 11, 12, 13, 14])
        views = pa.ListViewArray.from_arrays([3, 0, 0, 1], [2, 0, 2, 2], values)
        expected = [[13, 14], [], [10, 11], [11, 12]]
        assert fm.ragged(views).to_list() == expected
        assert fm.ragged(views[2:]).to_list() == expected[2:]
        pairs = pa.array([[1, 2], [3, 4], [5, 6]])
        views = pa.ListViewArray.from_arrays([2, 0], [1, 2], pairs)
        assert fm.ragged(views).to_list() == [[[5, 6]], [[1, 2], [3, 4]]]

    def test_numbers_are_not_copied(self) -> None:
        pa = pytest.importorskip("pyarrow")
        for kind in (pa.list_, pa.large_list, pa.list_view):
            whole = pa.array(ROWS, kind(pa.float32()))
            start = whole.values.buffers()[1].address
            assert address(fm.ragged(whole).values) == start
            assert address(fm.ragged(whole[2:]).values) == start + 8
            assert address(fm.ragged(pa.chunked_array([whole])).values) == start
        fixed = pa.array(PAIRS, pa.list_(pa.list_(pa.int16(), 2)))
        assert address(fm.ragged(fixed).values) == fixed.values.values.buffers()[1].address

    def test_memory_lives_as_long_as_the_rows(self) -> None:
        pa = pytest.importorskip("pyarrow")
        before = pa.total_allocated_bytes()
        for column in (pa.array([[7.0] * 50_000]), pa.chunked_array([[[7.0] * 50_000]])):
            kept = [fm.ragged(column).values]
            del column
            gc.collect()
            assert pa.total_allocated_bytes() >= before + 400_000
            assert kept[0].min() == kept[0].max() == 7.0
            assert not kept[0].flags.writeable
            kept.clear()
        gc.collect()
        assert pa.total_allocated_bytes() < before + 400_000

    def test_nulls_and_misfits(self) -> None:
        pa = pytest.importorskip("pyarrow")
        rows = pa.array([[1], [2, 3], [], None, [4, None]])
        refused(rows, "x[3] is null")
        refused(rows[2:], "x[1] is null")
        refused(rows[4:], "x[0] has a null at step 1")
        assert fm.ragged(rows[:3]).to_list() == [[1], [2, 3], []]
        refused(pa.chunked_array([rows[:3], rows[4:]]), "x[3] has a null at step 1")
        refused(pa.array([[[1, 2]], [], [[3, 4], [5, None]]]), "x[2] has a null at step 1")
        refused(pa.array([[[1, 2]], [None]]), "x[1] has a null at step 0")
        refused(pa.array([[[1, 2]], [], [[3]]]), "x[2] has 1 values, where the first has 2")
        refused(pa.chunked_array([[[[1, 2]]], [[[3]]]]), "x[1] has steps of shape (1,)")
        refused(pa.array([[None]]), "x[0] has a null at step 0")
        words = pa.DictionaryArray.from_arrays(pa.array([0, None, 1]), pa.array(["a", None]))
        refused(pa.ListArray.from_arrays([0, 1, 3], words), "x[1] has a null at step 0")
        refused(pa.ListArray.from_arrays([0, 1, 2], words[::2]), "x[1] has a null at step 0")

    def test_other_types(self) -> None:
        pa = pytest.importorskip("pyarrow")
        for column, words in (
            (pa.array([1, 2]), "a list for each row, not single values"),
            (pa.table({"a": ROWS}), "one column of lists, not a table"),
            (pa.record_batch({"a": ROWS}), "one column of lists, not a table"),
            (pa.array([[b"a"]]), "not of bytes"),
            (pa.array([[{"a": 1}]]), "not of structs"),
            (pa.array([[1]], pa.list_(pa.timestamp("s"))), "not of times"),
            (pa.array([[1]], pa.list_(pa.decimal128(3))), "not of decimal numbers"),
        ):
            refused(column, words, TypeError)
        tensors = pa.FixedShapeTensorArray.from_numpy_ndarray(np.ones((3, 2, 2)))
        refused(tensors, "not an extension type", TypeError)

    def test_and_back(self) -> None:
        pa = pytest.importorskip("pyarrow")
        x = fm.ragged([np.arange(6.0).reshape(3, 2), np.zeros((0, 2)), np.ones((1, 2))])
        there = x.to_arrow()
        assert there.type == pa.large_list(pa.list_(pa.float64(), 2))
        assert there.to_pylist() == x.to_list()
        assert there.values.values.buffers()[1].address == address(x.values)
        assert there.buffers()[1].address == address(x.offsets)
        assert address(fm.ragged(there).values) == address(x.values)
        assert pa.array(x).equals(there)
        assert fm.ragged(WORDS).to_arrow().to_pylist() == WORDS
        holes = fm.Ragged([1, 2, 3], [0, 2, 3], valid=[1, 0, 1])
        assert holes.to_arrow().to_pylist() == [[1], [3]]

    def test_back_without_pyarrow(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "pyarrow", None)
        with pytest.raises(ModuleNotFoundError, match="pip install pyarrow"):
            fm.ragged(ROWS).to_arrow()


@pytest.mark.optional
class TestPolars:
    def test_series(self) -> None:
        pl = pytest.importorskip("polars")
        x = pl.Series(ROWS)
        assert fm.ragged(x).to_list() == ROWS
        assert fm.ragged(x[1:3]).to_list() == ROWS[1:3]
        assert fm.ragged(pl.concat([x, x], rechunk=False)).to_list() == ROWS * 2
        assert fm.ragged(pl.Series(PAIRS, dtype=pl.List(pl.Array(pl.Int8, 2)))).to_list() == PAIRS
        assert fm.ragged(pl.Series([[1, 2]], dtype=pl.Array(pl.Int8, 2))).to_list() == [[1, 2]]
        assert fm.ragged(pl.Series(WORDS)).to_list() == WORDS
        coded = pl.Series([["b", "a"], ["b"]], dtype=pl.List(pl.Categorical))
        assert fm.ragged(coded).to_list() == [["b", "a"], ["b"]]
        refused(pl.Series([[1], None]), "x[1] is null")
        refused(pl.DataFrame({"a": ROWS}), "one column of lists", TypeError)

    def test_numbers_are_not_copied(self) -> None:
        pl = pytest.importorskip("polars")
        numbers = np.arange(8, dtype=np.float32)
        column = pl.Series(numbers).reshape((4, 2)).arr.to_list()
        assert address(fm.ragged(column).values) == address(fm.ragged(column).values)
        x = fm.ragged(ROWS)
        assert address(fm.ragged(pl.Series(x)).values) == address(x.values)
        rows = fm.ragged(column[1:]).values
        del column
        gc.collect()
        assert rows.tolist() == numbers[2:].tolist()


@pytest.mark.optional
class TestPandas:
    def test_series(self) -> None:
        pd = pytest.importorskip("pandas")
        pa = pytest.importorskip("pyarrow")
        assert fm.ragged(pd.Series(ROWS, index=list("dcba"))).to_list() == ROWS
        assert fm.ragged(pd.Series([*map(np.float32, ROWS)])).dtype == np.float32
        column = pa.array(ROWS, pa.list_(pa.float32()))
        series = pd.Series(column, dtype=pd.ArrowDtype(column.type))
        assert fm.ragged(series).to_list() == ROWS
        assert address(fm.ragged(series).values) == column.values.buffers()[1].address
        refused(pd.Series([[1], None]), "x[1] is null")
        refused(pd.Series([pd.NA, [1]]), "x[0] is null")
        refused(pd.Series([1, 2]), "a pandas Series of lists, not of int64", TypeError)
        refused(pd.DataFrame({"a": ROWS}), "one column of lists", TypeError)


@pytest.mark.optional
class TestAwkward:
    def test_arrays(self) -> None:
        ak = pytest.importorskip("awkward")
        x = ak.Array(ROWS)
        assert fm.ragged(x).to_list() == ROWS
        assert fm.ragged(x[[2, 0]]).to_list() == [ROWS[2], ROWS[0]]
        assert fm.ragged(ak.Array(PAIRS)).to_list() == PAIRS
        assert fm.ragged(ak.Array(WORDS)).to_list() == WORDS
        assert fm.ragged(ak.Array(np.ones((2, 3, 2)))).shape == (2, None, 2)
        assert fm.ragged(ak.to_regular(ak.Array([[1, 2], [3, 4]]))).to_list() == [[1, 2], [3, 4]]
        assert len(fm.ragged(ak.Array([]))) == 0
        whole = ak.Array([[1, 2], None, [3, None]])
        assert fm.ragged(whole[:1]).to_list() == [[1, 2]]
        refused(whole, "x[1] is null")
        refused(whole[2:], "x[0] has a null at step 1")
        refused(ak.Array([[[1, 2]], [[3]]]), "x[1] has 1 values")
        refused(ak.Array([{"a": 1}]), "not Awkward's {a: int64}", TypeError)
        refused(ak.Array([1, 2]), "a list for each row", TypeError)

    def test_numbers_are_not_copied(self) -> None:
        ak = pytest.importorskip("awkward")
        numbers = np.arange(6.0)
        x = ak.unflatten(numbers, [2, 0, 3, 1])
        assert address(fm.ragged(x).values) == address(numbers)
        assert address(fm.ragged(x[2:]).values) == address(numbers) + 16


@pytest.mark.optional
class TestTorch:
    def test_nested_tensors(self) -> None:
        torch = pytest.importorskip("torch")
        rows = [torch.arange(6.0).reshape(3, 2), torch.zeros(0, 2), torch.ones(1, 2)]
        x = torch.nested.nested_tensor(rows, layout=torch.jagged, requires_grad=True)
        found = fm.ragged(x)
        assert found.to_list() == [row.tolist() for row in rows]
        assert address(found.values) == x.values().data_ptr()
        some = torch.nested.narrow(
            torch.arange(12.0).reshape(2, 6),
            *(1, torch.tensor([0, 1]), torch.tensor([2, 3])),
            layout=torch.jagged,
        )
        assert fm.ragged(some).to_list() == [[0, 1], [7, 8, 9]]
        refused(x.transpose(1, 2), "x must be ragged in axis 1, not in axis 2")
        assert fm.ragged(rows).to_list() == found.to_list()


@pytest.mark.optional
def test_nothing_is_imported() -> None:
    pytest.importorskip("polars")
    code = """
import sys, fastmask as fm, polars as pl
x = fm.ragged(pl.Series([[1, 2], []]))
assert x.to_list() == [[1, 2], []]
print([m for m in ("pyarrow", "pandas", "awkward", "torch", "numba") if m in sys.modules])
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=250
    )
    assert done.stdout.strip() == "[]", done.stderr


def test_a_library_that_cannot_give_its_rows() -> None:
    """A hand-made Arrow C stream: one that fails reports why."""
    interface = importlib.import_module("fastmask.data.c_interface")
    ctypes = importlib.import_module("ctypes")
    stream = interface._Stream()
    types = dict(interface._Stream._fields_)
    stream.get_schema = types["get_schema"](lambda _stream, _schema: 5)
    # Any C function that returns a text.
    said = ctypes.pythonapi.Py_GetVersion
    stream.get_last_error = ctypes.cast(said, types["get_last_error"])
    new = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p)
    capsule = new(("PyCapsule_New", ctypes.pythonapi))

    class Column:
        def __arrow_c_stream__(self) -> Any:
            return capsule(ctypes.addressof(stream), b"arrow_array_stream", None)

    refused(Column(), f"x cannot be read: {sys.version.split()[0]}")


def test_lists_of_large_integers_stay_integers() -> None:
    large = 2**63 + 1
    for rows in ([[large], [1]], [[1], [], [large, 7]], [[[1, large]], [[2, 3]]]):
        x = fm.ragged(rows)
        assert (x.dtype, x.to_list()) == (np.uint64, rows)
    assert fm.ragged([[np.uint64(large)], [1]]).to_list() == [[large], [1]]
    for mixed in ([[-1], [large]], [[large], [-1]]):
        with pytest.raises(TypeError, match="x must hold integers of one dtype"):
            fm.ragged(mixed)
    with pytest.raises(TypeError, match=r"x\[0\] must hold numbers or texts"):
        fm.ragged([[2**70], [1]])
    for floats in ([[large, 2.5]], [[2.5], [large]], [[1], [1e300]]):
        assert fm.ragged(floats).values.tolist() == [float(one) for row in floats for one in row]
