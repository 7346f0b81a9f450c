"""CuPy arrays; CuPy is imported where it is used: whoever has an array of it has imported it."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..._typing import OnDevice


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
        self,
        out: OnDevice,
        a: OnDevice,
        b: OnDevice,
        transpose_a: bool,
        transpose_b: bool,
        accumulate: bool,
    ) -> None:
        import cupy

        to, left, right = (cupy.asarray(one) for one in (out, a, b))
        left, right = left.T if transpose_a else left, right.T if transpose_b else right
        with to.device:
            if accumulate:
                to += left @ right
            else:
                cupy.matmul(left, right, out=to)
