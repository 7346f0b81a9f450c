"""The CUDA backend for tests that use only NumPy arrays, such as those of `tests.cases`."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastmask_kernels import cuda
from fastmask_kernels.cells import Cell
from fastmask_kernels.cells.table import CellKernels
from fastmask_kernels.cuda.runtime import device as _device
from fastmask_kernels.spec import KERNELS, Kernel, cell_kernels


class Memory:
    """A NumPy array that claims to be on a device, which is true in the simulator."""

    def __init__(self, array: np.ndarray) -> None:
        self.array = array

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        return {**self.array.__array_interface__, "version": 3}


class Backend:
    """Kernels that copy their arrays to a device, copy the outputs back, and wait."""

    def __init__(self, device: int = 0) -> None:
        self.device = device

    def __getattr__(self, name: str) -> Any:
        function = getattr(cuda, name)
        return self._copying(function, KERNELS[name]) if name in KERNELS else function

    def kernels_of(self, cell: Cell) -> CellKernels:
        """The kernels of a cell."""
        size, *kernels = cuda.kernels_of(cell)
        rows = cell_kernels(cell)
        copying = [self._copying(k, row) for k, row in zip(kernels, rows, strict=True)]
        return CellKernels(size, *copying)

    def _copying(self, function: Any, kernel: Kernel) -> Any:
        outputs = [a.output for a in kernel.arguments]

        def call(*args: Any) -> None:
            if _device.SIMULATED:
                function(*[Memory(a) if isinstance(a, np.ndarray) else a for a in args])
                cuda.check_indices()
                return
            copies = [
                _device.to_device(a, self.device) if isinstance(a, np.ndarray) else a for a in args
            ]
            try:
                function(*copies)
                cuda.check_indices()
            finally:
                for copy, original, written in zip(copies, args, outputs, strict=False):
                    if written:
                        original[...] = _device.to_host(copy)

        return call


backend = Backend()
