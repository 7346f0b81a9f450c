"""lstm_step, gru_step and rnn_step of the CUDA backend against the reference."""

from __future__ import annotations

import pytest

from ..cases import assert_close
from ..each import EACH_FORM
from ..kernels.test_step import expected, one_step, stepped
from .backend import backend


@EACH_FORM
def test_equals_the_sequence_kernel(cell: str) -> None:
    for kind, batch, dtype in (
        ("full", 6, "float32"),
        ("full", 5, "float64"),
        ("holes", 9, "float32"),
    ):
        case = one_step(cell, batch, 3, 5, kind=kind, dtype=dtype, seed=batch)
        for actual, wanted in zip(stepped(case, backend), expected(case), strict=True):
            assert_close(actual, wanted, dtype)


@pytest.mark.parametrize(
    ("sizes", "kind"),
    [((0, 2, 4), "full"), ((70, 1, 1), "holes"), ((3, 0, 4), "holes"), ((4, 2, 3), "empty")],
)
def test_sizes(sizes: tuple[int, ...], kind: str) -> None:
    case = one_step("rnn", *sizes, kind=kind)
    for actual, wanted in zip(stepped(case, backend), expected(case), strict=True):
        assert_close(actual, wanted, case.dtype)
