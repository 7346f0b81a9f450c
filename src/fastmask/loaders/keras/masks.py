"""Tell masks that Keras recorded as operations from masks that a user made.

Keras records the mask that a layer makes, `ids != 0` say, as operations of the model, and gives
it to each layer that it reaches. Here masks travel by themselves. So a recorded mask that is made
of the same comparisons as the one that arrives anyway is left out; any other one is computed.
"""

from __future__ import annotations

from typing import Any

from ...layers import AdditiveAttention, Attention, Embedding, Masking
from ...layers._calls import flat
from ...layers._operation import Operation
from ...layers._operations import WITH_MASK_OF
from ...layers._symbolic import SymbolicMask, SymbolicTensor

# A comparison: which tensor (its id), with what, and whether any feature counts.
Sources = frozenset[tuple[int, float, bool]]
_THROUGH = ("convert_to_tensor", "expand_dims", "cast", "logical_or", "concatenate", "any")
_EMPTY: Sources = frozenset()


class Comparisons:
    """Finds the comparisons that masks are made of; each tensor is looked at once."""

    def __init__(self) -> None:
        self._recorded: dict[int, Sources | None] = {}
        self._arriving: dict[int, Sources] = {}

    def agree(self, mask: SymbolicTensor, inputs: SymbolicTensor) -> bool:
        """Whether a recorded mask is the one that comes with the inputs anyway."""
        recorded = self.recorded(mask)
        return bool(recorded) and recorded == self.arriving(inputs)

    def recorded(self, mask: SymbolicTensor) -> Sources | None:
        """The comparisons in the operations that make a mask; None if they do anything else."""
        if id(mask) not in self._recorded:
            self._recorded[id(mask)] = self._of_operation(mask)
        return self._recorded[id(mask)]

    def arriving(self, tensor: SymbolicTensor) -> Sources:
        """The comparisons in the layers that make the mask of a tensor."""
        if id(tensor) not in self._arriving:
            self._arriving[id(tensor)] = self._of_layer(tensor)
        return self._arriving[id(tensor)]

    def _of_operation(self, mask: SymbolicTensor) -> Sources | None:
        call = mask.call
        if call is None or not isinstance(call.layer, Operation):
            return None
        name, inputs = call.layer.operation, flat(call.inputs)
        if name in ("zeros_like", "ones_like"):
            return _EMPTY
        if name == "not_equal":
            compared = call.layer.arguments[1:]
            plain = len(compared) == 1 and isinstance(compared[0], (int, float))
            return frozenset({(id(inputs[0]), float(compared[0]), False)}) if plain else None
        if name not in _THROUGH:
            return None
        found = [self.recorded(one) for one in inputs]
        if any(one is None for one in found):
            return None
        union = _EMPTY.union(*(one for one in found if one is not None))
        inner = inputs[0].call
        if (
            name == "any"
            and inner is not None
            and getattr(inner.layer, "operation", "") in ("not_equal",)
        ):
            return frozenset((tensor, value, True) for tensor, value, _ in union)
        return union

    def _of_layer(self, tensor: SymbolicTensor) -> Sources:
        call = tensor.call
        if not tensor.masked or call is None:
            return _EMPTY
        layer, inputs = call.layer, flat(call.inputs)
        if isinstance(layer, Embedding):
            return frozenset({(id(inputs[0]), 0.0, False)})
        if isinstance(layer, Masking):
            value: Any = layer.mask_value
            return frozenset({(id(inputs[0]), float(value), True)})
        given = call.options.get("mask")
        if isinstance(given, SymbolicTensor):
            return self.recorded(given) or _EMPTY
        if isinstance(given, SymbolicMask):
            inputs = [given.tensor]
        elif isinstance(layer, (Attention, AdditiveAttention)):
            inputs = inputs[:1]
        elif isinstance(layer, Operation) and layer.operation == WITH_MASK_OF:
            inputs = inputs[1:]
        return _EMPTY.union(*map(self.arriving, inputs))
