"""Kernels of fastmask: plain arrays in, plain arrays out.

`spec.KERNELS` lists every kernel; `reference` (plain NumPy), `cpu` (Numba) and `cuda` (Numba, for
GPUs) export one function for each, under the same name and with the same arguments.
"""

from .names import dir_of

_PARTS = "cells cpu cuda formula machine_code reference spec"
__dir__ = dir_of(__name__, *_PARTS.split())


class JitDisabledError(ImportError):
    """The CPU's kernels cannot be compiled: NUMBA_DISABLE_JIT is set."""

    def __init__(self) -> None:
        super().__init__(
            "NUMBA_DISABLE_JIT is set, so Numba compiles nothing: unset it, or compute with "
            "fastmask_kernels.reference (FASTMASK_KERNELS=reference)"
        )
