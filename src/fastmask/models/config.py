"""Layers as plain dictionaries, and back; only known classes are ever made."""

from __future__ import annotations

from collections.abc import Mapping
from types import BuiltinFunctionType, FunctionType, MethodType
from typing import Any

import numpy as np

from .._checks import shown, whole_number
from .._typing import Shapes, TypeIs
from ..layers import Lambda, Layer
from ..layers._call_graph import CallGraph
from ..layers._shapes import is_shape
from .graph import InputSpec, Program, Slot, Step, assemble, slots_in

_FUNCTIONS = (FunctionType, BuiltinFunctionType, MethodType, np.ufunc)
_NO_CODE = (
    "and a model file holds no code. Write a class with the function as its call, class "
    "Mine(fastmask.layers.Layer): ..., put Mine() in its place, and read the file with "
    "load_model(path, custom_objects={'Mine': Mine}); or keep the weights alone, "
    "model.get_weights()"
)
_MOST_VALUES = 1024  # of an array in a description
DESCRIPTION = {"class", "config", "build_shape"}
PARTS = ("value", "mask", "data")
_NUMBERS = np.typecodes["AllInteger"] + np.typecodes["Float"] + "?"
# np.dtype would accept much more.
_DTYPES = {dtype.name: dtype for dtype in map(np.dtype, _NUMBERS)} | {"str": np.dtype(str)}


def serialize(layer: Layer) -> dict[str, Any]:
    """Class, arguments and build shape of a layer, ready for JSON.

    Raises:
        ValueError: it is a `Lambda`, or one of its arguments is a function.
    """
    if isinstance(layer, Lambda):
        raise ValueError(f"layer {layer.name!r} is a Lambda, {_NO_CODE}")
    config = layer.get_config()
    for key, value in config.items():
        if isinstance(value, _FUNCTIONS):
            raise ValueError(f"{key} of layer {layer.name!r} is a function, {_NO_CODE}")
        config[key] = _without_layers(value)
    return {
        "class": type(layer).__name__,
        "config": config,
        "build_shape": _without_batch(layer._build_shape),
    }


class NeedsObjects(ValueError):
    """A description names a class or function that is not known; `custom_objects` may hold it."""


def deserialize(data: object, classes: Mapping[str, type[Layer]]) -> Any:
    """The layer that `serialize` described.

    Raises:
        TypeError: an argument is unknown or of a wrong kind.
        ValueError: the description is not one, or names an unknown class.
    """
    if not _is_description(data):
        raise ValueError("a layer must be described by class, config and build_shape")
    name, config = data["class"], data["config"]
    if not isinstance(name, str) or name not in classes:
        raise NeedsObjects(
            f"unknown layer class {name!r}; if it is one of yours, give it to "
            f"load_model(path, custom_objects={{{name!r}: {name}}})"
        )
    if not isinstance(config, dict):
        raise ValueError(f"config of a {name} must be a dictionary, not {config!r}")
    cls = classes[name]
    config = {key: _with_layers(value, classes) for key, value in config.items()}
    layer = cls.from_config(config)
    layer._first_shape = None  # build_shape says how it was built
    if data["build_shape"] is not None:
        if isinstance(layer, CallGraph):
            raise ValueError(f"a {name} has no build_shape of its own, only its layers have")
        layer.build(_shape(data["build_shape"]))
    return layer


def number_of_layers(data: object) -> int:
    """The number of layers described in `data`, at any depth."""
    count, stack = 0, [data]
    while stack:
        one = stack.pop()
        if isinstance(one, dict):
            count += _is_description(one)
            stack.extend(one.values())
        elif isinstance(one, list):
            stack.extend(one)
    return count


def program_to_config(program: Program) -> dict[str, Any]:
    """A model's graph, ready for JSON; layers are given by number."""
    number = {id(layer): i for i, layer in enumerate(program.layers)}
    return {
        "layers": [serialize(layer) for layer in program.layers],
        "inputs": [
            {"name": one.name, "shape": list(one.shape[1:]), "dtype": one.dtype.name}
            for one in program.inputs
        ],
        "steps": [
            {
                "layer": number[id(step.layer)],
                "inputs": _plain(step.inputs),
                "options": {key: _plain(value) for key, value in step.options.items()},
                "outputs": list(step.outputs),
            }
            for step in program.steps
        ],
        "outputs": _plain(program.outputs),
    }


