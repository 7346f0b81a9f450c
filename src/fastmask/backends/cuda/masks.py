"""Masks and plans on a GPU.

The plan of a mask is made, or copied, once for each device, and kept with the mask. The host waits
for the number of valid steps then, and never again.
"""

from __future__ import annotations

import weakref
from math import prod
from typing import Any, NamedTuple

import numpy as np

from ..._typing import Bools, Ints
from ...masks.mask import Mask
from ...masks.plan import full_plan, full_plan_size
from ...masks.validity import checked_mask
from ..keeping import keeping
from . import arrays as _arrays
from .arrays import BOOL, INT64


class DevicePlan(NamedTuple):
    """A `Plan` as kernels take it on a device, and on the host the length of each row."""

    offsets: Any
    steps: Any
    order: Any
    lengths: Ints


class DeviceMask(Mask):
    """A mask whose array is on a GPU, of the kind that it came as.

    `valid` is that array, which nobody must write to. Whatever else is asked is answered on the
    host, for which the array is copied once.

    Args:
        valid: see `Mask`; numbers of which some are refused are looked at on the host.
    """

    __slots__ = ("_host", "_origin")
    _host: Mask | None
    _origin: weakref.ref[Mask] | None  # weak: that mask keeps this one

    def __init__(self, valid: Any) -> None:
        view = _arrays.view_of(_arrays.number_array(valid, "mask"), "mask")
        if view.ndim > 2 and view.shape[-1] == 1:
            view = _arrays.part(view, view.shape[:-1])
        if view.ndim < 2:
            raise ValueError(
                f"mask must have shape (batch, time) or (batch, time, 1), or more axes for "
                f"sequences within sequences, not {tuple(view.shape)}"
            )
        if view.dtype.kind in "if":
            checked_mask(_arrays.to_host(view))
        self._keep(not_equal(view, 0))

    @classmethod
    def of_array(cls, valid: Any) -> DeviceMask:
        """A mask that owns `valid`, a fresh C-contiguous bool array (B, T) on a GPU."""
        mask = object.__new__(cls)
        mask._keep(valid)
        return mask

    def _keep(self, valid: Any) -> None:
        self._host = self._origin = None
        self._remember(valid)

    def _reshaped(self, shape: tuple[int, ...]) -> Mask:
        view = _arrays.view_of(self._valid, "mask")
        copy = _arrays.empty(shape, BOOL, view)  # not all kinds of arrays can be reshaped
        _arrays.copy_into(copy, _arrays.part(view, shape))
        return DeviceMask.of_array(copy.owner)

    def _like(self, valid: Any) -> Mask:
        return DeviceMask.of_array(valid)

    @property
    def origin(self) -> Mask:
        """The mask that this one is another view of, or itself."""
        known = None if self._origin is None else self._origin()
        return self if known is None else known

    @property
    def host(self) -> Mask:
        """The same mask on the host."""
        if self._host is None:
            valid = _arrays.to_host(_arrays.view_of(self._valid, "mask"))
            self._host = Mask._of(np.array(valid, BOOL, order="C"))
        return self._host

    @property
    def lengths(self) -> Ints:
        """The number of valid steps in each row, int64 (B,), or (B, S), on the host."""
        if self.ndim > 2:
            return self.of_steps.lengths.reshape(self.shape[:-1])
        plan = plan_on(self, _arrays.view_of(self._valid, "mask").device)
        return plan.lengths.copy()

    @property
    def fill(self) -> float:
        """The share of valid steps, 0 to 1; 1 for a mask without any step."""
        return int(self.lengths.sum()) / self.size if self.size else 1.0

    @property
    def plan(self) -> Any:
        """The positions of the valid steps, on the host."""
        return self.host.plan

    @property
    def shape(self) -> tuple[int, ...]:
        """(B, T), or more axes."""
        return tuple(map(int, self._valid.shape))

    @property
    def size(self) -> int:
        """B * T."""
        return prod(self.shape)

    @property
    def dtype(self) -> np.dtype[np.bool_]:
        """Always bool."""
        return BOOL

    def _array(self) -> Bools:
        return self.host._valid


def not_equal(array: Any, value: float) -> Any:
    """The bool array that tells where a view, with two axes or more, is not `value`."""
    *rows, time = array.shape
    valid = _arrays.empty(array.shape, BOOL, array)
    flat = prod(rows), time
    with _arrays.launching(array) as kernels:
        kernels.mask_not_equal(_arrays.part(valid, flat), _arrays.part(array, flat), value)
    return valid.owner


