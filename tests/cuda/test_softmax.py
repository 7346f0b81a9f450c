"""masked_softmax of the CUDA backend."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastmask_kernels import reference

from ..cases import MASK_KINDS, assert_close, make_mask
from .backend import backend


def softmax(kernels: Any, x: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """A backend's result, written to an output full of NaN."""
    out = np.full_like(x, np.nan)
    kernels.masked_softmax(out, x, valid)
    return out


@given(
    st.sampled_from(MASK_KINDS),
    st.tuples(st.integers(0, 4), st.integers(0, 20), st.sampled_from((0, 1, 2, 7, 8, 33, 70))),
    st.sampled_from((0.0, 1.0, 30.0)),
    st.sampled_from(("float32", "float64")),
    st.integers(0, 2**32 - 1),
)
@settings(max_examples=25, deadline=None)
def test_softmax(
    kind: str, shape: tuple[int, int, int], scale: float, dtype: str, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    valid = make_mask(kind, *shape[:2], rng)
    x = (rng.standard_normal(shape) * scale).astype(dtype)
    x[~valid] = np.nan
    actual = softmax(backend, x, valid)
    assert actual.dtype == dtype
    assert_close(actual, softmax(reference, x.astype("float64"), valid), dtype)
    assert not actual[~valid].any()


@pytest.mark.parametrize("features", [1, 40])
def test_long_rows(features: int) -> None:
    rng = np.random.default_rng(0)
    valid, x = rng.random((2, 300)) < 0.7, rng.standard_normal((2, 300, features))
    assert_close(softmax(backend, x, valid), softmax(reference, x, valid), "float64")


@pytest.mark.parametrize("poison", [0.0, np.inf, -np.inf])
def test_masked_inputs_reach_nothing(poison: float) -> None:
    rng = np.random.default_rng(0)
    for kind in MASK_KINDS:
        valid = make_mask(kind, 4, 6, rng)
        x = rng.standard_normal((4, 6, 3)).astype(np.float32)
        expected = softmax(backend, np.where(valid[..., np.newaxis], x, np.float32(np.nan)), valid)
        x[~valid] = poison
        np.testing.assert_array_equal(softmax(backend, x, valid), expected)


def test_large_inputs_do_not_overflow() -> None:
    x = np.array([[[1e30, -1e30], [1e30, -1e30], [-1e30, 1e30]]], np.float32)
    out = softmax(backend, x, np.ones((1, 3), bool))
    np.testing.assert_array_equal(out[0], [[0.5, 0], [0.5, 0], [0, 1]])


@pytest.mark.parametrize("poison", [np.nan, np.inf])
@pytest.mark.parametrize("place", [0, 1, 2])
def test_nan_and_inf_at_a_valid_step_spoil_their_feature(poison: float, place: int) -> None:
    x = np.zeros((1, 4, 2))
    x[0, place, 1] = poison
    out = softmax(backend, x, np.array([[True, True, True, False]]))
    np.testing.assert_allclose(out[0, :, 0], [1 / 3, 1 / 3, 1 / 3, 0])
    assert np.isnan(out[0, :3, 1]).all()
    assert out[0, 3, 1] == 0
