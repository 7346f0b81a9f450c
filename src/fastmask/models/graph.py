"""Programs made from symbolic tensors: the calls of layers in order of execution.

A program refers to values by number, inputs first, then the outputs of each step. So it holds
no symbolic tensors, can be copied and pickled however deep it is, and drops each value after
the step that needs it last.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Literal, NamedTuple, cast

import numpy as np

from .._typing import HasShape, Shape
from ..backends.host import rows_hint
from ..layers import Layer
from ..layers._base import BaseLayer
from ..layers._call_graph import Apply
from ..layers._calls import flat
from ..layers._operation import Operation
from ..layers._operations import OF_MASKS
from ..layers._shapes import fits
from ..layers._symbolic import Call, SymbolicMask, SymbolicTensor, Symbols
from ..masks.masked import Masked


class Slot(NamedTuple):
    """A value in a program, or a part of it."""

    number: int
    part: Literal["value", "mask", "data"]


class InputSpec(NamedTuple):
    """What an input of a model must look like."""

    name: str
    shape: Shape
    dtype: np.dtype[Any]


class Step(NamedTuple):
    """One call of a layer."""

    layer: BaseLayer
    inputs: Any  # a slot or a list of slots
    options: dict[str, Any]  # further arguments, with slots in them
    outputs: tuple[int, ...]  # numbers of the values that it makes


class Program(NamedTuple):
    """A model's inputs, its layers in Keras's order, steps, and the slots of its outputs."""

    inputs: list[InputSpec]
    layers: list[Layer]
    steps: list[Step]
    outputs: Any
    last_use: list[list[int]]  # for each step the values that no later one needs


def program(inputs: Sequence[SymbolicTensor], outputs: Symbols | None, name: str) -> Program:
    """The program that computes the outputs from the inputs.

    Raises:
        TypeError: one of them is not a symbolic tensor.
        ValueError: they are not connected, form a cycle, or use a name twice.
    """
    for kind, values in (("inputs", inputs), ("outputs", flat(outputs))):
        for value in values:
            if not isinstance(value, SymbolicTensor):
                raise TypeError(
                    f"{kind} of model {name!r} must be symbolic tensors, made by fastmask.Input "
                    f"and by calling layers on it, not {type(value).__name__}"
                )
        if not values:
            raise ValueError(f"model {name!r} must have {kind}")
    _all_different([one.name for one in inputs if one.call is None], "inputs", name)
    if len(set(map(id, inputs))) < len(inputs):
        raise ValueError(f"model {name!r} has the same input twice")
    calls, seen = _calls_between(inputs, flat(outputs), name)
    used = {id(one) for call in calls for one in call.parents()} | {id(o) for o in flat(outputs)}
    for number, one in enumerate(inputs):
        if id(one) not in used:
            raise ValueError(
                f"the graph of model {name!r} is not connected: no output needs "
                f"input {number} ({one.name!r})"
            )
    numbers = {id(one): number for number, one in enumerate(inputs)}
    for call in calls:
        for one in call.outputs:
            numbers.setdefault(id(one), len(numbers))
    steps = [
        Step(
            call.layer,
            _slots(call.inputs, numbers),
            {key: _slots(value, numbers, _is_mask(key)) for key, value in call.options.items()},
            tuple(numbers[id(one)] for one in call.outputs),
        )
        for call in calls
    ]
    specs = [InputSpec(one.name, one.shape, one.dtype) for one in inputs]
    return assemble(specs, seen, steps, _slots(outputs, numbers), name)


def assemble(
    inputs: list[InputSpec], layers: list[Layer], steps: list[Step], outputs: object, name: str
) -> Program:
    """Make a program of steps that use only values made before them.

    Raises:
        ValueError: two layers have the same name.
    """
    _all_different([layer.name for layer in layers], "layers", name)
    last: dict[int, int] = {}
    for number, step in enumerate(steps):
        last.update(dict.fromkeys(step.outputs, number))
        last.update({slot.number: number for slot in slots_in((step.inputs, step.options))})
    kept = {slot.number for slot in slots_in(outputs)}
    last_use: list[list[int]] = [[] for _ in steps]
    for value, number in last.items():
        if value not in kept:
            last_use[number].append(value)
    return Program(inputs, layers, steps, outputs, last_use)


def execute(the: Program, inputs: Sequence[object], apply: Apply) -> Any:
    """Run the steps in order, each by `apply(layer, inputs, options)`.

    Raises:
        ValueError: a layer returns another number of outputs than when the model was made.
    """
    values: dict[int, Any] = dict(enumerate(inputs))
    for step, dead in zip(the.steps, the.last_use, strict=True):
        options = {key: _fill(value, values) for key, value in step.options.items()}
        results = apply(step.layer, _fill(step.inputs, values), options)
        each = list(results.values()) if isinstance(results, dict) else flat(results)
        if len(each) != len(step.outputs):
            raise ValueError(
                f"layer {step.layer.name!r} must return {len(step.outputs)} outputs, as when "
                f"the model was made, not {len(each)}"
            )
        values.update(zip(step.outputs, each, strict=True))
        for number in dead:
            del values[number]
    return _fill(the.outputs, values)


def check_inputs(the: Program, inputs: HasShape | list[HasShape], name: str) -> list[HasShape]:
    """The inputs as a list; a last axis of size 1 is added or removed if necessary, as in Keras.

    Raises:
        ValueError: their number or a shape is wrong.
    """
    wanted = the.inputs
    given = inputs if isinstance(inputs, list) else [inputs]
    if len(given) != len(wanted):
        names = ", ".join(repr(one.name) for one in wanted)
        count = "1 input" if len(wanted) == 1 else f"a list of {len(wanted)} inputs"
        hint = rows_hint(given) if len(wanted) == 1 else ""
        raise ValueError(f"model {name!r} takes {count} ({names}), not {len(given)}{hint}")
    for number, spec in enumerate(wanted):
        one = given[number]
        if not fits(tuple(one.shape), spec.shape):
            if (fitting := _with_other_axes(one, spec.shape)) is not None:
                given = [*given[:number], fitting, *given[number + 1 :]]
                continue
            raise ValueError(
                f"input {spec.name!r} of model {name!r} must have shape {spec.shape}, "
                f"not {tuple(one.shape)}"
            )
    return given


def _with_other_axes(array: HasShape, wanted: Shape) -> HasShape | None:
    """A NumPy array with a last axis of size 1 added or removed, if it then fits, or None."""
    if not isinstance(array, np.ndarray):
        return None
    shape: tuple[int, ...] = array.shape
    if len(shape) == len(wanted) - 1 and wanted[-1] == 1:
        shape = (*shape, 1)
    elif len(shape) == len(wanted) + 1 and shape[-1] == 1:
        shape = shape[:-1]
    return array.reshape(shape) if fits(shape, wanted) else None


def makers(the: Program) -> dict[int, str]:
    """The name of the layer that made each value, or of the input, by the number of its slot."""
    names = dict(enumerate(one.name for one in the.inputs))
    for step in the.steps:
        name = step.layer.name
        if isinstance(step.layer, Operation) and step.layer.operation in OF_MASKS:
            name = names[next(slots_in(step.inputs)).number]  # Keras has no such step
        names |= dict.fromkeys(step.outputs, name)
    return names


def slots_in(value: object) -> Iterator[Slot]:
    """The slots in an argument."""
    if isinstance(value, Slot):
        yield value
    elif isinstance(value, (list, tuple)):
        for one in value:
            yield from slots_in(one)
    elif isinstance(value, dict):
        yield from slots_in(list(value.values()))


def _calls_between(
    inputs: Sequence[SymbolicTensor], outputs: list[SymbolicTensor], name: str
) -> tuple[list[Call], list[Layer]]:
    """The calls in order of execution, and the layers in Keras's order."""
    ends = set(map(id, inputs))
    order: list[Call] = []
    first_seen: dict[int, int] = {}
    state: dict[int, bool] = {}  # of a call: False while its parents are visited, then True
    for number, output in enumerate(outputs):
        stack: list[tuple[SymbolicTensor, Iterator[SymbolicTensor] | None]] = [(output, None)]
        while stack:
            tensor, parents = stack.pop()
            call = tensor.call
            if parents is None:
                if id(tensor) in ends:
                    continue
                if call is None:
                    raise ValueError(
                        f"the graph of model {name!r} is not connected: output {number} "
                        f"({output.name!r}) needs {tensor.name!r}, which is not among the inputs"
                    )
                if id(call) in state:
                    if not state[id(call)]:
                        raise ValueError(
                            f"the graph of model {name!r} has a cycle through layer "
                            f"{call.layer.name!r}"
                        )
                    continue
                state[id(call)] = False
                first_seen.setdefault(id(call.layer), len(first_seen))
                parents = call.parents()
            following = next(parents, None)
            if following is not None:
                stack += [(tensor, parents), (following, None)]
            elif call is not None:
                state[id(call)] = True
                order.append(call)
    return order, _by_depth(order, ends, first_seen)


