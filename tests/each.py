"""Marks that make one test per backend, per cell, or per kernel."""

from __future__ import annotations

import functools
from collections.abc import Callable

import pytest

from fastmask_kernels import cpu, reference

from .cases import CASES, GRUCase, RecurrentCase

BACKENDS = {"reference": reference, "cpu": cpu}
# The cells, with the GRU in both of its forms: `reset_after` and not.
FORMS: dict[str, Callable[..., RecurrentCase]] = {
    **CASES,
    "gru_before": functools.partial(GRUCase, reset_after=False),
}

EACH_BACKEND = pytest.mark.parametrize("backend", BACKENDS.values(), ids=BACKENDS)
EACH_CELL = pytest.mark.parametrize("cell", CASES)
EACH_FORM = pytest.mark.parametrize("cell", FORMS)
EACH_KERNEL = pytest.mark.parametrize(
    ("cell", "backend"),
    [
        pytest.param(cell, backend, id=f"{cell}-{name}")
        for cell in CASES
        for name, backend in BACKENDS.items()
    ],
)
