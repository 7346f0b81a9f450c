"""Which layers of a model need padding where their rows differ in length, and why.

Only layers and operations without weights are tried, on zeros, so that nothing is compiled.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..layers._base import BaseLayer
from ..layers._call_graph import CallGraph
from ..layers._calls import flat
from ..layers._hooks import hooked
from ..layers._infer import SIZES, explicitly_masked, infer
from ..layers._lost_mask import without_warnings
from ..layers._operation import Operation
from ..layers._ragged import reason_of
from ..layers._symbolic import SymbolicTensor, Symbols
from ..masks.ragged import Ragged
from .summary import run_symbolic, symbolic_inputs
from .taken import taken


def padding_reasons(model: BaseLayer) -> list[str]:
    """Why the model's inputs must be padded, for each layer that needs it; empty if none does."""
    inputs = symbolic_inputs(model)
    ragged = _Followed()
    for spec, one in zip(flat(inputs) if inputs is not None else [], taken(model), strict=False):
        if one.sequences and one.steps is None:
            ragged.add(spec)
    if inputs is not None and ragged.tensors:
        with without_warnings(), hooked(None):
            run_symbolic(model, inputs, ragged.apply)
    return list(dict.fromkeys(ragged.reasons))


class _Followed:
    """Follows the tensors that are a `Ragged` if the inputs of a model are."""

    def __init__(self) -> None:
        self.tensors: dict[int, SymbolicTensor] = {}  # by their ids
        self.padded: dict[int, SymbolicTensor] = {}  # those after a layer that needs padding
        self.reasons: list[str] = []

    def add(self, tensor: SymbolicTensor) -> None:
        self.tensors[id(tensor)] = tensor

    def apply(self, layer: BaseLayer, inputs: Symbols, options: dict[str, Any]) -> Any:
        """What the layer makes of symbolic tensors; note why it cannot take a `Ragged`."""
        if isinstance(layer, CallGraph):
            given = explicitly_masked(layer, inputs, options.get("mask"))
            for before, after in zip(flat(inputs), flat(given), strict=True):
                if id(before) in self.tensors:
                    self.add(after)
            return layer._run_graph(given, self.apply)
        outputs = infer(layer, inputs, options).outputs
        padded = any(id(one) in self.padded for one in flat(inputs))
        if not padded and (why := self._why(layer, inputs)):
            self.reasons.append(why)
            padded = True
        for one in flat(outputs):
            if padded:
                self.padded[id(one)] = one
            elif self._is_ragged(inputs) and len(one.shape) > 1 and one.shape[1] is None:
                self.add(one)
        return outputs

    def _is_ragged(self, inputs: Symbols) -> bool:
        return any(id(one) in self.tensors for one in flat(inputs))

    def _why(self, layer: BaseLayer, inputs: Symbols) -> str:
        """What a layer says of a `Ragged`; empty if it takes it, gets none, or has weights."""
        axes = next((len(one.shape) for one in flat(inputs) if id(one) in self.tensors), None)
        if axes is None:
            return ""
        first = getattr(layer, "data_format", None) == "channels_first"
        way = "none" if first else layer._ragged_way(axes)
        if way not in ("none", "apart") and not isinstance(layer, Operation):
            return ""
        each = [self._zeros(one) for one in flat(inputs)]
        try:
            layer(each if isinstance(inputs, list) else each[0])
        except (TypeError, ValueError) as error:
            return reason_of(error)
        return ""

    def _zeros(self, tensor: SymbolicTensor) -> Any:
        """Two rows, of different lengths if it is a `Ragged`."""
        shape = [SIZES[0] if size is None else size for size in tensor.shape]
        if id(tensor) not in self.tensors:
            return np.zeros((len(SIZES), *shape[1:]), tensor.dtype)
        return Ragged(np.zeros((sum(SIZES), *shape[2:]), tensor.dtype), np.cumsum([0, *SIZES]))
