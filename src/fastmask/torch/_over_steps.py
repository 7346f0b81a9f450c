"""The call of a recurrent module: which inputs it takes, and how they get to the kernels."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

from . import _arguments
from ._arguments import in_autocast
from ._backend import why_not
from ._jagged import forward_jagged
from ._masks import batch_first_mask, outside_graph
from ._packed import packed, padded, rows_of
from ._recorders import leaf, needs_torch, refuse_transforms
from ._stack import plan_of

HOST = "cpu"  # where autocast leaves the modules in the dtype of their weights


class OverSteps(torch.nn.Module):
    """`forward` of a recurrent module; a subclass defines what is computed.

    Attributes:
        mode: the name of the cell, see `_cells.cell_of`.
        batch_first: whether input and output are (B, T, F) instead of (T, B, F).
    """

    mode: str
    batch_first: bool

    def _called(self) -> tuple[str, ...]:
        """The module's name in messages, and the name of the torch.nn class it replaces, if any."""
        raise NotImplementedError

    def _first_weight(self) -> Tensor:
        raise NotImplementedError

    def _run(self, x: Tensor, states: list[Tensor], plan: Any) -> tuple[Tensor, list[Tensor]]:
        """Compute on x (B, T, F); see `_stack.run_stack`."""
        raise NotImplementedError

    def _unknown(self) -> str:
        """Why kernels cannot compute this module; empty if they can."""
        return ""

    def _without_kernels(self, reason: str, input: Any, hx: Any, mask: Any) -> tuple[Any, Any]:
        """What `forward` returns if the kernels cannot compute it."""
        raise NotImplementedError

    # The mask may be positional, because torch's exporters pass all arguments so.
    def forward(
        self, input: Any, hx: Any = None, mask: Any = None, **unknown: Any
    ) -> tuple[Any, Any]:
        """Run the layers.

        Args:
            input: float32 or float64 as the weights: (T, B, F), with `batch_first` (B, T, F),
                (T, F) for one sequence, a PackedSequence, or a jagged nested tensor (B, j, F).
            hx: the initial states, (layers * directions, B, H), without B for one sequence: one
                tensor, for an LSTM a pair; zeros by default.
            mask: True or 1 where a step is valid, False or 0 elsewhere; a tensor or an array with
                the axes of `input`, (T, B), (B, T) or (T,), or a `fastmask.Mask`, always (B, T),
                whose plan is kept from call to call. All steps are valid by default.
            unknown: nothing; for an error that says what to pass.

        Returns:
            (output, hx) as torch.nn's modules return them; for a jagged tensor, one with the same
            offsets. At masked steps the output is zero, as `pad_packed_sequence` pads, and states
            do not change: hx is that of the last valid step.

        Raises:
            TypeError: the mask does not hold numbers; the input or hx is not a tensor; there is
                another argument.
            ValueError: the mask does not fit the input, or comes with a PackedSequence or a nested
                tensor; a nested tensor is not jagged, or its offsets do not fit its values; the
                input, hx or a weight has a wrong shape (then it is a RuntimeError, too, which
                torch.nn raises); the dtype of the input is not that of the weights, or that of hx
                not the input's.
        """
        sequences = isinstance(input, PackedSequence)
        nested = isinstance(input, Tensor) and input.is_nested
        if (sequences or nested) and mask is not None:
            kind = "nested tensor" if nested else "PackedSequence"
            raise ValueError(f"mask must be None for a {kind}, which has no masked steps")
        if not (sequences or isinstance(input, Tensor)):
            if isinstance(input, torch.fx.Proxy):
                overridden = type(self).forward is not OverSteps.forward
                recorded: tuple[Any, Any] = leaf(self, overridden, input, hx, mask)
                return recorded
            raise TypeError(_arguments.no_tensor(input))
        if unknown:
            raise TypeError(
                f"{self._called()[0]}.forward() got an unexpected keyword argument "
                f"{next(iter(unknown))!r}: it takes hx= and mask=, which is True or 1 where a step "
                "is valid (a key_padding_mask means the opposite)"
            )
        if not torch.compiler.is_compiling():
            refuse_transforms(*self._called())
        weight = self._first_weight()
        reason = self._why_not(input.data if sequences else input, weight)
        if nested:
            jagged: tuple[Any, Any] = outside_graph(forward_jagged)(self, input, hx, reason)
            return jagged
        if reason:
            return self._without_kernels(reason, input, hx, mask)
        if sequences:
            result: tuple[Any, Any] = outside_graph(self._forward_packed)(input, hx, weight.dtype)
            return result
        plain = mask is None or isinstance(mask, Tensor)
        run = self._forward_padded if plain else outside_graph(self._forward_padded)
        padded: tuple[Any, Any] = run(input, hx, mask, weight.dtype)
        return padded

    def _forward_padded(self, input: Tensor, hx: Any, mask: Any, dtype: Any) -> tuple[Tensor, Any]:
        dims = input.dim()
        if dims not in (2, 3):
            raise ValueError(f"input must have 2 or 3 axes, not {dims}")
        _arguments.check_input(self, input, dtype)
        single = dims == 2
        time_first = not (single or self.batch_first)
        known = batch_first_mask(mask, input, self.batch_first)
        x = input.unsqueeze(0) if single else input
        x = x.transpose(0, 1) if time_first else x
        states = _arguments.states(self, hx, input, x.shape[0], single)
        out, last = self._run(x, states, plan_of(known, x, mask))
        if single:
            return out.squeeze(0), self._as_hx([state.squeeze(1) for state in last])
        return out.transpose(0, 1) if time_first else out, self._as_hx(last)

    def _forward_packed(
        self, input: PackedSequence, hx: Any, dtype: Any
    ) -> tuple[PackedSequence, Any]:
        if input.data.dim() != 2:
            raise ValueError(f"input.data must have 2 axes, not {input.data.dim()}")
        _arguments.check_input(self, input.data, dtype)
        rows = rows_of(input.batch_sizes, input.data.device)
        states = _arguments.states(self, hx, input.data, rows.batch)
        if input.sorted_indices is not None:
            states = [state.index_select(1, input.sorted_indices) for state in states]
        out, last = self._run(padded(input.data, rows), states, rows.plan)
        if input.unsorted_indices is not None:
            last = [state.index_select(1, input.unsorted_indices) for state in last]
        return input._replace(data=packed(out, rows)), self._as_hx(last)

    def _as_hx(self, states: list[Tensor]) -> Any:
        return tuple(states) if len(states) > 1 else states[0]

    def _why_not(self, data: Tensor, weight: Tensor) -> str:
        """Why the kernels cannot compute this; empty if they can."""
        device = weight.device
        if data.device != device:
            raise ValueError(f"input must be on {device} like the weights, not on {data.device}")
        unknown = self._unknown()
        if unknown:
            return unknown
        if weight.dtype not in (torch.float32, torch.float64):
            return (
                f"kernels compute in float32 and float64, not in {weight.dtype}: call .float() on "
                "module and input"
            )
        if needs_torch():
            return "torch.jit and the ONNX exporter can only record torch.nn's operator"
        if device.type != HOST and in_autocast(device):
            return f"autocast on {device.type} asks for half precision"
        return why_not(device, self.mode)


OverSteps.forward.__qualname__ = "forward"  # for Python's own errors: users do not know OverSteps