def program_from_config(config: dict[str, Any], name: str) -> Program:
    """The graph that `program_to_config` described; its layers are `Layer` objects already.

    Raises:
        TypeError: a part of it is of a wrong kind.
        ValueError: a part is missing or unknown, or a value is used before it is made.
    """
    layers = _fields(config, "layers inputs steps outputs")[0]
    if not isinstance(layers, list) or not all(isinstance(one, Layer) for one in layers):
        raise ValueError("the layers of a model must be a list of layers")
    inputs = [_input(one) for one in _list(config["inputs"], "inputs")]
    count = len(inputs)
    steps = []
    for one in _list(config["steps"], "steps"):
        number, given, options, outputs = _fields(one, "layer inputs options outputs", "many")
        which = whole_number(number, "the number of a layer", 0)
        if which >= len(layers):
            raise ValueError(f"the number of a layer must be less than {len(layers)}, not {which}")
        if not isinstance(options, dict):
            raise ValueError(f"options of a step must be a dictionary, not {options!r}")
        made = len(_list(outputs, "outputs of a step"))
        numbers = tuple(range(count, count + made))
        if not made or outputs != list(numbers):
            raise ValueError(
                f"outputs of a step must be counted from {count}, not {shown(outputs)}"
            )
        known = _known(given, count)
        each = known if isinstance(known, list) else [known]
        if not each or not all(isinstance(slot, Slot) for slot in each):
            raise ValueError(f"inputs of a step must be values, not {shown(given)}")
        told = {key: _known(value, count) for key, value in options.items()}
        steps.append(Step(layers[which], known, told, numbers))
        count += made
    results = _known(config["outputs"], count)
    if not list(slots_in(results)):
        raise ValueError("a model must have outputs")
    if {id(step.layer) for step in steps} != set(map(id, layers)):
        raise ValueError("each layer of a model must have its step")
    return assemble(inputs, layers, steps, results, name)


def _is_description(data: object) -> TypeIs[dict[str, Any]]:
    return isinstance(data, dict) and set(data) == DESCRIPTION


def _without_layers(value: object) -> Any:
    """An argument, with a layer or a list of layers replaced by descriptions."""
    if isinstance(value, Layer):
        return serialize(value)
    if isinstance(value, list) and any(isinstance(one, Layer) for one in value):
        return [_without_layers(one) for one in value]
    if isinstance(value, dict) and isinstance(value.get("value"), np.ndarray):
        return _without_array(value)
    return value


def _without_array(constant: dict[str, Any]) -> dict[str, Any]:
    """The description of a `Constant`; a long array is left out.

    The weights in the file replace initial values such as word vectors.
    """
    array = constant["value"]
    return (
        {**constant, "value": array.tolist()} if array.size <= _MOST_VALUES else {"class": "Zeros"}
    )


def _with_layers(value: object, classes: Mapping[str, type[Layer]]) -> Any:
    """The argument that `_without_layers` described."""
    if _is_description(value):
        return deserialize(value, classes)
    if isinstance(value, list) and any(_is_description(one) for one in value):
        return [deserialize(one, classes) for one in value]
    return value


def _plain(value: object) -> Any:
    if isinstance(value, Slot):
        return {value.part: value.number}
    if isinstance(value, (list, tuple)):
        return [_plain(one) for one in value]
    return value


def _known(data: object, count: int) -> Any:
    """An argument with its slots, which must name some of the `count` values made so far."""
    if isinstance(data, list):
        return [_known(one, count) for one in data]
    if not isinstance(data, dict):
        return data
    part: Any
    part, number = next(iter(data.items()), ("", None))
    if len(data) != 1 or part not in PARTS:
        raise ValueError(f"a value of a model must be one of {', '.join(PARTS)}, not {shown(data)}")
    which = whole_number(number, "the number of a value", 0)
    if which >= count:
        raise ValueError(f"the number of a value must be less than {count}, not {which}")
    return Slot(which, part)


def _input(data: object) -> InputSpec:
    name, shape, dtype = _fields(data, "name shape dtype")
    if not isinstance(name, str) or not isinstance(dtype, str):
        raise ValueError(
            f"an input must have a name and a dtype, not {shown(name)}, {shown(dtype)}"
        )
    if dtype not in _DTYPES:
        raise ValueError(
            f"dtype of input {name!r} must be that of numbers or texts, not {shown(dtype)}"
        )
    sizes = _shape(shape)
    if isinstance(sizes, list):  # only a layer can have a list of shapes
        raise ValueError(f"shape of input {name!r} must be a list of sizes, not {shown(shape)}")
    return InputSpec(name, (None, *sizes), _DTYPES[dtype])


def _fields(data: object, names: str, unused: str = "") -> list[Any]:
    """The values of a dictionary that has exactly these keys, and may have an unused one."""
    wanted = names.split()
    if not isinstance(data, dict) or set(data) - {unused} != set(wanted):
        raise ValueError(f"a part of a model must have exactly {', '.join(wanted)}")
    return [data[name] for name in wanted]


def _list(data: object, name: str) -> list[Any]:
    if not isinstance(data, list):
        raise ValueError(f"{name} of a model must be a list, not {shown(data)}")
    return data


def _without_batch(shape: Shapes | None) -> Any:
    if shape is None:
        return None
    if is_shape(shape):
        return [None, *shape[1:]]
    return [_without_batch(one) for one in shape]


def _shape(data: object) -> Any:
    if not isinstance(data, list) or len(data) > 64:
        raise ValueError(f"build_shape must be a list of sizes, not {data!r}")
    if any(isinstance(size, list) for size in data):
        return [_shape(one) for one in data]
    return tuple(None if n is None else whole_number(n, "a size in build_shape", 0) for n in data)
