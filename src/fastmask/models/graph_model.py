"""What `Sequential` and `Model(inputs, outputs)` share."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from .._typing import Array
from ..layers import Embedding, Layer, Masking
from ..layers._base import BaseLayer
from ..layers._call_graph import CallGraph
from ..layers._calls import flat
from ..layers._hooks import hooked
from ..layers._layer import is_frozen
from ..layers._looked_up import by_number
from ..layers._symbolic import SymbolicTensor
from ..layers._types import Arrays, BoolArrays
from ..masks.masked import Masked
from .folding import Edge, is_folded, tables_of
from .model import Model
from .summary import symbolic_inputs


class GraphModel(CallGraph, Model):
    """Base of the models that know the calls of the layers inside them."""

    _way = "own"
    supports_masking = True
    _takes_gpu = True

    _layers: list[Layer]
    _tables: dict[str, int] | None = None  # see `tables_of`; None before they are known
    _last_inputs: Sequence[SymbolicTensor] = ()

    @property
    def layers(self) -> list[Layer]:
        """The layers in order; in a graph, those farthest from the outputs first, as in Keras."""
        return list(self._layers)

    @property
    def inputs(self) -> list[SymbolicTensor]:
        """The inputs in order, with name, shape and dtype; none before the model is built."""
        known = symbolic_inputs(self)
        inputs = [] if known is None else flat(known)
        if list(map(_described, inputs)) != list(map(_described, self._last_inputs)):
            self._last_inputs = tuple(inputs)
        return list(self._last_inputs)  # those of the last access, so that calls connect

    def _inner_layers(self) -> list[Layer]:
        return self._layers

    def call(self, inputs: Arrays, mask: BoolArrays = None) -> Any:
        """Call the layers; see the class."""
        if self._tables is None:
            self._tables = tables_of(self._edges())
        apply = self._call_folded if self._tables and is_frozen() else _call
        return self._run_graph(inputs if mask is None else with_mask(inputs, mask), apply)

    def _call_ragged(self, inputs: Any, **kwargs: Any) -> Any:
        """Call the layers, each of which handles a `Ragged` in its own way; see `_ragged`."""
        return self.call(inputs, **kwargs)

    def _call_folded(self, layer: BaseLayer, inputs: Any, options: dict[str, Any]) -> Any:
        assert self._tables is not None
        if not is_folded(self._tables.get(layer.name)):
            return layer(inputs, **options)
        with by_number():
            return layer(inputs, **options)

    def _folded(self) -> list[str]:
        return [name for name, size in tables_of(self._edges()).items() if is_folded(size)]

    def _edges(self) -> Iterator[Edge]:
        """Pairs of a layer and one that uses its outputs; see `Edge`."""
        raise NotImplementedError

    @property
    def _takes_texts(self) -> bool:  # type: ignore[override]  # derived
        return any(layer._takes_texts for layer in self._first_layers())

    def _first_layers(self) -> Sequence[BaseLayer]:
        """The layers that are called on the inputs."""
        raise NotImplementedError

    def _explicit(self, mask: Any, inputs: Any) -> Any:
        return super()._explicit(self._readable(mask), inputs)

    def _readable(self, mask: object) -> Any:
        """The mask; if all first layers ignore it, numbers from 0 to 1 are accepted.

        Keras's guide passes random numbers to such a model, which are never used.
        """
        if type(mask) is not np.ndarray or not all(map(_ignores_masks, self._first_layers())):
            return mask
        shares = mask.dtype.kind == "f" and bool(((mask >= 0) & (mask <= 1)).all())
        return mask != 0 if shares else mask

    def compute_mask(self, inputs: Arrays, mask: BoolArrays = None) -> Any:
        """The masks of the outputs, found by computing the outputs."""
        with hooked(None):  # hooks should not see these calls
            outputs = self(inputs, mask=mask)
        if isinstance(outputs, (list, tuple)):
            return [one.mask.valid if isinstance(one, Masked) else None for one in outputs]
        return outputs.mask.valid if isinstance(outputs, Masked) else None

    def _carry(self, outputs: Any, *_: object) -> Any:
        return outputs  # the layers have set the masks

    def _build_for(self, inputs: object, options: dict[str, Any]) -> None:
        """Nothing: each layer is built when it is called."""

    def _note_built(self, input_shape: object) -> None:
        """Nothing: each layer remembers its own shape."""


def _described(symbol: SymbolicTensor) -> tuple[object, ...]:
    return symbol.shape, symbol.dtype, symbol.name


def _ignores_masks(layer: BaseLayer) -> bool:
    return isinstance(layer, Masking) or (isinstance(layer, Embedding) and layer.mask_zero)


def with_mask(inputs: Arrays, mask: Any) -> Masked | list[Array | Masked]:
    """Join the inputs of a layer with their masks, which its call had separated."""
    if not isinstance(inputs, list):
        return Masked(inputs, mask)
    return [
        array if one is None else Masked(array, one)
        for array, one in zip(inputs, mask, strict=True)
    ]


def _call(layer: BaseLayer, inputs: Any, options: dict[str, Any]) -> Any:
    return layer(inputs, **options)
