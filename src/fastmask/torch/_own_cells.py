"""`Recurrent`: the cells of `fastmask.cell` as modules."""

from __future__ import annotations

from typing import Any, NoReturn

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from .._checks import flag, refuse_unknown, whole_number
from ..cells import Cell
from ..layers._own_cell import OwnCell
from ..masks.mask import Mask
from . import _arguments
from ._arguments import WrongShape
from ._cells import CELLS, FormulaTorchCell, cell_of
from ._formula import by_formula
from ._layer import Keep
from ._masks import batch_first_mask, valid_tensor
from ._over_steps import OverSteps
from ._recorders import needs_torch
from ._stack import run_stack
from ._warnings import warn_once

_SUFFIXES = ("", "_reverse")  # of the parameters of the two directions
_ONE = "Recurrent is one layer without dropout: stack modules, with torch.nn.Dropout between them"
_INSTEAD = {"layer": _ONE, "dropout": _ONE}


class Recurrent(OverSteps):
    """A cell of `fastmask.cell` over the valid steps, in one direction or in both.

    It is one layer without dropout: stack modules for more.

    Parameters are named and shaped as the weights of `fastmask.layers.RNN(cell(hidden_size))`,
    and in their order: `kernel` (F, kH), `recurrent_kernel` (H, kH) unless no sum has a part of h,
    `bias` (k H,), and the vectors (H,) by their names. Those of the second direction end in
    `_reverse`.

    Args:
        cell: what `fastmask.cell` made, or one of `fastmask.cells`.
        input_size: F, the number of input features.
        hidden_size: H, the number of units.
        bias: whether there is a bias.
        batch_first: whether input and output are (B, T, F) instead of (T, B, F).
        bidirectional: whether sequences are read from the end, too, with weights of their own.
        device: device of the weights.
        dtype: dtype of the weights.
        recompute: keep only the states for backward, and compute the rest again there.
        zero_output_for_mask: whether the output at masked steps is zero; else it is the previous
            output, zero before the first valid step.
        **unknown: nothing; for an error that says how to get several layers, or dropout.

    Raises:
        TypeError: an argument has a wrong type; there is another argument.
        ValueError: an argument is out of its range, or a vector has the name of an attribute of
            modules.

    Examples:
        >>> import torch
        >>> import fastmask as fm
        >>> from fastmask.torch import Recurrent
        >>> module = Recurrent(fm.cells.peephole_lstm, 3, 5, batch_first=True)
        >>> [name for name, _ in module.named_parameters()]
        ['kernel', 'recurrent_kernel', 'bias', 'p_i', 'p_f', 'p_o']
        >>> mask = torch.tensor([[True, True, False], [True, True, True]])
        >>> output, (h, c) = module(torch.randn(2, 3, 3), mask=mask)
        >>> output.shape, bool(output[0, 2].any()), h.shape
        (torch.Size([2, 3, 5]), False, torch.Size([1, 2, 5]))
    """

    num_layers = 1

    def __init__(
        self,
        cell: Cell,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        batch_first: bool = False,
        bidirectional: bool = False,
        device: Any = None,
        dtype: Any = None,
        *,
        recompute: bool = False,
        zero_output_for_mask: bool = True,
        **unknown: NoReturn,
    ) -> None:
        super().__init__()
        refuse_unknown(unknown, Recurrent.__init__, _INSTEAD)
        if isinstance(cell, OwnCell):
            name = cell._cell.name
            raise TypeError(f"cell must be {name} itself, not {cell!r} with units (hidden_size)")
        if not isinstance(cell, Cell):
            raise TypeError(f"cell must be made by fastmask.cell, not {cell!r}")
        cell_of(cell.key)
        self.cell, self.mode = cell, cell.key
        self.input_size = whole_number(input_size, "input_size", 0)
        self.hidden_size = whole_number(hidden_size, "hidden_size", 1)
        self.batch_first = flag(batch_first, "batch_first")
        self.bidirectional = flag(bidirectional, "bidirectional")
        self.recompute = flag(recompute, "recompute")
        self.zero_output_for_mask = flag(zero_output_for_mask, "zero_output_for_mask")
        shapes = self._shapes(flag(bias, "bias"))
        self._names = [[n + end for n in shapes] for end in _SUFFIXES[: 1 + self.bidirectional]]
        for own in self._names:
            for name, shape in zip(own, shapes.values(), strict=True):
                if hasattr(self, name):
                    raise ValueError(f"cell {cell.name} has a vector {name}, which modules have")
                value = torch.empty(shape, device=device, dtype=dtype)
                self.register_parameter(name, torch.nn.Parameter(value))
            if not bias:
                self.register_parameter(own[0].replace("kernel", "bias"), None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Initial values: uniform up to 1 / sqrt(H), or those that the formula has for vectors."""
        bound = self.hidden_size**-0.5
        with torch.no_grad():
            for own in self._names:
                for name, plain in zip(own, self._names[0], strict=True):
                    first = self.cell.first_values.get(plain)
                    weight = getattr(self, name)
                    if first is None:
                        weight.uniform_(-bound, bound)
                    else:
                        weight.fill_(first)

    def _shapes(self, bias: bool) -> dict[str, tuple[int, ...]]:
        """The parameters of one direction."""
        cell, units = self.cell, self.hidden_size
        shapes: dict[str, tuple[int, ...]] = {
            "kernel": (self.input_size, len(cell.inputs) * units),
            "recurrent_kernel": (units, len(cell.recurrents) * units),
            "bias": (len(cell.sums) * units,),
        }
        if not cell.recurrents:
            del shapes["recurrent_kernel"]
        if not bias:
            del shapes["bias"]
        return shapes | dict.fromkeys(cell.vectors, (units,))

    def _weights(self) -> list[list[Tensor]]:
        """The parameters of each direction."""
        return [[getattr(self, name) for name in own] for own in self._names]

    def _first_weight(self) -> Tensor:
        weight: Tensor = self.kernel
        return weight

    def _called(self) -> tuple[str, ...]:
        return ("fastmask.torch.Recurrent",)

    def _run(self, x: Tensor, states: list[Tensor], plan: Any) -> tuple[Tensor, list[Tensor]]:
        weights, dtype = self._weights(), self.kernel.dtype
        return run_stack(
            self.mode,
            *_arguments.in_dtype(dtype, x, states),
            [weights],
            self._check_weights,
            plan,
            0.0,
            self.zero_output_for_mask,
            Keep.STATES if self.recompute else Keep.GATES,
        )

    def _check_weights(self) -> None:
        """Check the parameters, which anybody may have replaced."""
        shapes, first = list(self._shapes(self.bias is not None).values()), self.kernel
        for own in self._names:
            for name, shape in zip(own, shapes, strict=True):
                weight = getattr(self, name)
                if weight.shape != shape:
                    raise WrongShape(f"{name} must have shape {shape}, not {tuple(weight.shape)}")
                if weight.dtype != first.dtype or weight.device != first.device:
                    raise ValueError(
                        f"{name} must be {first.dtype} on {first.device} like kernel, "
                        f"not {weight.dtype} on {weight.device}"
                    )

    def _without_kernels(self, reason: str, input: Any, hx: Any, mask: Any) -> tuple[Any, Any]:
        """Compute the formula with torch's own operators."""
        if needs_torch():
            raise NotImplementedError(
                "fastmask.torch.Recurrent cannot be recorded by torch.jit or exported to ONNX, "
                "which have no operator for its cell: use torch.export"
            )
        warn_once(
            self,
            f"fastmask.torch.Recurrent runs the formula of {self.cell.name} step by step with "
            "torch's operators here, which is slow",
            reason,
        )
        if not isinstance(input, PackedSequence):
            return self._by_formula(input, hx, mask)
        x, lengths = pad_packed_sequence(input, batch_first=self.batch_first)
        time = x.shape[1 if self.batch_first else 0]
        out, last = self._by_formula(x, hx, Mask.from_lengths(lengths.numpy(), time))
        unsorted = input.sorted_indices is not None
        return pack_padded_sequence(out, lengths, self.batch_first, not unsorted), last

    def _by_formula(self, input: Tensor, hx: Any, mask: Any) -> tuple[Any, Any]:
        single, cell = input.dim() == 2, CELLS[self.mode]
        assert isinstance(cell, FormulaTorchCell)
        known = batch_first_mask(mask, input, self.batch_first)
        turned = not (single or self.batch_first)
        x = input.unsqueeze(0) if single else input.transpose(0, 1) if turned else input
        states = _arguments.states(self, hx, input, len(x), single)
        valid = None if known is None else valid_tensor(known, x.device)
        out, last = by_formula(cell, x, states, self._weights(), valid, self.zero_output_for_mask)
        if single:
            return out.squeeze(0), self._as_hx([state.squeeze(1) for state in last])
        return out.transpose(0, 1) if turned else out, self._as_hx(last)

    def extra_repr(self) -> str:
        """The arguments that are not the defaults."""
        told = [self.cell.name, str(self.input_size), str(self.hidden_size)]
        told += ["bias=False"] if self.bias is None else []
        for name in ("batch_first", "bidirectional", "recompute"):
            told += [f"{name}=True"] if getattr(self, name) else []
        told += [] if self.zero_output_for_mask else ["zero_output_for_mask=False"]
        return ", ".join(told)
