"""The choice of the kernel column, and the form in which kernels get their arrays."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import fastmask as fm
from fastmask import _dispatch
from fastmask._dispatch import integer_array, number_array, real_array, use_column


@pytest.fixture
def _column_restored() -> Iterator[None]:
    before = _dispatch._column
    yield
    _dispatch._column = before


@pytest.mark.usefixtures("_column_restored")
def test_columns_agree_and_share_no_packed_weights() -> None:
    random = np.random.default_rng(0)
    x = fm.Masked(random.normal(size=(4, 7, 3)).astype(np.float32), random.random((4, 7)) < 0.6)
    layer = fm.layers.LSTM(5, return_sequences=True)
    results = []
    for name in ("reference", "cpu", "reference"):
        assert use_column(name).__name__ == f"fastmask_kernels.{name}"
        results.append(layer(x).data)
    np.testing.assert_allclose(results[1], results[0], atol=1e-6)
    np.testing.assert_array_equal(results[2], results[0])


@pytest.mark.usefixtures("_column_restored")
def test_unknown_column(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FASTMASK_KERNELS", "abacus")
    monkeypatch.setattr(_dispatch, "_column", None)
    with pytest.raises(ValueError, match="FASTMASK_KERNELS must be one of cpu, reference, not"):
        _dispatch.kernels()


def is_ready(array: np.ndarray[Any, Any]) -> bool:
    return array.flags.c_contiguous and array.flags.aligned and array.dtype.isnative


X = np.arange(12.0).reshape(3, 4)
LAYOUTS = {
    "plain": X,
    "fortran": np.asfortranarray(X),
    "strided": np.repeat(X, 2, axis=1)[:, ::2],
    "reversed": X[::-1].copy()[::-1],
    "big-endian": X.astype(">f8"),
    "unaligned": np.frombuffer(b"\0" + X.tobytes(), offset=1).reshape(X.shape),
    "broadcast": np.broadcast_to(X[0], (3, 4)),
    "matrix": X.view(type("Sub", (np.ndarray,), {})),
    "list": X.tolist(),
    "empty": X[:0],
}


@pytest.mark.parametrize("given", LAYOUTS.values(), ids=LAYOUTS)
def test_layouts(given: Any) -> None:
    for ready in (
        real_array(given, "x"),
        real_array(given, "x", np.dtype(np.float32)),
        number_array(given, "x"),
        integer_array(given, "x"),
    ):
        assert is_ready(ready)
        assert type(ready) is np.ndarray
        np.testing.assert_array_equal(ready, np.asarray(given))


def test_what_fits_is_not_copied() -> None:
    for dtype in (np.float32, np.float64):
        x = X.astype(dtype)
        x.flags.writeable = False
        assert real_array(x, "x") is x
        assert np.shares_memory(number_array(x, "x"), x)
    ids = np.arange(3)
    assert integer_array(ids, "x") is ids


@pytest.mark.parametrize(
    "given",
    [X * 1j, np.array([None]), np.array(["a"]), np.array([b"a"]), np.array(["2020"], "M8[D]")],
)
def test_refuses_what_holds_no_numbers(given: Any) -> None:
    for convert in (real_array, number_array, integer_array):
        with pytest.raises(TypeError, match=r"y must hold .*, not dtype"):
            convert(given, "y")
