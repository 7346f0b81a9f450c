"""What each input of a model takes: sequences or single values, numbers or texts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from .._typing import Shape
from ..layers import Embedding
from ..layers._base import BaseLayer
from ..layers._call_graph import CallGraph
from ..layers._calls import flat
from ..layers._symbolic import SymbolicTensor
from .summary import symbolic_inputs


class Taken(NamedTuple):
    """What one input of a model takes."""

    name: str
    shape: Shape  # with the batch
    sequences: bool  # whether the values are sequences of steps, whose number may vary
    steps: int | None  # number of steps that the model needs; None for any
    texts: bool  # whether they are texts, or sequences of these
    free: bool  # whether it may take other shapes than the one it was built with
    ids: str  # the layer that looks them up, if they are ids; else empty

    @property
    def single(self) -> bool:
        """Whether a row is one number or text, by the shape."""
        return not self.sequences and self.shape[1:] in ((), (1,))


def taken(model: BaseLayer) -> list[Taken]:
    """What each input takes; none if the model is not built."""
    known = symbolic_inputs(model)
    free = isinstance(model, CallGraph) and model._free_steps()
    return [
        _of_input(one, layers_of(model, number), free)
        for number, one in enumerate([] if known is None else flat(known))
    ]


def _of_input(spec: SymbolicTensor, layers: Sequence[BaseLayer], free: bool) -> Taken:
    """An input that goes to these layers; `free` if it may have any number of steps."""
    shape, texts = spec.shape, any(layer._takes_texts for layer in layers)
    ids = ids_layer(layers)
    sequences = len(shape) > 2 or (len(shape) == 2 and (shape[1] is None or ids is not None))
    steps = shape[1] if sequences and not free else None
    return Taken(spec.name, shape, sequences, steps, texts, free, ids.name if ids else "")


def padding_of(model: BaseLayer, number: int) -> float:
    """What the sequences of an input are padded with; the model may not be built."""
    return _padding(layers_of(model, number))


def _padding(layers: Sequence[BaseLayer]) -> float:
    """The value of a `Masking` that the input goes to, which reads no other mask; else 0."""
    for layer in layers:
        value = layer._value_it_masks() or 0.0
        if isinstance(layer, CallGraph):
            value = _padding(layer._layers_of_input(0))
        if value != 0.0:
            return value
    return 0.0


def ids_layer(layers: Sequence[BaseLayer]) -> Embedding | None:
    """The embedding among the layers of an input, also inside a model."""
    for layer in layers:
        inner = ids_layer(layer._layers_of_input(0)) if isinstance(layer, CallGraph) else layer
        if isinstance(inner, Embedding):
            return inner
    return None


def layers_of(model: BaseLayer, number: int) -> Sequence[BaseLayer]:
    """The layers that an input goes to."""
    return model._layers_of_input(number) if isinstance(model, CallGraph) else [model]
