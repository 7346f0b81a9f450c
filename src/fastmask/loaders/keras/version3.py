"""Configs of Keras 3, from `.keras` and `.h5` files."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..._checks import shown
from ..._typing import Array
from ...layers._operations import OPERATIONS
from ..keras_names import snake_case
from .catalog import KNOWN
from .described import Described, Node, Ref, class_and_config, ends, known_ref, name_in

MODELS = ("Sequential", "Functional", "Model")
_OPERATIONS_OTHERWISE_NAMED = {
    "AllClose": "allclose",
    "CDist": "cdist",
    "IsIn": "isin",
    "SearchSorted": "searchsorted",
}
_MOST_NUMBERS = 2**20  # of an array in a config
_DTYPES = ("float16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8", "bool")


def described(data: Any, path: str = "") -> Described:
    """The layer, or model, that Keras 3 described by `data`.

    Raises:
        ValueError: it is damaged.
    """
    kind, config = class_and_config(data)
    name = data.get("name") or config.get("name") or kind
    package, _, plain = kind.rpartition(">")  # in `.h5` files, which have the package nowhere else
    registered = data.get("registered_name") or (kind if package else "")
    built = data.get("build_config") or {}
    several = built.get("shapes_dict")
    result = Described(
        path=path or str(name),
        kind=plain,
        name=str(name),
        config=config,
        version=3,
        named=bool(data.get("name") or config.get("name")),
        registered=str(registered) if registered and registered != plain else "",
        operation=_is_operation(data, config),
        build_shape=shape(built.get("input_shape")),
        build_shapes={key.removesuffix("_shape"): shape(one) for key, one in several.items()}
        if isinstance(several, dict)
        else {},
        nodes=[_node(one) for one in data.get("inbound_nodes", ())],
    )
    if kind in MODELS and not result.registered and isinstance(config.get("layers"), list):
        around = f"{path}/" if path else ""
        result.children = [described(one, f"{around}{name_in(one)}") for one in config["layers"]]
        result.build_shape = result.build_shape or shape(config.get("build_input_shape"))
        if "input_layers" in config:
            result.inputs = ends(config["input_layers"])
            functional = {one.name for one in result.children if "input_layers" in one.config}
            result.outputs = _counted_alike(ends(config["output_layers"]), functional)
    return result


def _counted_alike(outputs: Any, functional: set[str]) -> Any:
    """A model's outputs, with calls counted from 0, as they are everywhere else.

    Only here does Keras count the calls of a functional model from 1.
    """
    if isinstance(outputs, Ref):
        from_one = outputs.layer in functional and outputs.call > 0
        return outputs._replace(call=outputs.call - from_one)
    if isinstance(outputs, dict):
        return {key: _counted_alike(one, functional) for key, one in outputs.items()}
    return [_counted_alike(one, functional) for one in outputs]


def _is_operation(data: dict[str, Any], config: dict[str, Any]) -> bool:
    """Whether it is an operation: some have the same class names as layers."""
    if "module" in data:
        return ".ops." in f"{data['module']}."
    kind = data["class_name"]
    if kind in KNOWN and operation_name(kind) not in OPERATIONS:
        return False
    of_layers = "trainable" in config or "batch_shape" in config or "layers" in config
    return not of_layers and "inbound_nodes" in data


def operation_name(kind: str) -> str:
    """The name of an operation, from the name of its class."""
    return _OPERATIONS_OTHERWISE_NAMED.get(kind) or snake_case(kind)


def shape(data: Any) -> Any:
    """A shape, or a list of shapes; None if it is neither."""
    if not isinstance(data, list):
        return None
    if any(isinstance(one, list) for one in data):
        return [shape(one) for one in data]
    plain = all(one is None or (type(one) is int and one >= 0) for one in data)
    return tuple(data) if plain and len(data) <= 32 else None


def value(data: Any) -> Any:
    """An argument, with arrays, slices and tensors for their descriptions."""
    if isinstance(data, list):
        return [value(one) for one in data]
    if not isinstance(data, dict):
        return data
    kind, config = data.get("class_name"), data.get("config")
    if not isinstance(config, dict):
        return {key: value(one) for key, one in data.items()}
    if kind == "__keras_tensor__":
        return known_ref(config.get("keras_history"))
    if kind in ("__numpy__", "__tensor__"):
        return array(config)
    if kind == "__slice__":
        return slice(*(config.get(key) for key in ("start", "stop", "step")))
    if kind == "__ellipsis__":
        return Ellipsis
    if kind == "__bytes__":
        raise ValueError("bytes in a config are not supported")
    return data


def array(config: dict[str, Any]) -> Array:
    """An array in a config.

    Raises:
        ValueError: it is not one of numbers.
    """
    if config.get("dtype") not in _DTYPES:
        raise ValueError(f"an array must have one of the dtypes {', '.join(_DTYPES)}")
    found = np.asarray(config.get("value"))
    if found.dtype.kind not in "fiub" or found.size > _MOST_NUMBERS:
        raise ValueError(f"an array must hold at most {_MOST_NUMBERS} numbers")
    return found.astype(config["dtype"])


def _node(data: Any) -> Node:
    if not isinstance(data, dict) or not isinstance(data.get("args"), list):
        raise ValueError(f"a call must have args and kwargs, not {shown(data)}")
    kwargs = data.get("kwargs") or {}
    return Node(value(data["args"]), {str(key): value(one) for key, one in kwargs.items()})
