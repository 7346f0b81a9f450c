"""Numba's arrays on a GPU: memory, but neither a current stream nor a matrix product."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import numpy as np


class NumbaLibrary:
    """See `Library`."""

    name = "numba"
    multiply = None

    def stream(self, device: int) -> int:
        """The stream chosen with `fastmask_kernels.cuda.use_stream`, or the default stream."""
        return int(_device().stream_of_launch())

    def empty(self, shape: tuple[int, ...], dtype: np.dtype[Any], like: Any) -> Any:
        device = _device()
        with device.on_device(device.view_of(like, "like").device):
            return device.cuda.device_array(shape, dtype, stream=device.current_stream())


def _device() -> Any:
    return import_module("fastmask_kernels.cuda.runtime.device")  # only it may import Numba
