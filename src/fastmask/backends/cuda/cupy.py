"""CuPy's arrays; CuPy is imported where it is used: who has one of its arrays has imported it."""

from __future__ import annotations

from typing import Any

import numpy as np


class CuPyLibrary:
    """See `Library`."""

    name = "CuPy"

    def stream(self, device: int) -> int:
        import cupy

        with cupy.cuda.Device(device):
            return int(cupy.cuda.get_current_stream().ptr)

    def empty(self, shape: tuple[int, ...], dtype: np.dtype[Any], like: Any) -> Any:
        import cupy

        with like.device:
            return cupy.empty(shape, dtype)

    def multiply(
        self, out: Any, a: Any, b: Any, transpose_a: bool, transpose_b: bool, accumulate: bool
    ) -> None:
        import cupy

        out, a, b = (cupy.asarray(one) for one in (out, a, b))
        a, b = a.T if transpose_a else a, b.T if transpose_b else b
        with out.device:
            if accumulate:
                out += a @ b
            else:
                cupy.matmul(a, b, out=out)
