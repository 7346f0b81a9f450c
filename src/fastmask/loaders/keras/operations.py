"""Operations on tensors, other than layers, in functional models."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..._checks import shown
from ...layers._operation import Operation
from ...layers._operations import OPERATIONS
from .described import Described, Node, Ref, Unknown, Unsupported
from .version3 import operation_name

# TensorFlow's names of functions, and what they are here; then its names of arguments.
_OF_TENSORFLOW = {
    "concat": "concatenate",
    "math.reduce_mean": "mean",
    "math.reduce_sum": "sum",
    "math.reduce_max": "max",
    "math.reduce_min": "min",
    "math.reduce_logsumexp": "logsumexp",
    "math.reduce_any": "any",
    "math.reduce_all": "all",
    "math.reduce_prod": "prod",
    "math.abs": "absolute",
    "math.pow": "power",
    "math.sub": "subtract",
    "math.mul": "multiply",
    "__operators__.mul": "multiply",
    "__operators__.getitem": "get_item",
    "math.truediv": "true_divide",
    "math.reciprocal_no_nan": "reciprocal",
    "clip_by_value": "clip",
    "linalg.matmul": "matmul",
    "nn.swish": "silu",
    "math.l2_normalize": "normalize",
    "math.argmax": "argmax",
}
_OTHER_IN_TENSORFLOW = (
    "split",
    "one_hot",
    "argsort",
    "count_nonzero",
    "einsum",
    "top_k",
)  # their arguments mean other things
_ARGUMENTS = {
    "input_tensor": "x",
    "clip_value_min": "x_min",
    "clip_value_max": "x_max",
    "perm": "axes",
    "shape": "newshape",
    "slice_spec": "key",
}

_OR_A_LAYER = (  # in `.h5` files, where layers without super().get_config() look like operations
    "; or if {kind} is a class of your layers, write it as a fastmask layer, and give it: "
    "load_model(path, custom_objects={{{kind!r}: {kind}}})"
)


def operation(what: Described, node: Node) -> tuple[Operation, list[Ref]]:
    """The layer for a call of an operation, and the tensors that it takes.

    Raises:
        Unsupported: there is none.
    """
    config = {key: one for key, one in what.config.items() if key not in ("name", "dtype")}
    if what.version == 3:
        name = operation_name(what.kind)
        if name in ("cast", "zeros_like", "ones_like", "one_hot"):
            config["dtype"] = what.config.get("dtype")
        given = {key: one for key, one in config.items() if one is not None}
        options = {**given, **{k: v for k, v in node.kwargs.items() if v is not None}}
        arguments = node.args
    else:
        name, arguments, options = _of_version_2(what, node)
    if name not in OPERATIONS or (what.version == 2 and name in _OTHER_IN_TENSORFLOW):
        own = "" if what.version == 2 else _OR_A_LAYER.format(kind=what.kind)
        raise Unknown(
            f"is the operation {shown(name)}, which is not supported: put a layer in its place, "
            "which custom_objects takes, and save the model again (docs/from-keras.md lists "
            f"the operations that are){own}"
        )
    refs: list[Ref] = []
    plain = [_plain(one, refs) for one in arguments]
    return Operation(
        name, plain, {key: _plain(one, refs) for key, one in options.items()}, name=what.name
    ), refs


def _of_version_2(what: Described, node: Node) -> tuple[str, list[Any], dict[str, Any]]:
    full = str(what.config.get("function", what.kind))
    name = _OF_TENSORFLOW.get(full, full.removeprefix("tf.").rpartition(".")[2])
    options = {
        _ARGUMENTS.get(key, key): one
        for key, one in node.kwargs.items()
        if key != "name" and one is not None
    }
    if what.kind == "SlicingOpLambda":
        name = "get_item"
        options["key"] = [_slice(one) for one in options.get("key", ())]
    options.pop("x", None)
    given = list(node.args)
    if "y" in options:  # by position: NumPy's functions have other names
        given.append(options.pop("y"))
    return name, given, options


def _slice(data: Any) -> Any:
    """A part of an index, as TensorFlow's configs have it."""
    if isinstance(data, dict) and "start" in data:
        return slice(*(data.get(key) for key in ("start", "stop", "step")))
    return data


def _plain(value: Any, refs: list[Ref]) -> Any:
    """An argument ready for JSON; the tensors in it, by number, are added to `refs`."""
    if isinstance(value, Ref):
        if value not in refs:
            refs.append(value)
        return {"input": refs.index(value)}
    if isinstance(value, (list, tuple)):
        return [_plain(one, refs) for one in value]
    if isinstance(value, slice):
        return {"slice": [_plain(one, refs) for one in (value.start, value.stop, value.step)]}
    if value is Ellipsis:
        return {"ellipsis": True}
    if isinstance(value, np.ndarray):
        return {"array": value.tolist(), "dtype": value.dtype.name}
    if isinstance(value, dict):
        raise Unsupported(f"has an argument that is not supported: {shown(value)}")
    return value
