"""`checked` for this backend: the same table, arrays on a device."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from ... import checks as _checks
from ...spec import Kernel
from .device import DeviceArray, device_arrays
from .driver import on_device
from .errors import raise_found
from .ranges import in_range


def checked(
    function: Callable[..., None],
    kernel: Kernel | None = None,
    plan_of: _checks.PlanOf | None = None,
) -> _checks.TableFunction:
    """Check every call as `checks.checked` does; the function gets `DeviceArray`s.

    Args:
        function: computes the kernel.
        kernel: its specification, for a cell that is not in the table.
        plan_of: see `checks.checked`.

    Raises:
        RuntimeError: there is no CUDA driver or no device.
        TypeError: an argument is missing, is not an array on a device, or has another dtype.
        ValueError: an array has another shape, is not C-contiguous and aligned, is an output
            that cannot be written or that shares memory with another array, or is on another
            device than the first one; an activation or a size is unknown; or an earlier call of
            this thread met a bad index or plan. When decorating: the function's name is not in the
            table.
    """
    run = _checks.of_arguments(function, kernel)

    @functools.wraps(run)
    def call(*args: Any) -> None:
        raise_found()
        device = next((a.device for a in args if isinstance(a, DeviceArray) and a.size), 0)
        with on_device(device):
            run(*args)

    name = function.__name__ if kernel is None else kernel.name
    return _checks.checked(in_range(call, name), device_arrays, kernel, plan_of)
