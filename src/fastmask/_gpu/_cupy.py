"""CuPy's arrays; imported only where the caller has imported CuPy."""

from __future__ import annotations

from typing import Any

import cupy
import numpy as np


class CuPyOwner:
    """See `Owner`."""

    name = "CuPy"

    def stream(self, device: int) -> int:
        """See `Owner`."""
        with cupy.cuda.Device(device):
            return int(cupy.cuda.get_current_stream().ptr)

    def empty(self, shape: tuple[int, ...], dtype: np.dtype[Any], like: Any) -> Any:
        """See `Owner`."""
        with like.device:
            return cupy.empty(shape, dtype)

    def multiply(
        self, out: Any, a: Any, b: Any, transpose_a: bool, transpose_b: bool, accumulate: bool
    ) -> None:
        """See `Owner`."""
        out, a, b = (cupy.asarray(one) for one in (out, a, b))
        a, b = a.T if transpose_a else a, b.T if transpose_b else b
        with out.device:
            if accumulate:
                out += a @ b
            else:
                cupy.matmul(a, b, out=out)
