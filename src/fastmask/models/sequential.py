"""Models of layers called one after the other."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import pairwise
from operator import attrgetter
from typing import Any

from .._typing import Shape, Shapes
from ..layers import Layer
from ..layers._call_graph import Apply
from ..layers._infer import infer
from ..layers._shapes import fits
from ..layers._symbolic import Input, SymbolicTensor
from .config import serialize
from .folding import Edge
from .graph_model import GraphModel

_is_built = attrgetter("built")


class Sequential(GraphModel):
    """Layers called one after the other; the mask is passed along.

    Args:
        layers: the layers, to which `add` appends; `fastmask.Input` may come before them, and
            then each is built when it is added.
        name: see `Layer`.

    Raises:
        TypeError: an item is not a layer.
        ValueError: two layers have the same name.

    Source:
        Keras: `keras.Sequential`.

    Examples:
        >>> import fastmask as fm
        >>> model = fm.Sequential([
        ...     fm.layers.Embedding(5000, 16, mask_zero=True),
        ...     fm.layers.LSTM(32),
        ... ])
        >>> model([[711, 632, 71, 0], [73, 8, 3215, 55]]).shape
        (2, 32)
    """

    def __init__(
        self, layers: Iterable[Layer | SymbolicTensor] | None = None, *, name: str | None = None
    ) -> None:
        super().__init__(name=name)
        self._layers = []
        self._input_shape: Shape | None = None  # if it is known
        self._end: Any = None  # symbolic output of the last layer, if there is an `Input`
        if not isinstance(layers, (Iterable, type(None))):
            hint = ": put it into a list" if isinstance(layers, Layer) else ""
            raise TypeError(f"layers must be a list of layers, not {layers!r}{hint}")
        for layer in layers or ():
            self.add(layer)

    @property
    def built(self) -> bool:  # type: ignore[override]  # derived
        """Whether all layers have their weights."""
        return all(map(_is_built, self._layers))

    def add(self, layer: Layer | SymbolicTensor) -> None:
        """Append a layer.

        Args:
            layer: the layer; or, once, the input of the first layer, from `fastmask.Input`.

        Raises:
            TypeError: it is not a layer.
            ValueError: the model has a layer of that name, the layer contains this model, or it is
                a second `fastmask.Input`.
        """
        if isinstance(layer, SymbolicTensor) and layer.call is None:
            self._begin_with(layer)
            return
        if not isinstance(layer, Layer):
            given: Any = layer
            hint = ": make one of that class" if isinstance(given, type) else ""
            raise TypeError(f"layer must be a fastmask Layer, not {given!r}{hint}")
        if any(layer.name == other.name for other in self._layers):
            raise ValueError(f"layer must have a name of its own, but {layer.name!r} is taken")
        if any(inner is self for inner in layer._all_layers()):
            raise ValueError(
                f"layer {layer.name!r} cannot be put into {self.name!r}, which would contain itself"
            )
        if self._end is None and not self._layers and layer._first_shape is not None:
            self._begin_with(Input(layer._first_shape[1:]))
        if self._end is not None:
            self._end = infer(layer, self._end, {}).outputs
        self._layers.append(layer)
        self._tables = None

    def build(self, input_shape: Shape) -> None:
        """Make the weights of all layers.

        Args:
            input_shape: shape of the inputs, with None for sizes that may vary.

        Raises:
            ValueError: the model has been built for another shape, or has no layers.
        """
        self._check_not_empty()
        if self._input_shape is None:
            self._input_shape = tuple(input_shape)
        self._check_input_shape(input_shape)
        for layer in self._layers:
            layer.build(input_shape)
            input_shape = layer.compute_output_shape(input_shape)

    def compute_output_shape(self, input_shape: Shapes) -> Shapes:
        for layer in self._layers:
            input_shape = layer.compute_output_shape(input_shape)
        return input_shape

    def _begin_with(self, inputs: SymbolicTensor) -> None:
        if self._input_shape is not None:
            raise self._other_inputs(inputs.shape)
        self._input_shape, self._end = inputs.shape, inputs
        for layer in self._layers:
            self._end = infer(layer, self._end, {}).outputs

    def _check_input_shape(self, shape: Shape) -> None:
        self._check_not_empty()
        if self._input_shape is None:
            self._layers[0]._check_input_shape(shape)
        elif not fits(tuple(shape), self._input_shape):
            raise self._other_inputs(tuple(shape))

    def _other_inputs(self, shape: Shape) -> ValueError:
        return ValueError(
            f"model {self.name!r} has inputs of shape {self._input_shape} already, "
            f"so they cannot have shape {shape}"
        )

    def _check_not_empty(self) -> None:
        if not self._layers and self._input_shape is None:
            raise ValueError(f"model {self.name!r} has no layers: call model.add(layer) first")

    def _first_layers(self) -> list[Layer]:
        return self._layers[:1]

    def _layers_of_input(self, number: int) -> list[Layer]:  # noqa: ARG002 - there is one input
        return self._layers[:1]

    def _free_steps(self) -> bool:
        return self._input_shape is None  # its layers were built one by one

    def _edges(self) -> Iterator[Edge]:
        return pairwise((None, *self._layers, None))

    def _run_graph(self, inputs: object, apply: Apply) -> Any:
        self._check_not_empty()
        for layer in self._layers:
            inputs = apply(layer, inputs, {})
        return inputs

    def get_config(self) -> dict[str, Any]:
        return {"name": self.name, "layers": [serialize(layer) for layer in self._layers]}
