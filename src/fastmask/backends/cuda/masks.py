"""Masks and plans on a GPU.

The plan of a mask is made, or copied, once for each device, and kept with the mask. Only then
does the host wait, for the number of valid steps.
"""

from __future__ import annotations

import weakref
from collections.abc import Hashable
from math import prod
from typing import Any

import numpy as np

from ..._typing import BOOL, INT64, Bools, DeviceArray, Ints
from ..base import PlannedMask
from ..plan import Plan, full_plans
from . import arrays as _arrays


class DevicePlan(Plan):
    """A `Plan` on a device, with the length of each row on the host."""

    lengths: Ints


def not_equal(array: DeviceArray, value: float) -> Bools:
    """A bool array: where a view with two axes or more is not `value`."""
    *rows, time = array.shape
    valid = _arrays.empty(array.shape, BOOL, array)
    flat = prod(rows), time
    with _arrays.launching(array) as kernels:
        kernels.mask_not_equal(_arrays.part(valid, flat), _arrays.part(array, flat), value)
    own: Bools = valid.owner
    return own


def any_not_equal(x: DeviceArray, value: float) -> Bools:
    """A bool array: where any feature of a view (B, T, ..., F) is not `value`."""
    *rows, time, features = x.shape
    flat = prod(rows), time
    valid = _arrays.empty(x.shape[:-1], BOOL, x)
    with _arrays.launching(x) as kernels:
        kernels.mask_any_not_equal(
            _arrays.part(valid, flat), _arrays.part(x, (*flat, features)), value
        )
    own: Bools = valid.owner
    return own


def lengths_of(mask: PlannedMask) -> Ints:
    """The number of valid steps in each row of a mask on a GPU, on the host."""
    if len(mask.shape) > 2:
        return mask.of_steps.lengths.reshape(mask.shape[:-1])
    return plan_on(mask, _arrays.view_of(mask.valid, "mask").device).lengths.copy()


def plan_on(mask: PlannedMask, device: int) -> DevicePlan:
    """The plan of `mask` on a device, made or copied on first use and then kept.

    Raises:
        ValueError: the mask is on another device.
    """
    kept = _kept(mask)
    plan: DevicePlan | None = kept.get(device)
    if plan is None:
        plan = kept[device] = _sent(*mask.plan, device) if _on_host(mask) else _made(mask, device)
    return plan


def zeroed_rows(
    mask: PlannedMask | None, plan: DevicePlan, device: int, last_step: int | None
) -> DeviceArray:
    """The numbers of the rows, int64 (B,), with -1 for rows whose last output is zero.

    `last_step` is the step of `ArrayBackend.last_output`.
    """
    batch = len(plan.lengths)
    if mask is None or (last_step is None and plan.lengths.all()):
        if plan.lengths.all():
            return _arrays.numbers(batch, device)
        return _arrays.put(np.full(batch, -1, np.int64), device)
    kept = _kept(mask)
    key = (device, last_step)
    if key not in kept:
        zero = plan.lengths == 0 if last_step is None else ~np.asarray(mask)[:, last_step]
        kept[key] = _arrays.put(np.where(zero, np.int64(-1), np.arange(batch)), device)
    rows: DeviceArray = kept[key]
    return rows


def seen_mask(mask: PlannedMask, like: DeviceArray) -> PlannedMask:
    """`mask` with an array of the library and on the device of `like`, a view; made once.

    Raises:
        ValueError: the mask is on another device.
    """
    if type(mask.valid) is type(like.owner):
        return mask
    kept = _kept(mask)
    key = (like.device, type(like.owner))
    if key not in kept:
        if _on_host(mask):
            copy = _arrays.empty(mask.shape, BOOL, like)
            _arrays.copy_into(copy, _arrays.put(mask.valid, like.device))
            valid = copy.owner
        else:
            _on_its_device(mask, like.device)
            valid = _arrays.as_numpy_like(mask.valid)
        seen = mask._of(valid)
        seen._made_of_it()["origin"] = weakref.ref(mask)  # weak: that mask keeps this one
        kept[key] = seen
    result: PlannedMask = kept[key]
    return result


def origin_of(mask: PlannedMask) -> PlannedMask:
    """The mask that this one is another view of, or itself."""
    origin = mask._made_of_it().get("origin")
    known: PlannedMask | None = None if origin is None else origin()
    return mask if known is None else known


def _kept(mask: PlannedMask) -> dict[Hashable, Any]:
    """What backends made from a mask; views of the same mask share it."""
    return origin_of(mask)._made_of_it()


def _on_host(mask: PlannedMask) -> bool:
    return type(mask.valid) is np.ndarray


def _on_its_device(mask: PlannedMask, device: int) -> DeviceArray:
    """A view of the mask's array, which must be on a device."""
    valid = _arrays.view_of(mask.valid, "mask")
    if valid.device != device and valid.size:
        raise ValueError(
            f"mask is on device {valid.device}, but the inputs are on device {device}: "
            "all arrays of a call must be on one device"
        )
    return valid


def _made(mask: PlannedMask, device: int) -> DevicePlan:
    valid = _on_its_device(mask, device)
    batch, time = valid.shape
    offsets, steps, order = (
        _arrays.empty((size,), INT64, valid) for size in (batch + 1, batch * time, batch)
    )
    with _arrays.launching(valid) as kernels:
        kernels.plan_steps(offsets, steps, order, valid)
    starts = _arrays.to_host(offsets)
    return _with_lengths(offsets, _arrays.part(steps, (int(starts[-1]),)), order, starts)


def _sent(offsets: Ints, steps: Ints, order: Ints, device: int) -> DevicePlan:
    starts, places, rows = (_arrays.put(array, device) for array in (offsets, steps, order))
    return _with_lengths(starts, places, rows, offsets)


def _with_lengths(
    offsets: DeviceArray, steps: DeviceArray, order: DeviceArray, starts: Ints
) -> DevicePlan:
    made: Any = DevicePlan
    plan: DevicePlan = made(offsets, steps, order)
    plan.lengths = np.diff(starts)
    return plan


def _full(offsets: DeviceArray, steps: DeviceArray, order: DeviceArray) -> DevicePlan:
    batch = max(len(order), 1)
    starts = np.arange(len(offsets), dtype=np.int64) * (len(steps) // batch)
    return _with_lengths(offsets, steps, order, starts)


full_plan = full_plans(_arrays.counting, _full, _arrays.MOST_KEPT)
