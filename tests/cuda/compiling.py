"""What tests of compiled kernels need from `fastmask_kernels.machine_code`."""

from __future__ import annotations

import sysconfig
from pathlib import Path

from fastmask_kernels.machine_code import ARCHITECTURES as ARCHITECTURES
from fastmask_kernels.machine_code import Report as Report
from fastmask_kernels.machine_code import compile_report as compile_report
from fastmask_kernels.machine_code import missing as any_missing

OF_LAYERS = {"gemm", "products", "steps", "packing", "mma_layout"}
"""Modules whose kernels run around time loops, with a budget of registers of their own."""


def missing() -> str | None:
    """Why the tests do not compile kernels here, or None.

    They take minutes, so a toolkit that happens to be installed is not enough.
    """
    if not list((Path(sysconfig.get_path("purelib")) / "nvidia").glob("**/libnvvm*")):
        return 'needs the wheels of NVIDIA: pip install "numba-cuda[cu13]"'
    return any_missing("nvdisasm")
