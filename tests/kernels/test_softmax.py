"""masked_softmax of both backends."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from fastmask_kernels import cpu, reference

from ..cases import MASK_KINDS, assert_close, make_mask
from ..each import EACH_BACKEND


def softmax(backend: Any, x: NDArray[Any], valid: NDArray[np.bool_]) -> NDArray[Any]:
    """A backend's result, written to an output full of NaN."""
    out = np.full_like(x, np.nan)
    backend.masked_softmax(out, x, valid)
    return out


@given(
    st.sampled_from(MASK_KINDS),
    st.tuples(st.integers(0, 5), st.integers(0, 9), st.sampled_from((0, 1, 2, 7, 8, 33))),
    st.sampled_from((0.0, 1.0, 30.0)),
    st.sampled_from(("float32", "float64")),
    st.integers(0, 2**32 - 1),
)
@settings(max_examples=200, deadline=None)
def test_softmax_equals_reference(
    kind: str, shape: tuple[int, int, int], scale: float, dtype: str, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    valid = make_mask(kind, *shape[:2], rng)
    x = (rng.standard_normal(shape) * scale).astype(dtype)
    x[~valid] = np.nan
    actual = softmax(cpu, x, valid)
    assert actual.dtype == dtype
    assert_close(actual, softmax(reference, x.astype("float64"), valid), dtype)


@EACH_BACKEND
def test_valid_steps_share_one_and_masked_steps_get_nothing(backend: Any) -> None:
    x = np.array([[[0.0], [np.nan], [np.log(3.0)]], [[np.inf], [np.nan], [7.0]]])
    valid = np.array([[1, 0, 1], [0, 0, 0]], bool)
    assert_close(softmax(backend, x, valid)[..., 0], np.array([[0.25, 0, 0.75], [0, 0, 0]]), "f8")


@EACH_BACKEND
@pytest.mark.parametrize("poison", [0.0, np.inf, -np.inf])
def test_masked_inputs_reach_nothing(backend: Any, poison: float) -> None:
    rng = np.random.default_rng(0)
    for kind in MASK_KINDS:
        valid = make_mask(kind, 4, 6, rng)
        x = rng.standard_normal((4, 6, 3)).astype(np.float32)
        expected = softmax(backend, np.where(valid[..., np.newaxis], x, np.float32(np.nan)), valid)
        assert not expected[~valid].any()
        x[~valid] = poison
        np.testing.assert_array_equal(softmax(backend, x, valid), expected)


@EACH_BACKEND
def test_large_inputs_do_not_overflow(backend: Any) -> None:
    x = np.array([[[1e30, -1e30], [1e30, -1e30], [-1e30, 1e30]]], np.float32)
    out = softmax(backend, x, np.ones((1, 3), bool))
    np.testing.assert_array_equal(out[0], [[0.5, 0], [0.5, 0], [0, 1]])


@EACH_BACKEND
@pytest.mark.parametrize("poison", [np.nan, np.inf])
@pytest.mark.parametrize("place", [0, 1, 2])
@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")  # inf - inf
def test_nan_and_inf_at_a_valid_step_spoil_their_feature(
    backend: Any, poison: float, place: int
) -> None:
    x = np.zeros((1, 4, 2))
    x[0, place, 1] = poison
    out = softmax(backend, x, np.array([[True, True, True, False]]))
    np.testing.assert_allclose(out[0, :, 0], [1 / 3, 1 / 3, 1 / 3, 0])
    assert np.isnan(out[0, :3, 1]).all()
    assert out[0, 3, 1] == 0


@EACH_BACKEND
@pytest.mark.parametrize(
    ("x", "valid", "error", "words"),
    [
        (np.zeros((2, 3, 4), "f4"), np.ones((2, 3), bool), TypeError, "x must have dtype float64"),
        (np.zeros((2, 3, 5)), np.ones((2, 3), bool), ValueError, r"x must have shape .*F=4"),
        (np.zeros((2, 3, 4)), np.ones((2, 4), bool), ValueError, r"valid must have shape .*T=3"),
        (np.zeros((2, 3, 4)), np.ones((2, 3)), TypeError, "valid must have dtype bool"),
    ],
)
def test_wrong_arguments(
    backend: Any, x: NDArray[Any], valid: NDArray[Any], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        backend.masked_softmax(np.empty((2, 3, 4)), x, valid)
