"""Checks of a module's arguments and weights, and its initial states."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..masks.mask import Mask
from ..masks.masked import Masked
from ..masks.ragged import Ragged
from ._cells import CELLS
from ._masks import count_of_integers, hint_of_lengths


class WrongShape(ValueError, RuntimeError):
    """A ValueError of fastmask's where torch.nn raises a RuntimeError."""


def in_autocast(device: torch.device) -> bool:
    """Whether autocast is on for a device; torch knows none for "meta", and raises an error."""
    return bool(device.type != "meta" and torch.is_autocast_enabled(device.type))


def check_input(module: Any, data: Tensor, dtype: torch.dtype) -> None:
    """Check that the input, or a packed sequence's data, fits the weights, which hold `dtype`.

    Raises:
        ValueError: it has other features, or another dtype outside of autocast.
    """
    if data.shape[-1] != module.input_size:
        raise WrongShape(
            f"input must have {module.input_size} features (input_size), "
            f"not {data.shape[-1]} (shape {tuple(data.shape)})"
        )
    if data.dtype != dtype and not in_autocast(data.device):
        raise ValueError(f"input must hold {dtype}, the dtype of the weights, not {data.dtype}")


def no_tensor(input: Any) -> str:
    """The message for an input that is not a tensor: what it is, and how it becomes one."""
    how = ""
    if isinstance(input, Ragged):
        how = ": torch.nested.nested_tensor(list(input), layout=torch.jagged) makes one of it"
    elif isinstance(input, Masked):
        how = ": give torch.as_tensor(input.data), and mask=input.mask"
    elif isinstance(input, (list, tuple)):
        how = ": torch.nested.as_nested_tensor(rows, layout=torch.jagged) makes one of tensors"
    elif hasattr(input, "__array__"):
        how = ": torch.as_tensor(input) makes one of it"
    kind = type(input).__name__
    return f"input must be a Tensor, padded or jagged, or a PackedSequence, not {kind}{how}"


def in_dtype(dtype: torch.dtype, x: Tensor, states: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
    """The input and the states in the weights' dtype; they differ from it only under autocast."""
    if x.dtype == dtype and all(state.dtype == dtype for state in states):
        return x, states
    return x.to(dtype), [state.to(dtype) for state in states]


def check_weights(module: Any, weights: Sequence[Sequence[Tensor]]) -> None:
    """Check that the weights, which anybody may have replaced, are those that kernels expect.

    Raises:
        ValueError: one has another shape, dtype or device.
    """
    units, directions = module.hidden_size, 1 + module.bidirectional
    rows, first = CELLS[module.mode].gates * units, weights[0][0]
    for number, own in enumerate(weights):
        features = module.input_size if number < directions else directions * units
        expected = (rows, features), (rows, units), (rows,), (rows,)
        for i, weight in enumerate(own):
            if weight.shape != expected[i]:
                raise WrongShape(
                    f"{module._all_weights[number][i]} must have shape {expected[i]}, "
                    f"not {tuple(weight.shape)}"
                )
            if weight.dtype != first.dtype or weight.device != first.device:
                raise ValueError(
                    f"{module._all_weights[number][i]} must be {first.dtype} on {first.device} "
                    f"like {module._all_weights[0][0]}, not {weight.dtype} on {weight.device}"
                )


def states(module: Any, hx: Any, input: Tensor, batch: int, single: bool = False) -> list[Tensor]:
    """The initial states, (layers * directions, B, H) each; `single` for an input without batch.

    Raises:
        TypeError: an item is not a tensor.
        ValueError: there are too few or too many, or one does not fit the input.
    """
    count = CELLS[module.mode].states
    shape = module.num_layers * (1 + module.bidirectional), batch, module.hidden_size
    if hx is None:
        return [input.new_zeros(shape)] * count
    if count > 1 and not (isinstance(hx, (tuple, list)) and len(hx) == count):
        names = CELLS[module.mode].state_names
        many = "a pair of" if count == 2 else f"a tuple of {count}"
        what = f"{_described(hx)}{_hint(hx, input, module.batch_first, single)}"
        raise WrongShape(f"hx must be {many} tensors ({', '.join(names)}), not {what}")
    given = list(hx) if count > 1 else [hx]
    expected = (shape[0], shape[2]) if single else shape
    for state in given:
        if not isinstance(state, Tensor):
            what = "must hold tensors" if count > 1 else "must be a tensor"
            hint = _hint(hx, input, module.batch_first, single)
            raise TypeError(f"hx {what}, not {type(state).__name__}{hint}")
        if state.shape != expected:
            hint = _hint(hx, input, module.batch_first, single)
            raise WrongShape(f"hx must have shape {expected}, not {tuple(state.shape)}{hint}")
        if state.device != input.device:
            raise ValueError(f"hx must be on {input.device} like the input, not {state.device}")
        if state.dtype != input.dtype and not in_autocast(input.device):
            raise ValueError(f"hx must hold {input.dtype} like the input, not {state.dtype}")
    return [state.unsqueeze(1) for state in given] if single else given


def _described(hx: Any) -> str:
    if isinstance(hx, (tuple, list)):
        return f"{len(hx)} of them"
    if isinstance(hx, Tensor):
        return f"a tensor of shape {tuple(hx.shape)}"
    return type(hx).__name__


def _hint(hx: Any, input: Tensor, batch_first: bool, single: bool) -> str:
    """A hint if a mask, or lengths, were passed as the second argument, which is hx."""
    lengths = count_of_integers(hx) is not None
    if lengths and input.dim() == 2 and not single:  # the data of one of these
        return " (the second argument is hx: packed and jagged input has its lengths)"
    masks = {tuple(input.shape[:-1]), tuple(input.shape[-2::-1])}
    if lengths or isinstance(hx, Mask) or _is_bool(hx) or _shape_of(hx) in masks:
        hint = hint_of_lengths(hx, input, batch_first)
        return f" (the second argument is hx; a mask is given as mask=){hint}"
    return ""


def _is_bool(hx: Any) -> bool:
    return str(getattr(hx, "dtype", "")).endswith("bool")


def _shape_of(hx: Any) -> tuple[int, ...] | None:
    try:
        return tuple(np.shape(hx)) if isinstance(hx, (tuple, list)) else tuple(hx.shape)
    except (AttributeError, TypeError, ValueError, RuntimeError):  # the last one for tensors
        return None