def _by_depth(order: Iterable[Call], ends: set[int], first_seen: dict[int, int]) -> list[Layer]:
    """The layers as Keras lists them: farthest from the outputs first."""
    calls = list(order)
    of_call: dict[int, int] = {}
    of_layer: dict[int, int] = {}
    layers: dict[int, BaseLayer] = {}
    for call in reversed(calls):
        depth = max(of_call.get(id(call), 0), of_layer.get(id(call.layer), 0))
        of_layer[id(call.layer)] = depth
        layers[id(call.layer)] = call.layer
        for parent in call.parents():
            if parent.call is not None and id(parent) not in ends:
                known = of_call.get(id(parent.call), 0)
                of_call[id(parent.call)] = max(depth + 1, known)
    keys = sorted(layers, key=lambda key: (-of_layer[key], first_seen[key]))
    return cast(list[Layer], [layers[key] for key in keys])  # only `Layer` records calls


def _slots(value: object, numbers: dict[int, int], as_mask: bool = False) -> Any:
    if isinstance(value, SymbolicTensor):
        return Slot(numbers[id(value)], "data" if as_mask else "value")
    if isinstance(value, SymbolicMask):
        return Slot(numbers[id(value.tensor)], "mask")
    if isinstance(value, (list, tuple)):
        return [_slots(one, numbers, as_mask) for one in value]
    return value


def _is_mask(name: str) -> bool:
    return name == "mask" or name.endswith("_mask")


def _fill(value: object, values: dict[int, Any]) -> Any:
    if type(value) is Slot:
        found = values[value.number]
        if value.part == "mask":
            return (
                found.mask if isinstance(found, Masked) else getattr(found, "_symbolic_mask", None)
            )
        return found.data if value.part == "data" and isinstance(found, Masked) else found
    if type(value) is list:
        return [_fill(one, values) for one in value]
    return value


def _all_different(names: list[str], kind: str, model: str) -> None:
    seen: set[str] = set()
    for one in names:
        if one in seen:
            raise ValueError(f"two {kind} of model {model!r} have the same name, {one!r}")
        seen.add(one)