def plan_for(mask: Mask | None, batch: int, time: int, device: int) -> DevicePlan:
    """The plan of `mask` on a device; no mask means that all steps are valid.

    Raises:
        ValueError: the mask is on another device.
    """
    return _full_plan(batch, time, device) if mask is None else plan_on(mask, device)


def plan_on(mask: Mask, device: int) -> DevicePlan:
    """The plan of `mask` on a device, made or copied on first use and then kept.

    Raises:
        ValueError: the mask is on another device.
    """
    kept = _kept(mask)
    plan: DevicePlan | None = kept.get(device)
    if plan is None:
        plan = kept[device] = (
            _made(mask, device) if isinstance(mask, DeviceMask) else _sent(*mask.plan, device)
        )
    return plan


def zeroed_rows(mask: Mask | None, plan: DevicePlan, device: int, last_step: int | None) -> Any:
    """The numbers of the rows, int64 (B,), but -1 for those whose last output is zero.

    Args:
        mask: the mask.
        plan: its plan.
        device: where the numbers shall be.
        last_step: 0 or -1, the step at which a masked row has zeros; None where those rows have
            zeros that have no valid step.
    """
    batch = len(plan.lengths)
    if mask is None or (last_step is None and plan.lengths.all()):
        if plan.lengths.all():
            return _arrays.counting(batch, device)
        return _arrays.put(np.full(batch, -1, np.int64), device)
    kept = _kept(mask)
    key = (device, last_step)
    if key not in kept:
        zero = plan.lengths == 0 if last_step is None else ~np.asarray(mask)[:, last_step]
        kept[key] = _arrays.put(np.where(zero, np.int64(-1), np.arange(batch)), device)
    return kept[key]


def reversed_mask(mask: Any) -> Mask:
    """A mask that is on a GPU, or its array, turned round in time."""
    valid = _arrays.view_of(getattr(mask, "valid", mask), "mask")
    return DeviceMask.of_array(_arrays.backwards(valid).owner)


def seen_mask(mask: Mask, like: Any) -> Mask:
    """`mask` with an array of the kind and on the device of `like`, a view; made once.

    Raises:
        ValueError: the mask is on another device.
    """
    if type(mask.valid) is type(like.owner):
        return mask
    kept = _kept(mask)
    key = (like.device, type(like.owner))
    if key not in kept:
        if isinstance(mask, DeviceMask):
            _on_its_device(mask, like.device)
            valid = _arrays.as_numpy_speaker(mask.valid)
        else:
            copy = _arrays.empty(mask.shape, BOOL, like)
            _arrays.copy_into(copy, _arrays.put(mask.valid, like.device))
            valid = copy.owner
        seen = DeviceMask.of_array(valid)
        seen._origin = weakref.ref(mask)
        kept[key] = seen
    result: Mask = kept[key]
    return result


def _kept(mask: Mask) -> dict[Any, Any]:
    """What a mask has on devices; of another view the mask's own."""
    if isinstance(mask, DeviceMask):
        mask = mask.origin
    if mask._on_devices is None:
        mask._on_devices = {}
    return mask._on_devices


def _on_its_device(mask: DeviceMask, device: int) -> Any:
    """A view of the mask's array, which must be on a device."""
    valid = _arrays.view_of(mask.valid, "mask")
    if valid.device != device and valid.size:
        raise ValueError(
            f"mask is on device {valid.device}, but the inputs are on device {device}: "
            "all arrays of a call must be on one device"
        )
    return valid


def _made(mask: DeviceMask, device: int) -> DevicePlan:
    valid = _on_its_device(mask, device)
    batch, time = valid.shape
    offsets, steps, order = (
        _arrays.empty((size,), INT64, valid) for size in (batch + 1, batch * time, batch)
    )
    with _arrays.launching(valid) as kernels:
        kernels.plan_steps(offsets, steps, order, valid)
    starts = _arrays.to_host(offsets)
    steps = _arrays.part(steps, (int(starts[-1]),))
    return DevicePlan(offsets, steps, order, np.diff(starts))


@keeping(lambda batch, time, _: full_plan_size(batch, time), _arrays.MOST_KEPT)
def _full_plan(batch: int, time: int, device: int) -> DevicePlan:
    return _sent(*full_plan(batch, time), device)


def _sent(offsets: Ints, steps: Ints, order: Ints, device: int) -> DevicePlan:
    starts, places, rows = (_arrays.put(array, device) for array in (offsets, steps, order))
    return DevicePlan(starts, places, rows, np.diff(offsets))
