"""The columns export what the table lists, and hold under other compilation settings."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from fastmask_kernels import cpu, reference
from fastmask_kernels.spec import KERNELS

# What the CPU column has yet to get; a kernel that arrives leaves this set.
MISSING = {"masked_softmax"}
KERNEL_TESTS = ("lstm_kernel", "cpu_backward", "simd", "masks", "padding", "gather")


@pytest.mark.parametrize("column", [reference, cpu], ids=["reference", "cpu"])
def test_column_is_complete(column: object) -> None:
    exported = set(column.__all__)  # type: ignore[attr-defined]
    assert exported >= set(KERNELS) - MISSING


def test_columns_export_the_same_names() -> None:
    assert set(reference.__all__) - set(cpu.__all__) == MISSING
    assert set(cpu.__all__) <= set(reference.__all__)


def run_kernel_tests(tmp_path: Path, selection: str, **environment: str) -> None:
    """Run kernel tests in a process of their own, with a compilation cache of its own."""
    files = [str(Path(__file__).parent / f"test_{name}.py") for name in KERNEL_TESTS]
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider"]
    command += [*files, "-k", selection]
    run = subprocess.run(
        command,
        env={**os.environ, "NUMBA_CACHE_DIR": str(tmp_path), **environment},
        capture_output=True,
        text=True,
        timeout=240,
        cwd=Path(__file__).parent.parent,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert " passed" in run.stdout


def test_with_bounds_checking(tmp_path: Path) -> None:
    """Every index of the compiled loops stays inside its array."""
    run_kernel_tests(tmp_path, "equals_reference or any_threads", NUMBA_BOUNDSCHECK="1")
