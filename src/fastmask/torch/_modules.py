"""LSTM, GRU and RNN: torch.nn's modules, over the valid steps alone."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

from .._checks import flag
from ._autograd import refuse_transforms
from ._cells import CELLS
from ._column import why_not
from ._fallback import by_torch
from ._layer import Keep
from ._masks import batch_first_mask, outside_graph
from ._packed import packed, padded, rows_of
from ._stack import plan_of, run_stack

_NO_PROJECTION = 0
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

    def forward(self, input: Any, hx: Any = None, *, mask: Any = None) -> tuple[Any, Any]:
        """Run the layers.

        Args:
            input: float32 or float64 as the weights: (T, B, F), with `batch_first` (B, T, F),
                (T, F) for one sequence, or a PackedSequence.
            hx: the initial states, (layers * directions, B, H), without B for one sequence: one
                tensor, for an LSTM a pair; zeros by default.
            mask: non-zero where a step is valid; a tensor or an array with the axes of `input`,
                (T, B), (B, T) or (T,), or a `fastmask.Mask`, always (B, T), whose plan is kept
                from call to call. All steps are valid by default.

        Returns:
            (output, hx) as torch.nn's modules return them. At masked steps the output is zero,
            as `pad_packed_sequence` pads, and states stand still: hx is that of the last
            valid step.

        Raises:
            TypeError: the mask does not hold numbers; the input or hx is no tensor.
            ValueError: the mask does not fit the input, or comes with a PackedSequence; the
                dtype of the input is not that of the weights, or that of hx not the input's.
            RuntimeError: the input or hx has a wrong shape.
        """
        sequences = isinstance(input, PackedSequence)
        if sequences and mask is not None:
            raise ValueError("mask must be None for a PackedSequence, which has no masked steps")
        if not (sequences or isinstance(input, Tensor)):
            kind = type(input).__name__
            raise TypeError(f"input must be a Tensor or a PackedSequence, not {kind}")
        if not torch.compiler.is_compiling():
            refuse_transforms(type(self).__name__)
        reason = self._why_not(input.data if sequences else input)
        if reason:
            return by_torch(self, self._original, reason, input, hx, mask)
        if sequences:
            result: tuple[Any, Any] = outside_graph(self._forward_packed)(input, hx)
            return result
        return self._forward_padded(input, hx, mask)

    def _forward_padded(self, input: Tensor, hx: Any, mask: Any) -> tuple[Tensor, Any]:
        dims = input.dim()
        if dims not in (2, 3):
            raise ValueError(f"input must have 2 or 3 axes, not {dims}")
        single = dims == 2
        time_first = not (single or self.batch_first)
        known = batch_first_mask(mask, input, self.batch_first)
        x = input.unsqueeze(0) if single else input
        x = x.transpose(0, 1) if time_first else x
        self.check_input(x, None)
        states = self._states(hx, x, x.shape[0], single)
        out, last = self._run(x, states, plan_of(known, x, mask))
        if single:
            return out.squeeze(0), self._as_hx([state.squeeze(1) for state in last])
        return out.transpose(0, 1) if time_first else out, self._as_hx(last)

    def _forward_packed(self, input: PackedSequence, hx: Any) -> tuple[PackedSequence, Any]:
        self.check_input(input.data, input.batch_sizes)
        rows = rows_of(input.batch_sizes, input.data.device)
        states = self._states(hx, input.data, rows.batch)
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
            plan,
            self.dropout if self.training else 0.0,
            self.zero_output_for_mask,
            Keep.STATES if self.recompute else Keep.GATES,
        )

    def _states(self, hx: Any, data: Tensor, batch: int, single: bool = False) -> list[Tensor]:
        """The initial states, (layers * directions, B, H) each."""
        count = CELLS[self.mode].states
        shape = self.num_layers * (1 + self.bidirectional), batch, self.hidden_size
        if hx is None:
            return [data.new_zeros(shape)] * count
        states = list(hx) if count > 1 else [hx]
        if len(states) != count:
            raise ValueError(f"hx must be a pair of tensors (h, c), not {len(states)} tensors")
        expected = (shape[0], shape[2]) if single else shape
        for state in states:
            if not isinstance(state, Tensor):
                raise TypeError(f"hx must hold tensors, not {type(state).__name__}")
            if state.shape != expected:
                raise RuntimeError(f"hx must have shape {expected}, not {tuple(state.shape)}")
            if state.device != data.device:
                raise ValueError(f"hx must be on {data.device} like the input, not {state.device}")
            if state.dtype != data.dtype and not _in_autocast(data.device):
                raise ValueError(f"hx must hold {data.dtype} like the input, not {state.dtype}")
        return [state.unsqueeze(1) for state in states] if single else states

    def _as_hx(self, states: list[Tensor]) -> Any:
        return tuple(states) if len(states) > 1 else states[0]

    def _why_not(self, data: Tensor) -> str:
        """Why the kernels cannot compute this; empty where they can."""
        weight = getattr(self, self._all_weights[0][0])
        device = weight.device
        if data.device != device:
            raise ValueError(f"input must be on {device} like the weights, not on {data.device}")
        if self.proj_size:
            return "kernels know no projections (proj_size)"
        if weight.dtype not in (torch.float32, torch.float64):
            return f"kernels compute in float32 and float64, not in {weight.dtype}"
        if device.type != HOST and _in_autocast(device):
            return f"autocast on {device.type} asks for half precision"
        return why_not(device)

    def extra_repr(self) -> str:
        """The arguments that are not the defaults."""
        ours = "recompute=True" if self.recompute else ""
        if not self.zero_output_for_mask:
            ours += (", " if ours else "") + "zero_output_for_mask=False"
        theirs: str = super().extra_repr()
        return f"{theirs}, {ours}" if ours else theirs


def _in_autocast(device: torch.device) -> bool:
    # torch knows none for "meta", and says so by an error.
    return bool(device.type != "meta" and torch.is_autocast_enabled(device.type))


class LSTM(Recurrent):
    """torch.nn.LSTM over the valid steps alone.

    The weights, their names and their initial values are those of torch.nn.LSTM.

    Args:
        input_size: F, the number of input features.
        hidden_size: H, the number of units.
        num_layers: how many layers stand on each other.
        bias: whether the layers have biases.
        batch_first: whether input and output are (B, T, F) instead of (T, B, F).
        dropout: rate of dropout from layer to layer, in training.
        bidirectional: whether each layer also reads from the end.
        proj_size: size of a projection of h; torch's own operator computes it, in the way of
            packed sequences where there is a mask.
        device: of the weights.
        dtype: of the weights.
        recompute: keep only the states for backward, and compute the gates again there: two
            numbers for each unit and valid step instead of six, for a little more time.
        zero_output_for_mask: whether the output at masked steps is zero; else it is the
            previous output, zero before the first valid step.

    Raises:
        TypeError: an argument has a wrong type.
        ValueError: an argument is out of its range.

    Source:
        `torch.nn.LSTM`.

    Examples:
        >>> import torch
        >>> from fastmask.torch import LSTM
        >>> lstm = LSTM(3, 5, batch_first=True)
        >>> mask = torch.tensor([[True, True, False], [True, True, True]])
        >>> output, (h, c) = lstm(torch.randn(2, 3, 3), mask=mask)
        >>> output.shape, bool(output[0, 2].any())
        (torch.Size([2, 3, 5]), False)
        >>> bool((h[0, 0] == output[0, 1]).all())
        True
    """

    _original = torch.nn.LSTM

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        device: Any = None,
        dtype: Any = None,
        *,
        recompute: bool = False,
        zero_output_for_mask: bool = True,
    ) -> None:
        super().__init__(
            "LSTM",
            input_size,
            hidden_size,
            num_layers,
            bias,
            batch_first,
            dropout,
            bidirectional,
            proj_size,
            device,
            dtype,
            recompute=recompute,
            zero_output_for_mask=zero_output_for_mask,
        )


class GRU(Recurrent):
    """torch.nn.GRU over the valid steps alone.

    The weights, their names and their initial values are those of torch.nn.GRU.

    Args:
        input_size: F, the number of input features.
        hidden_size: H, the number of units.
        num_layers: how many layers stand on each other.
        bias: whether the layers have biases.
        batch_first: whether input and output are (B, T, F) instead of (T, B, F).
        dropout: rate of dropout from layer to layer, in training.
        bidirectional: whether each layer also reads from the end.
        device: of the weights.
        dtype: of the weights.
        recompute: keep only the states for backward, and compute the gates again there.
        zero_output_for_mask: as in `LSTM`.

    Raises:
        TypeError: an argument has a wrong type.
        ValueError: an argument is out of its range.

    Source:
        `torch.nn.GRU`.

    Examples:
        >>> import torch
        >>> from fastmask.torch import GRU
        >>> output, h = GRU(3, 5)(torch.randn(4, 2, 3))
        >>> output.shape, h.shape
        (torch.Size([4, 2, 5]), torch.Size([1, 2, 5]))
    """

    _original = torch.nn.GRU

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: Any = None,
        dtype: Any = None,
        *,
        recompute: bool = False,
        zero_output_for_mask: bool = True,
    ) -> None:
        super().__init__(
            "GRU",
            input_size,
            hidden_size,
            num_layers,
            bias,
            batch_first,
            dropout,
            bidirectional,
            _NO_PROJECTION,
            device,
            dtype,
            recompute=recompute,
            zero_output_for_mask=zero_output_for_mask,
        )


class RNN(Recurrent):
    """torch.nn.RNN over the valid steps alone.

    The weights, their names and their initial values are those of torch.nn.RNN.

    Args:
        input_size: F, the number of input features.
        hidden_size: H, the number of units.
        num_layers: how many layers stand on each other.
        nonlinearity: "tanh" or "relu".
        bias: whether the layers have biases.
        batch_first: whether input and output are (B, T, F) instead of (T, B, F).
        dropout: rate of dropout from layer to layer, in training.
        bidirectional: whether each layer also reads from the end.
        device: of the weights.
        dtype: of the weights.
        recompute: taken for the sake of the others; here the states are all that is kept.
        zero_output_for_mask: as in `LSTM`.

    Raises:
        TypeError: an argument has a wrong type.
        ValueError: an argument is out of its range.

    Source:
        `torch.nn.RNN`.

    Examples:
        >>> import torch
        >>> from fastmask.torch import RNN
        >>> output, h = RNN(3, 5, nonlinearity="relu")(torch.randn(4, 3))
        >>> output.shape, h.shape
        (torch.Size([4, 5]), torch.Size([1, 5]))
    """

    _original = torch.nn.RNN

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        nonlinearity: str = "tanh",
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: Any = None,
        dtype: Any = None,
        *,
        recompute: bool = False,
        zero_output_for_mask: bool = True,
    ) -> None:
        if nonlinearity not in ("tanh", "relu"):
            raise ValueError(f"nonlinearity must be 'tanh' or 'relu', not {nonlinearity!r}")
        super().__init__(
            f"RNN_{nonlinearity.upper()}",
            input_size,
            hidden_size,
            num_layers,
            bias,
            batch_first,
            dropout,
            bidirectional,
            _NO_PROJECTION,
            device,
            dtype,
            recompute=recompute,
            zero_output_for_mask=zero_output_for_mask,
        )
        self.nonlinearity = nonlinearity
