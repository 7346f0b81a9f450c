"""What fastmask's LSTM, GRU and RNN have in common."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

from .._checks import flag
from . import _arguments
from ._arguments import in_autocast
from ._backend import why_not
from ._fallback import by_torch
from ._layer import Keep
from ._masks import batch_first_mask, outside_graph
from ._packed import packed, padded, rows_of
from ._recorders import leaf, needs_torch, refuse_transforms
from ._stack import plan_of, run_stack

HOST = "cpu"  # where autocast leaves the modules in the dtype of their weights


class Recurrent(torch.nn.RNNBase):
    """What the three modules have in common.

    The modules are no subclasses of torch.nn.LSTM, GRU and RNN, because torch.compile refuses
    to look into these.
    """

    # Of the class, for modules that `convert` made, which never saw our __init__.
    recompute = False
    zero_output_for_mask = True
    _original: Any  # the class of torch.nn

    def __init__(
        self, mode: str, *arguments: Any, recompute: bool, zero_output_for_mask: bool
    ) -> None:
        super().__init__(mode, *arguments)
        self.recompute = flag(recompute, "recompute")
        self.zero_output_for_mask = flag(zero_output_for_mask, "zero_output_for_mask")

    # The mask by position, too: exporters of torch give all that a signature has in this way.
    def forward(self, input: Any, hx: Any = None, mask: Any = None) -> tuple[Any, Any]:
        """Run the layers.

        Args:
            input: float32 or float64 as the weights: (T, B, F), with `batch_first` (B, T, F),
                (T, F) for one sequence, or a PackedSequence.
            hx: the initial states, (layers * directions, B, H), without B for one sequence: one
                tensor, for an LSTM a pair; zeros by default.
            mask: True or 1 where a step is valid, False or 0 elsewhere; a tensor or an array with
                the axes of `input`, (T, B), (B, T) or (T,), or a `fastmask.Mask`, always (B, T),
                whose plan is kept from call to call. All steps are valid by default.

        Returns:
            (output, hx) as torch.nn's modules return them. At masked steps the output is zero,
            as `pad_packed_sequence` pads, and states stand still: hx is that of the last
            valid step.

        Raises:
            TypeError: the mask does not hold numbers; the input or hx is no tensor.
            ValueError: the mask does not fit the input, or comes with a PackedSequence; the
                input, hx or a weight has a wrong shape (then it is a RuntimeError, too, which
                torch.nn raises); the dtype of the input is not that of the weights, or that of
                hx not the input's.
        """
        name = self._original.__name__
        sequences = isinstance(input, PackedSequence)
        if sequences and mask is not None:
            raise ValueError("mask must be None for a PackedSequence, which has no masked steps")
        if not (sequences or isinstance(input, Tensor)):
            if isinstance(input, torch.fx.Proxy):
                overridden = type(self).forward is not Recurrent.forward
                recorded: tuple[Any, Any] = leaf(self, overridden, input, hx, mask)
                return recorded
            kind = type(input).__name__
            raise TypeError(f"input must be a Tensor or a PackedSequence, not {kind}")
        if not torch.compiler.is_compiling():
            refuse_transforms(name)
        weight = getattr(self, self._all_weights[0][0])
        reason = self._why_not(input.data if sequences else input, weight)
        if reason:
            return by_torch(self, self._original, reason, input, hx, mask)
        if sequences:
            result: tuple[Any, Any] = outside_graph(self._forward_packed)(input, hx, weight.dtype)
            return result
        return self._forward_padded(input, hx, mask, weight.dtype)

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

    def _run(self, x: Tensor, states: list[Tensor], plan: Any) -> tuple[Tensor, list[Tensor]]:
        """The stack over x (B, T, F)."""
        weights = self.all_weights
        directions = 1 + self.bidirectional
        dtype = weights[0][0].dtype
        return run_stack(
            self.mode,
            x.to(dtype),  # another one only gets here under autocast
            [state.to(dtype) for state in states],
            [weights[i : i + directions] for i in range(0, len(weights), directions)],
            partial(_arguments.check_weights, self, weights),
            plan,
            self.dropout if self.training else 0.0,
            self.zero_output_for_mask,
            Keep.STATES if self.recompute else Keep.GATES,
        )

    def _as_hx(self, states: list[Tensor]) -> Any:
        return tuple(states) if len(states) > 1 else states[0]

    def _why_not(self, data: Tensor, weight: Tensor) -> str:
        """Why the kernels cannot compute this; empty where they can."""
        device = weight.device
        if data.device != device:
            raise ValueError(f"input must be on {device} like the weights, not on {data.device}")
        if self.proj_size:
            return "kernels know no projections (proj_size)"
        if weight.dtype not in (torch.float32, torch.float64):
            return f"kernels compute in float32 and float64, not in {weight.dtype}"
        if needs_torch():
            return "torch.jit and the ONNX exporter know torch.nn's operator alone"
        if device.type != HOST and in_autocast(device):
            return f"autocast on {device.type} asks for half precision"
        return why_not(device)

    def extra_repr(self) -> str:
        """The arguments that are not the defaults."""
        ours = "recompute=True" if self.recompute else ""
        if not self.zero_output_for_mask:
            ours += (", " if ours else "") + "zero_output_for_mask=False"
        theirs: str = super().extra_repr()
        return f"{theirs}, {ours}" if ours else theirs
