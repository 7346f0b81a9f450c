"""`Ragged`: its arguments, its rows, and conversion to padded batches and back."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest

import fastmask as fm

EACH_DTYPE = ("float32", "float64", "int32", "bool", "complex128", "U3", "S2", "object", "M8[s]")


def test_values_are_the_callers_memory_and_offsets_are_not() -> None:
    values, offsets = np.arange(12.0).reshape(6, 2), np.array([1, 3, 3, 6])
    ragged = fm.Ragged(values, offsets)
    offsets[:] = 0
    assert np.shares_memory(ragged.values, values)
    assert ragged.values.tolist() == values[1:].tolist()
    assert ragged.offsets.tolist() == [0, 2, 2, 5]
    assert ragged.offsets.dtype == np.int64
    assert ragged.lengths.tolist() == [2, 0, 3]
    assert (len(ragged), ragged.shape, ragged.ndim) == (3, (3, None, 2), 3)
    with pytest.raises(ValueError, match="read-only"):
        ragged.offsets[0] = 1
    with pytest.raises(AttributeError):
        ragged.values = values


def test_rows_and_slices_are_views() -> None:
    values = np.arange(7)
    ragged = fm.Ragged(values, [0, 2, 2, 6, 7], valid=[1, 0, 1, 1, 1, 1, 1])
    assert [row.tolist() for row in ragged] == [[0, 1], [], [2, 3, 4, 5], [6]]
    assert ragged[-1].tolist() == [6]
    part = ragged[1:3]
    assert (part.offsets.tolist(), part.valid) == ([0, 0, 4], None)
    assert np.shares_memory(part.values, values)
    assert ragged[:1].valid is not None
    assert ragged[3:1].offsets.tolist() == [0]
    with pytest.raises(IndexError):
        ragged[4]
    with pytest.raises(ValueError, match="neighbors"):
        ragged[::2]


@pytest.mark.parametrize("dtype", EACH_DTYPE)
@pytest.mark.parametrize("padding", ["pre", "post"])
def test_to_masked_and_back(dtype: str, padding: str) -> None:
    values = np.arange(1, 13).astype(dtype).reshape(6, 2)
    ragged = fm.Ragged(values, [0, 2, 2, 5, 6])
    masked = ragged.to_masked(padding)
    assert masked.shape == (4, 3, 2)
    for b, row in enumerate(ragged):
        assert masked.data[b][masked.mask.valid[b]].tolist() == row.tolist()
    assert masked.mask.lengths.tolist() == [2, 0, 3, 1]
    assert masked.mask.valid[3].tolist() == [padding == "post", False, padding == "pre"]
    again = masked.to_ragged()
    assert again.values.tolist() == values.tolist()
    assert again.offsets.tolist() == ragged.offsets.tolist()


def test_what_is_padded_has_the_value_and_the_steps_that_were_asked_for() -> None:
    masked = fm.Ragged([1, 2, 3], [0, 1, 3]).to_masked(maxlen=4, value=-1)
    assert masked.data.tolist() == [[1, -1, -1, -1], [2, 3, -1, -1]]
    with pytest.raises(ValueError, match="more than maxlen=1"):
        fm.Ragged([1, 2, 3], [0, 1, 3]).to_masked(maxlen=1)


def test_holes_come_out_in_the_mask_and_go_with_the_valid_steps() -> None:
    ragged = fm.Ragged([1, 2, 3, 4], [0, 3, 4], valid=[True, False, True, True])
    masked = ragged.to_masked()
    assert masked.data.tolist() == [[1, 2, 3], [4, 0, 0]]
    assert masked.mask.valid.tolist() == [[True, False, True], [True, False, False]]
    assert masked.to_ragged().values.tolist() == [1, 3, 4]
    assert fm.Ragged([1, 2], [0, 2], valid=[1, 1]).valid is None


@pytest.mark.parametrize("offsets", [[0], [0, 0], [0, 0, 0]])
def test_without_steps(offsets: list[int]) -> None:
    ragged = fm.Ragged(np.zeros((0, 3), np.float32), offsets)
    masked = ragged.to_masked()
    assert masked.shape == (len(offsets) - 1, 0, 3)
    assert masked.to_ragged().offsets.tolist() == offsets


def test_pickles() -> None:
    ragged = fm.Ragged([1.5, 2.5], [0, 2], valid=[0, 1])
    again = pickle.loads(pickle.dumps(ragged))  # noqa: S301 - written here
    assert again.values.tolist() == [1.5, 2.5]
    assert again.offsets.tolist() == [0, 2]
    assert again.valid.tolist() == [False, True]


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (([1, 2], [0, 3]), ValueError, "from 0 to 2, the number of values, but one is 3"),
        (([1, 2], [-1, 2]), ValueError, "but one is -1"),
        (([1, 2], [0, 2, 1]), ValueError, r"offsets\[1\] is 2 and offsets\[2\] 1"),
        (([1, 2], [[0, 2]]), ValueError, r"shape \(batch \+ 1,\), not \(1, 2\)"),
        (([1, 2], []), ValueError, r"shape \(batch \+ 1,\), not \(0,\)"),
        (([1, 2], [0, 0.5]), ValueError, "offsets must hold integers, but one is 0.5"),
        (([1, 2], ["a"]), TypeError, "offsets must hold integers"),
        ((3, [0, 1]), ValueError, r"values must have shape \(steps, ...\), not be 3"),
        (([[1], [2, 3]], [0, 1]), ValueError, "values must be an array"),
        (([1, 2], [0, 2], [1]), ValueError, r"valid must have shape \(2,\)"),
        (([1, 2], [0, 2], [1, 0.5]), ValueError, "mask must hold True or 1"),
    ],
)
def test_bad_arguments_are_named(arguments: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        fm.Ragged(*arguments)


def test_it_is_no_array() -> None:
    ragged: Any = fm.Ragged([1, 2], [0, 2])
    for lose in (np.asarray, np.exp, lambda x: x + 1, lambda x: x == x, bool):
        with pytest.raises(TypeError, match="lose the rows of a Ragged"):
            lose(ragged)
    with pytest.raises(AttributeError, match=r"the array is \.values"):
        ragged.mean()
    with pytest.raises(TypeError, match="not a Ragged"):
        fm.Ragged(ragged, [0, 2])


def test_a_mask_with_more_axes_has_no_ragged_form() -> None:
    words = fm.Masked(np.zeros((1, 2, 3)), np.ones((1, 2, 3)))
    with pytest.raises(ValueError, match=r"mask \(batch, time\), not \(1, 2, 3\)"):
        words.to_ragged()


def test_flags_of_words_in_steps() -> None:
    random = np.random.default_rng(11)
    values, flags = random.normal(size=(5, 3, 2)), random.random((5, 3)) < 0.5
    ragged = fm.Ragged(values, [1, 3, 3, 5], flags)
    again = pickle.loads(pickle.dumps(ragged))  # noqa: S301 - written here
    for one in (ragged, again, copy.deepcopy(ragged)):
        assert one.valid.tolist() == flags[1:].tolist()
        mask = one.to_masked().mask.valid
        assert mask.tolist() == [flags[1:3].tolist(), [[False] * 3] * 2, flags[3:].tolist()]
    for bad in (flags[:4], flags[:, :2], np.ones((5, 2))):
        with pytest.raises(ValueError, match=r"valid must have shape \(5,\)"):
            fm.Ragged(values, [0, 5], bad)
