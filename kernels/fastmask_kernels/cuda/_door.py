"""`checked` for this column: the same table, arrays on a device."""

from __future__ import annotations

from collections.abc import Callable

from .. import _checked
from ._device import device_arrays


def checked(function: Callable[..., None]) -> Callable[..., None]:
    """Check every call as `_checked.checked` does; the function gets `DeviceArray`s.

    Raises:
        RuntimeError: there is no CUDA driver or no device.
        TypeError: an argument is missing, is not an array on a device, or has another dtype.
        ValueError: an array has another shape, is not C-contiguous and aligned, is an output
            that cannot be written, or is on another device than the first one; an activation
            or a size is unknown.
    """
    return _checked.checked(function, device_arrays)
