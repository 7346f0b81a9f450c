"""Models connected by calling layers on symbolic tensors."""

from __future__ import annotations

from collections.abc import Iterator
from operator import itemgetter
from typing import Any

import numpy as np

from .._checks import shown
from .._typing import Array, HasShape, Shapes
from ..backends.dispatch import as_array, is_array
from ..layers._apart import refused
from ..layers._base import BaseLayer
from ..layers._call_graph import Apply
from ..layers._calls import BY_NAME, one_by_one
from ..layers._infer import infer
from ..layers._shapes import is_shape, shapes
from ..layers._symbolic import SymbolicTensor
from ..layers._text import text_array
from ..masks.masked import Masked
from ..masks.ragged import Ragged
from . import graph as _graph
from .config import program_from_config, program_to_config
from .folding import Edge
from .graph import Program
from .graph_model import GraphModel
from .model import Model


class Functional(GraphModel):
    """The class of `Model(inputs, outputs)`; see `Model`."""

    built = True
    _input_keys: list[str] | None = None
    _output_keys: list[str] | None = None

    def __init__(self, inputs: Any, outputs: Any, name: str | None = None) -> None:
        self._connect(inputs, outputs, name)

    def _connect(self, inputs: Any, outputs: Any, name: str | None) -> None:
        super().__init__(name=name)
        if isinstance(inputs, dict):
            self._input_keys, inputs = _keys(inputs, "inputs"), list(inputs.values())
        if isinstance(outputs, dict):
            self._output_keys, outputs = _keys(outputs, "outputs"), list(outputs.values())
        each = list(inputs) if isinstance(inputs, (list, tuple)) else [inputs]
        outputs = list(outputs) if isinstance(outputs, tuple) else outputs
        self._take(_graph.program(each, outputs, self.name))

    def _take(self, program: Program) -> None:
        self._program = program
        self._layers = program.layers

    @property
    def input_names(self) -> list[str]:
        """The names of the inputs in order, by which a dict can hold them."""
        return list(self._input_keys or [one.name for one in self._program.inputs])

    @property
    def output_names(self) -> list[str]:
        """The names of the layers and operations that made the outputs, in order, as in Keras.

        An output that is an input has the name of the input. Outputs in a dict are in the order of
        their sorted keys, which may differ from the order of the dict.
        """
        return [name for _, name in sorted(self._keyed_makers(), key=itemgetter(0))]

    def _output_words(self) -> list[str]:
        return [key or name for key, name in self._keyed_makers()]

    def _keyed_makers(self) -> list[tuple[str, str]]:
        """For each output its key, empty without a dict, and the name of what made it."""
        the = self._program
        makers = _graph.makers(the)
        each = the.outputs if isinstance(the.outputs, list) else [the.outputs]
        keys = self._output_keys or [""] * len(each)
        return [
            (key, makers[slot.number])
            for key, ends in zip(keys, each, strict=True)
            for slot in _graph.slots_in(ends)
        ]

    def __call__(self, inputs: Any = BY_NAME, *args: Any, **kwargs: Any) -> Any:
        """Call the model; see `Layer`. Each of several inputs may be nested lists.

        Inputs may be passed by name in a dict; named outputs are returned in a dict.
        """
        return self._named(self._listed(inputs, *args, **kwargs))

    def _listed(self, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        named = kwargs.keys() - {"mask", "training"}
        if named and len(self._program.inputs) > 1 and named & set(self.input_names):
            raise one_by_one(f"model {self.name!r}", self.input_names)
        return super().__call__(self._each_array(self._in_order(inputs)), *args, **kwargs)

    def _check_in_one_list(self, inputs: object) -> None:
        count = len(self._program.inputs)
        listed = isinstance(inputs, (list, tuple)) and len(inputs) == count
        if count > 1 and not listed:
            raise one_by_one(f"model {self.name!r}", self.input_names)

    def _in_order(self, inputs: Any) -> Any:
        if not isinstance(inputs, dict):
            return inputs
        names = self.input_names
        if set(names) != set(inputs):
            given = ", ".join(map(repr, inputs))
            raise ValueError(
                f"inputs of model {self.name!r} must be {', '.join(map(repr, names))}, not {given}"
            )
        return inputs[names[0]] if len(names) == 1 else [inputs[name] for name in names]

    def _named(self, outputs: Any) -> Any:
        if not self._output_keys:
            return outputs
        each = outputs if isinstance(outputs, list) else [outputs]
        return dict(zip(self._output_keys, each, strict=True))

    def _each_array(self, inputs: object) -> Any:
        if len(self._program.inputs) == 1 or not isinstance(inputs, (list, tuple)):
            return inputs
        known = (Masked, Ragged, SymbolicTensor)
        return [
            one if isinstance(one, known) or is_array(one) else self._array(one, f"inputs[{i}]")
            for i, one in enumerate(inputs)
        ]

    def _array(self, value: Any, name: str) -> Array:
        return text_array(value, name) if self._takes_texts else as_array(value, name)

    def build(self, input_shape: Shapes | None = None) -> None:
        """Nothing: the layers were built when they were called."""

    def compute_output_shape(self, input_shape: Any) -> Shapes:
        given = [input_shape] if is_shape(input_shape) else list(input_shape)
        symbolic = [
            SymbolicTensor(shape, spec.dtype, spec.name)
            for shape, spec in zip(given, self._program.inputs, strict=False)
        ]
        symbolic += [SymbolicTensor(shape, "float32", "more") for shape in given[len(symbolic) :]]
        return shapes(infer(self, symbolic, {}).outputs)

    def _first_layers(self) -> list[BaseLayer]:
        given = range(len(self._program.inputs))
        steps = self._program.steps
        return [
            step.layer
            for step in steps
            if any(slot.number in given for slot in _graph.slots_in([step.inputs, step.options]))
        ]

    def _layers_of_input(self, number: int) -> list[BaseLayer]:
        return [
            step.layer
            for step in self._program.steps
            if any(slot.number == number for slot in _graph.slots_in(step.inputs))
        ]

    def _edges(self) -> Iterator[Edge]:
        maker = {number: step.layer for step in self._program.steps for number in step.outputs}
        for step in self._program.steps:
            for slot in _graph.slots_in(step.inputs):
                yield maker.get(slot.number), step.layer
            for slot in _graph.slots_in(step.options):
                if slot.part != "mask":
                    yield maker.get(slot.number), None
        for slot in _graph.slots_in(self._program.outputs):
            yield maker.get(slot.number), None

    def _run_graph(self, inputs: HasShape | list[HasShape], apply: Apply) -> Any:
        given = _graph.check_inputs(self._program, inputs, self.name)
        return _graph.execute(self._program, given, apply)

    def _call_ragged(self, inputs: Any, **kwargs: Any) -> Any:
        """Call the layers; see `GraphModel`. No layer can take attention scores of a `Ragged`.

        These have two axes of steps, so they are padded, and padding would look like steps.
        """
        given = inputs if isinstance(inputs, list) else [inputs]
        if any(type(one) is Ragged and (np.diff(one.lengths) != 0).any() for one in given):
            for step in self._program.steps:
                if step.options.get("return_attention_scores") and self._takes(step.outputs[1]):
                    raise refused(step.layer, "other layers take its scores, which are padded")
        return super()._call_ragged(inputs, **kwargs)

    def _takes(self, number: int) -> bool:
        """Whether a layer takes this value."""
        used = _graph.slots_in([[step.inputs, step.options] for step in self._program.steps])
        return any(slot.number == number for slot in used)

    def _input_count(self) -> int:
        return len(self._program.inputs)

    def _symbolic_inputs(self) -> list[SymbolicTensor]:
        pairs = zip(self._program.inputs, self.input_names, strict=True)
        return [SymbolicTensor(one.shape, one.dtype, name) for one, name in pairs]

    def _call_options(self) -> list[object]:
        return [value for step in self._program.steps for value in step.options.values()]

    def get_config(self) -> dict[str, Any]:
        keys = {"input_keys": self._input_keys, "output_keys": self._output_keys}
        named = {key: value for key, value in keys.items() if value}
        return {"name": self.name, **named, **program_to_config(self._program)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Any:
        """See `Layer`; the layers in `config` are `Layer` objects already."""
        config = dict(config)
        model = cls.__new__(cls)
        Model.__init__(model, name=config.pop("name", None))
        keys = config.pop("input_keys", None), config.pop("output_keys", None)
        model._take(program_from_config(config, model.name))
        outputs = model._program.outputs
        counts = len(model._program.inputs), len(outputs) if isinstance(outputs, list) else 1
        for names, count in zip(keys, counts, strict=True):
            if names is not None and not _are_keys(names, count):
                raise ValueError(
                    f"names of a model's inputs or outputs must be {count} texts, not "
                    f"{shown(names)}"
                )
        model._input_keys, model._output_keys = keys
        return model


def _keys(ends: dict[Any, Any], kind: str) -> list[str]:
    """The names of a model's inputs or outputs.

    Raises:
        TypeError: they are not texts.
    """
    names = list(ends)
    if not _are_keys(names, len(names)):
        raise TypeError(f"names of {kind} must be texts, not {shown(names)}")
    return names


def _are_keys(names: object, count: int) -> bool:
    if not isinstance(names, list) or not all(isinstance(one, str) for one in names):
        return False
    return len(set(names)) == len(names) == count


Model._functional = Functional
