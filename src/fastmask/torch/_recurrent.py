"""What fastmask's LSTM, GRU and RNN have in common."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor

from .._checks import flag
from . import _arguments
from ._fallback import by_torch
from ._layer import Keep
from ._over_steps import OverSteps
from ._stack import run_stack


class Recurrent(OverSteps, torch.nn.RNNBase):
    """What the three modules have in common.

    The modules are not subclasses of torch.nn.LSTM, GRU and RNN, because torch.compile refuses
    to trace these.
    """

    # On the class, for modules that `convert` made, which never ran our __init__.
    recompute = False
    zero_output_for_mask = True
    _original: Any  # the class of torch.nn

    def __init__(
        self, mode: str, *, recompute: bool, zero_output_for_mask: bool, **options: Any
    ) -> None:
        super().__init__(mode, **options)
        self.recompute = flag(recompute, "recompute")
        self.zero_output_for_mask = flag(zero_output_for_mask, "zero_output_for_mask")

    def _called(self) -> tuple[str, ...]:
        return f"fastmask.torch.{self._original.__name__}", self._original.__name__

    def _first_weight(self) -> Tensor:
        weight: Tensor = getattr(self, self._all_weights[0][0])
        return weight

    def _unknown(self) -> str:
        size = self.proj_size
        return f"fastmask has no kernels for projections (proj_size={size})" if size else ""

    def _without_kernels(self, reason: str, input: Any, hx: Any, mask: Any) -> tuple[Any, Any]:
        return by_torch(self, self._original, reason, input, hx, mask)

    def _run(self, x: Tensor, states: list[Tensor], plan: Any) -> tuple[Tensor, list[Tensor]]:
        """The stack over x (B, T, F)."""
        weights = self.all_weights
        directions = 1 + self.bidirectional
        dtype = weights[0][0].dtype
        return run_stack(
            self.mode,
            *_arguments.in_dtype(dtype, x, states),
            [weights[i : i + directions] for i in range(0, len(weights), directions)],
            partial(_arguments.check_weights, self, weights),
            plan,
            self.dropout if self.training else 0.0,
            self.zero_output_for_mask,
            Keep.STATES if self.recompute else Keep.GATES,
        )

    def extra_repr(self) -> str:
        """The arguments that are not the defaults."""
        ours = "recompute=True" if self.recompute else ""
        if not self.zero_output_for_mask:
            ours += (", " if ours else "") + "zero_output_for_mask=False"
        theirs: str = super().extra_repr()
        return f"{theirs}, {ours}" if ours else theirs
