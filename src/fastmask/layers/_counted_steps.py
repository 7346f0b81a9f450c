"""Whether an operation, which drops the masks of its inputs, counts the steps that they mask."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import numpy as np

from .._typing import Array, Bools
from ..backends.dispatch import backend_of
from ._operations import OF_MASKS, WITHOUT_MASK

PICKS = {"get_item", "take", "take_along_axis"}  # results are elements of the first argument
# Operations to which values do not matter.
_UNREAD = {*OF_MASKS - {WITHOUT_MASK}, "full_like", "ones_like", "zeros_like"}
_WITH_ZEROS, _WITHOUT_ZEROS = (
    {"multiply", "matmul", "einsum", "where"},
    {"add", "subtract", "where"},
)


def counts_masked_steps(
    operation: str,
    pick: Callable[[list[Any]], Any] | None,
    inputs: Sequence[Any],
    masks: Any,
    outputs: list[Any],
) -> bool | None:
    """Whether masked steps can reach the results of an operation; None if no step is masked.

    Args:
        operation: its name.
        pick: computes its results, if these are elements of the first input; else None.
        inputs: its inputs.
        masks: the mask of each, or None.
        outputs: its results. Those that are bool are masks that a model computes.

    Returns:
        False also where a factor is 0, or a summand is not 0, at exactly the masked steps, because
        then the model masks them itself; and where it picks elements only of valid steps, or of a
        last step that repeats the last valid one, as in outputs of recurrent layers.
    """
    if operation in _UNREAD or all(one.dtype.kind == "b" for one in outputs):
        return False
    flags = [None if one is None else _on_host(one) for one in masks]
    valid = next((one for one in flags if one is not None and not one.all()), None)
    if valid is None:
        return None
    if _are_masked_by(operation, valid, inputs, flags):
        return False
    if pick is None or flags[0] is None:
        return True
    others = [_on_host(one) for one in inputs[1:]]
    return _picks_masked_steps(lambda x: pick([x, *others]), inputs[0], valid)


def but_for_ends(valid: Any) -> Bools:
    """The mask, with masked steps after the last valid one counted as valid."""
    flags: Bools = _on_host(valid)
    before_valid: Bools = np.logical_or.accumulate(flags[:, ::-1], axis=1)[:, ::-1]
    return flags | ~before_valid


def _picks_masked_steps(pick: Callable[[Array], Any], x: Array, valid: Bools) -> bool:
    """Whether `pick` takes elements of masked steps that do not just repeat the last valid one."""
    axes = (1,) * (x.ndim - valid.ndim)
    if np.all(pick(np.broadcast_to(valid.reshape(*valid.shape, *axes), x.shape))):
        return False
    rows, time = valid.shape[:2]
    steps = np.broadcast_to(np.arange(time).reshape(1, time, *(1,) * (x.ndim - 2)), x.shape)
    if valid.ndim > 2 or np.any(pick(steps) != time - 1):
        return True
    last = time - 1 - valid[:, ::-1].argmax(axis=1)
    repeated = x[:, -1] == x[np.arange(rows), last]
    return not bool((repeated[valid.any(axis=1)]).all() and not x[~valid.any(axis=1), -1].any())


def _are_masked_by(
    operation: str, valid: Bools, arrays: Sequence[Array], flags: list[Bools | None]
) -> bool:
    """Whether an array without a mask of its own masks these steps."""
    for array, own in zip(arrays, flags, strict=True):
        shape = tuple(array.shape)
        if own is None and shape[:1] == valid.shape[:1] and prod(shape) == valid.size:
            zero = _on_host(array).reshape(valid.shape) == 0
            if (operation in _WITH_ZEROS and (zero != valid).all()) or (
                operation in _WITHOUT_ZEROS and (zero == valid).all()
            ):
                return True
    return False


def _on_host(array: Any) -> Array:
    return np.asarray(backend_of(array).to_host(array))
