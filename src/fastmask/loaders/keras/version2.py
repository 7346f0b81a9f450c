"""Configs of Keras 2, from `.h5` files, in the form of those of Keras 3."""

from __future__ import annotations

from typing import Any

from .described import Described, Node, Ref, class_and_config, ends, known_ref, name_in
from .version3 import shape

_MODELS = ("Sequential", "Functional", "Model")
_RECURRENT = ("LSTM", "GRU", "SimpleRNN", "RNN", "Bidirectional", "CuDNNLSTM", "CuDNNGRU")
OPERATIONS = ("TFOpLambda", "SlicingOpLambda", "TensorFlowOpLayer")


def described(data: Any, path: str = "") -> Described:
    """The layer, or model, that Keras 2 described by `data`.

    Raises:
        ValueError: it is damaged.
    """
    kind, config = class_and_config(data)
    name = str(data.get("name") or config.get("name") or kind.lower())
    package, _, plain = kind.rpartition(">")
    result = Described(
        path=path or name,
        kind=plain,
        name=name,
        config=config,
        version=2,
        named=bool(data.get("name") or config.get("name")),
        registered=kind if package else "",
        operation=kind in OPERATIONS,
        build_shape=shape(config.get("batch_input_shape")),
    )
    result.nodes = [_node(one, result) for one in data.get("inbound_nodes", ())]
    result.first_call = int(_has_call_of_its_own(result))
    if kind in _MODELS and isinstance(config.get("layers"), list):
        around = f"{path}/" if path else ""
        result.children = [described(one, f"{around}{name_in(one)}") for one in config["layers"]]
        result.build_shape = shape(config.get("build_input_shape"))
        if result.children and result.build_shape is None:
            result.build_shape = result.children[0].build_shape
        if "input_layers" in config:
            result.inputs = ends(config["input_layers"])
            result.outputs = ends(config["output_layers"])
    return result


def _has_call_of_its_own(what: Described) -> bool:
    """Whether calls are counted from 1, because a model was called when it was made."""
    layers = what.config.get("layers")
    return (
        what.kind in _MODELS
        and isinstance(layers, list)
        and bool(layers)
        and (layers[0].get("class_name") == "InputLayer")
    )


def _node(data: Any, of: Described) -> Node:
    """A call: [[layer, call, output, kwargs], ...], one for each tensor among the inputs."""
    if isinstance(data, list) and len(data) in (3, 4) and isinstance(data[0], str):
        data = [data]
    if isinstance(data, dict) or not isinstance(data, list) or not data:
        raise ValueError(f"a call of {of.name!r} is described in a way that is not supported")
    kwargs = data[0][3] if len(data[0]) > 3 else {}
    if not isinstance(kwargs, dict):
        raise ValueError(f"the arguments of a call of {of.name!r} must be a dictionary")
    tensors = [_tensor(one) for one in data]
    told = {key: _argument(one) for key, one in kwargs.items()}
    if len(tensors) > 1 and of.kind in _RECURRENT:  # the inputs, then the states
        told["initial_state"] = tensors[1:]
        del tensors[1:]
    return Node([tensors[0] if len(tensors) == 1 else tensors], told)


def _tensor(data: Any) -> Any:
    if isinstance(data, list) and len(data) > 2 and data[0] == "_CONSTANT_VALUE":
        return data[2]
    return known_ref(data)


def _argument(data: Any) -> Any:
    """An argument by name, with tensors for their descriptions."""
    if isinstance(data, list):
        if len(data) == 3 and isinstance(data[0], str):
            if data[0] == "_CONSTANT_VALUE":
                return data[2]
            numbers = [one for one in data[1:] if type(one) is int]
            return Ref(data[0], *numbers) if len(numbers) == 2 else data
        return [_argument(one) for one in data]
    if isinstance(data, dict):
        return {key: _argument(one) for key, one in data.items()}
    return data
