"""Products by the array library: the reference's results, from whole matrices."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fastmask_kernels import cuda, reference
from fastmask_kernels.cuda import gemm, products
from fastmask_kernels.cuda.runtime import device as _device

from ..cases import MASK_KINDS, LSTMCase, assert_close
from .backend import backend
from .test_recurrent import CELLS, check, make


class Owner:
    """Multiplies with NumPy and records its calls."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []

    def __call__(
        self, out: Any, a: Any, b: Any, transpose_a: bool, transpose_b: bool, accumulate: bool
    ) -> None:
        for array in (out, a, b):
            assert array.__cuda_array_interface__["strides"] is None
            assert array.__cuda_array_interface__["data"] == (array.address, False)
            assert array.ndim == 2
            assert array.size
        left, right = _device.to_host(a), _device.to_host(b)
        product = (left.T if transpose_a else left) @ (right.T if transpose_b else right)
        assert product.shape == out.shape
        assert product.dtype == out.dtype
        if accumulate:
            product += _device.to_host(out)
        write(out, product)
        self.calls.append((out, a, b, transpose_a, transpose_b, accumulate))


def write(out: Any, values: np.ndarray) -> None:
    if _device.SIMULATED:
        _device.host_view(out, out.dtype)[:] = values.reshape(-1)
        return
    from numba import cuda as numba_cuda

    numba_cuda.as_cuda_array(out).copy_to_device(np.ascontiguousarray(values))


@pytest.fixture
def owner(monkeypatch: pytest.MonkeyPatch) -> Owner:
    """The library; the project's own kernels fail, except on empty products."""

    def only_empty(run: Any) -> Any:
        def call(*args: Any, **options: Any) -> None:
            assert 0 in args[4:7], "a product by the tiled kernel"
            run(*args, **options)

        return call

    monkeypatch.setattr(gemm, "rows", only_empty(gemm.rows))
    monkeypatch.setattr(gemm, "over_rows", only_empty(gemm.over_rows))
    return Owner()


def turns() -> list[Any]:
    """Full masks, and for each cell a third of the others."""
    return [
        pytest.param(cell, number, id=f"{cell}-{MASK_KINDS[number]}")
        for shift, cell in enumerate(CELLS)
        for number in sorted({0, *range(2 + shift % 3, len(MASK_KINDS), 3)})
    ]


@pytest.mark.parametrize(("cell", "number"), turns())
def test_every_kind_of_mask(owner: Owner, cell: str, number: int) -> None:
    exact = number % 3 != 1
    case = make(
        *(cell, 4, 3, 3, 5),
        kind=MASK_KINDS[number],
        seed=number,
        dtype=("float32", "float64")[number % 2],
        reverse=number % 4 in (1, 2),
        zero_masked=number % 4 > 1,
        spare=0 if exact else 3,
    )
    with cuda.use_products(owner, exact=exact):
        check(case, save=("states", "gates")[(number + exact) % 2], want_dx=number != 3)
    assert owner.calls


@pytest.mark.parametrize("cell", CELLS)
def test_rows_behind_the_plan_stay_as_they_are(owner: Owner, cell: str) -> None:
    """`steps` as long as `plan_steps` needs it, for a mask that is nearly full."""
    case = make(cell, 2, 3, 2, 4, kind="full", seed=1)
    case.valid[1, 2] = False
    case.x[1, 2] = np.nan
    case.spare = 1
    with cuda.use_products(owner):
        check(case)


def test_an_empty_plan(owner: Owner) -> None:
    with cuda.use_products(owner):
        for spare in (0, 4):
            check(LSTMCase(2, 3, 2, 4, kind="empty", spare=spare), save="nothing")


def test_what_stands_in_memory_is_multiplied_where_it_is(owner: Owner) -> None:
    case = LSTMCase(2, 3, 2, 4, kind="full")
    with cuda.use_products(owner, exact=True):
        case.run(backend, save="nothing")
        assert [call[1].address for call in owner.calls] == [case.x.ctypes.data]
        owner.calls.clear()
        case.run_backward(backend, save="gates")
    forward, dkernel, dx, drecurrent = owner.calls
    assert forward[1].address == dkernel[1].address == case.x.ctypes.data
    assert dkernel[2].address == dx[1].address == drecurrent[2].address  # the gates
    assert dx[2].address == case.weights[0].ctypes.data
    assert [call[3:] for call in owner.calls] == [
        (False, False, False),
        (True, False, False),
        (False, True, False),
        (True, False, False),
    ]


def test_gates_of_a_gru_are_arranged_once(owner: Owner) -> None:
    case = make("gru_after", 3, 3, 2, 4, kind="holes")
    with cuda.use_products(owner, exact=True):
        case.run_backward(backend, save="gates")
    _, dkernel, dx, drecurrent = owner.calls
    assert dkernel[2].address == dx[1].address
    assert drecurrent[0].shape == (4, 12)


def test_a_block_of_code(monkeypatch: pytest.MonkeyPatch) -> None:
    owner, case = Owner(), LSTMCase(2, 3, 2, 4, kind="right")
    expected = case.run(reference, dtype="float64", save="states")
    with cuda.use_products(owner):
        with cuda.use_products(None):
            case.run(backend, save="states")
        assert not owner.calls
        with pytest.raises(ZeroDivisionError), cuda.use_products(owner, exact=True):
            raise ZeroDivisionError
        assert not products.are_all(_device.empty(6, "i8"), 6)
        for actual, wanted in zip(case.run(backend, save="states"), expected, strict=True):
            assert_close(actual, wanted, case.dtype)
    assert len(owner.calls) == 1
    case.run(backend, save="states")
    assert len(owner.calls) == 1
