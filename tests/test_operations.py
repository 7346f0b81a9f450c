"""Operations of loaded models compared with formulas, and arguments that are refused."""

from __future__ import annotations

import tracemalloc
from typing import Any

import numpy as np
import pytest

from fastmask.layers._operation import Operation

X, Y = {"input": 0}, {"input": 1}


def found(operation: str, inputs: Any, *arguments: Any, **options: Any) -> Any:
    return Operation(operation, [X, *arguments], options)(inputs)


def test_weighted_averages() -> None:
    random = np.random.default_rng(0)
    x, shares = random.random((2, 3, 4), np.float32), random.random((2, 3, 4), np.float32)
    expected = [
        [(x[i, :, j] * shares[i, :, j]).sum() / shares[i, :, j].sum() for j in range(4)]
        for i in range(2)
    ]
    np.testing.assert_allclose(found("average", [x, shares], axis=1, weights=Y), expected, 1e-5)
    of_steps = {"array": [1.0, 0.0, 2.0], "dtype": "float32"}
    y = found("average", x, axis=1, weights=of_steps)
    np.testing.assert_allclose(y, (x[:, 0] + 2 * x[:, 2]) / 3, 1e-6)
    none = {"array": [0.0, 0.0, 0.0], "dtype": "float32"}
    assert np.isnan(found("average", x, axis=1, weights=none)).all()


def test_einsum() -> None:
    random = np.random.default_rng(1)
    x, y = random.random((2, 3, 4), np.float32), random.random((2, 5, 4), np.float32)
    scores = found("einsum", [x, y], Y, subscripts="btf, bsf -> bts")
    np.testing.assert_allclose(scores, x @ y.transpose(0, 2, 1), 1e-5)
    assert found("einsum", x, subscripts="...f->...").shape == (2, 3)
    assert found("einsum", x, subscripts="btf").dtype == np.float32


def test_equal_numbers_and_infinite_ones() -> None:
    x = np.array([[1, 3, 3, 2], [-1, -1, -1, -1]], np.int32)
    largest, places = found("top_k", x, k=3)
    assert largest.tolist() == [[3, 3, 2], [-1, -1, -1]]
    assert places.tolist() == [[1, 2, 0], [0, 1, 2]] or places.tolist() == [[1, 2, 3], [0, 1, 2]]
    assert places.dtype == np.int32
    assert found("top_k", x.astype(np.uint8), 1)[0].tolist() == [[3], [255]]
    y = np.array([[np.inf, 1], [-np.inf, -np.inf], [1000, 1000]], np.float32)
    np.testing.assert_allclose(
        found("logsumexp", y, axis=1), [np.inf, -np.inf, 1000 + np.log(2)], 1e-6
    )
    assert found("logsumexp", y[2:], keepdims=True).shape == (1, 1)


def test_integers_become_floats() -> None:
    x = np.array([[0, 1, -2]], np.int32)
    np.testing.assert_allclose(found("erf", x), [[0, 0.8427008, -0.9953223]], atol=1e-6)
    np.testing.assert_allclose(found("divide_no_nan", x, 0), [[0, 0, 0]])
    assert found("divide_no_nan", x, 2).tolist() == [[0, 0.5, -1]]


@pytest.mark.parametrize(
    ("operation", "options", "told"),
    [
        ("einsum", {"subscripts": "btf,def,ghi->btfdeghi"}, "at most 4096"),
        ("einsum", {"subscripts": "btf,ceg,hij->"}, "at most 4096"),
        ("einsum", {"subscripts": "btf,bsf,bsf->b" + "t" * 300}, "a short string"),
        ("einsum", {"subscripts": "b_f,bsf,bsf->b"}, "must be like"),
        ("einsum", {"subscripts": "btf,bsf->b"}, "are for 2 arrays"),
        ("einsum", {"subscripts": "btfg,bsf,bsf->b"}, "do not fit an array of shape"),
        ("einsum", {"subscripts": 3}, "a short string"),
        ("einsum", {}, "a short string"),
        ("top_k", {"k": 10**12}, "k must be at most the size"),
        ("top_k", {"k": 41}, "k must be at most the size"),
        ("top_k", {"k": [2]}, "k must be at most the size"),
        ("diff", {"n": 10**12}, "n must be an integer from 0 to 4096"),
        ("tril", {"k": 0.5}, "k must be an integer"),
        ("ones_like", {"dtype": "S1000000000"}, "dtype must be one of"),
        ("full_like", {"fill_value": 1, "dtype": "S1000000000"}, "dtype must be one of"),
    ],
)
def test_what_a_file_cannot_ask_for(operation: str, options: dict[str, Any], told: str) -> None:
    x = np.ones((30, 40, 40), np.float32)
    count = 3 if operation == "einsum" else 1
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=told):
            Operation(operation, [{"input": i} for i in range(count)], options)([x] * count)
        assert tracemalloc.get_traced_memory()[1] < 2**24
    finally:
        tracemalloc.stop()


def test_triangles() -> None:
    x = np.ones((1, 2, 3), np.float32)
    assert found("tril", x, k=10**30).tolist() == x.tolist()
    assert not found("triu", x, k=10**30).any()
    with pytest.raises(ValueError, match="axes at least 2"):
        Operation("tril", [X])(np.ones(1000, np.float32))  # NumPy would make a square of it
