"""`checked` for this column: the same table, arrays on a device."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from .. import _checked
from ..spec import KERNELS
from ._device import DeviceArray, device_arrays
from ._driver import on_device
from .faults import raise_found


def checked(function: Callable[..., None]) -> Callable[..., None]:
    """Check every call as `_checked.checked` does; the function gets `DeviceArray`s.

    Raises:
        RuntimeError: there is no CUDA driver or no device.
        TypeError: an argument is missing, is not an array on a device, or has another dtype.
        ValueError: an array has another shape, is not C-contiguous and aligned, is an output
            that cannot be written or that shares memory with another array, or is on another
            device than the first one; an activation or a size is unknown; or an earlier call of
            this thread met a bad index.
    """
    outputs = {a.name for a in KERNELS[function.__name__].arguments if a.output}

    @functools.wraps(function)
    def call(*args: Any) -> None:
        raise_found()
        device = next((a.device for a in args if isinstance(a, DeviceArray) and a.size), 0)
        with on_device(device):
            function(*args)

    def door(named: list[tuple[str, Any]]) -> list[DeviceArray]:
        views = device_arrays(named)
        _keep_apart([(name, view) for (name, _), view in zip(named, views, strict=True)], outputs)
        return views

    return _checked.checked(call, door)


def _keep_apart(views: list[tuple[str, DeviceArray]], outputs: set[str]) -> None:
    """See that no output shares memory with another array; all are on one device.

    Arrays with gaps are let through, because the table refuses them.

    Raises:
        ValueError: one does.
    """
    places = sorted(
        (view.address, view.address + view.nbytes, name, name in outputs)
        for name, view in views
        if view.size and view.flags.c_contiguous
    )
    end, of_all, end_of_outputs, of_outputs = 0, "", 0, ""
    for start, stop, name, output in places:
        if start < end_of_outputs or (output and start < end):
            other = of_outputs if start < end_of_outputs else of_all
            written, beside = (name, other) if output else (other, name)
            raise ValueError(f"{written} is an output and must not share memory with {beside}")
        if stop > end:
            end, of_all = stop, name
        if output:  # which ends last, because it is apart from all before
            end_of_outputs, of_outputs = stop, name
