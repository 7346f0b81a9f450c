"""Compiles the kernels that take longest, for the tests of another process to load."""

from __future__ import annotations

from fastmask_kernels import cpu

from ..each import FORMS

if __name__ == "__main__":
    for dtype in ("float64", "float32"):
        for form in FORMS.values():
            form(2, 3, 4, 5, dtype=dtype).run_backward(cpu)
