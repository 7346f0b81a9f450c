"""The nodes and constants of an ONNX graph; field numbers are those of onnx.proto."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..._checks import shown
from ..._typing import Array
from .._npy import fill
from .._reading import opened_beside
from .protobuf import Message, fixed, integers, message, text
from .stored import DTYPES, Stored, as_numbers, number_of_bytes, sizes

_MODEL = {7: "graph"}
_GRAPH = {1: "node", 5: "initializer"}
_NODE = {1: "input", 2: "output", 4: "op_type", 5: "attribute"}
_ATTRIBUTE = {1: "name", 2: "f", 3: "i", 4: "s", 5: "t", 8: "ints", 9: "strings"}
_TENSOR = {
    1: "dims",
    2: "data_type",
    4: "float_data",
    5: "int32_data",
    8: "name",
    9: "raw_data",
    10: "double_data",
    13: "external_data",
    14: "data_location",
}
_ENTRY = {1: "key", 2: "value"}
_FLOATS = {1: "F32", 10: "F16", 11: "F64", 16: "BF16"}  # by TensorProto.DataType


class Node(NamedTuple):
    """A node of a graph."""

    kind: str
    inputs: list[str]
    outputs: list[str]
    attributes: Mapping[str, Message]

    @property
    def name(self) -> str:
        """The name of its first output, because nodes need not have names themselves."""
        return self.outputs[0] if self.outputs else self.kind

    def integer(self, name: str, default: int = 0) -> int:
        """An integer among the attributes; a zero may be left out in the file."""
        given = self.attributes.get(name)
        return default if given is None else (integers(given.get("i", [])) or [0])[-1]

    def number(self, name: str, default: float) -> float:
        """A real number among the attributes."""
        given = self.attributes.get(name)
        return default if given is None else float([0.0, *fixed(given.get("f", []), "<f4")][-1])

    def words(self, name: str) -> list[str]:
        """Texts among the attributes."""
        given = self.attributes.get(name, {})
        return [bytes(one).decode() for one in (*given.get("s", []), *given.get("strings", []))]


class Graph(NamedTuple):
    """A graph, with those constants that are real numbers."""

    nodes: list[Node]
    constants: Mapping[str, Stored]


def read_graph(data: memoryview, path: Path) -> Graph:
    """The graph of a file.

    Args:
        data: the file's content.
        path: the file, whose folder has the files that hold its larger arrays.

    Raises:
        ValueError: it is damaged, or has no graph.
    """
    graphs = message(data, _MODEL).get("graph", [])
    if len(graphs) != 1 or not isinstance(graphs[0], memoryview):
        raise ValueError("it has no graph, as an ONNX model has")
    graph = message(graphs[0], _GRAPH)
    constants: dict[str, Stored] = {}
    for one in graph.get("initializer", []):
        tensor = message(one, _TENSOR)
        _add(constants, text(tensor, "name"), tensor, path)
    nodes = []
    for one in graph.get("node", []):
        node = _node(message(one, _NODE))
        if node.kind in ("Constant", "Identity", "Transpose"):
            _follow(constants, node, path)
        nodes.append(node)
    return Graph(nodes, constants)


def _node(given: Message) -> Node:
    attributes = [message(one, _ATTRIBUTE) for one in given.get("attribute", [])]
    return Node(
        text(given, "op_type"),
        [bytes(name).decode() for name in given.get("input", [])],
        [bytes(name).decode() for name in given.get("output", [])],
        {text(one, "name"): one for one in attributes},
    )


def _follow(constants: dict[str, Stored], node: Node, path: Path) -> None:
    """The output of a node as a constant, if it is one."""
    if node.kind == "Constant":
        for tensor in node.attributes.get("value", {}).get("t", []):
            _add(constants, node.name, message(tensor, _TENSOR), path)
        return
    source = constants.get(node.inputs[0]) if node.inputs else None
    if source is None:
        return
    axes = tuple(range(len(source.shape)))
    if node.kind == "Transpose":
        given = node.attributes.get("perm", {})
        axes = tuple(integers(given.get("ints", []))) or axes[::-1]
    if sorted(axes) != list(range(len(source.shape))):
        raise ValueError(f"a Transpose of axes {axes} has an input of shape {source.shape}")
    shape = tuple(source.shape[axis] for axis in axes)
    constants[node.name] = Stored(shape, lambda: source.read().transpose(axes))


def _add(constants: dict[str, Stored], name: str, tensor: Message, path: Path) -> None:
    """A tensor among the constants, if it holds real numbers; its size is checked."""
    dtype = _FLOATS.get((integers(tensor.get("data_type", [])) or [0])[-1])
    if dtype is None:
        return
    shape = sizes(integers(tensor.get("dims", [])), name)
    if (integers(tensor.get("data_location", [])) or [0])[-1]:
        constants[name] = Stored(shape, partial(_elsewhere, tensor, shape, dtype, name, path))
        return
    raw = _inside(tensor, dtype)
    if len(raw) != number_of_bytes(shape, dtype):
        raise ValueError(f"{shown(name)} must have {math.prod(shape)} numbers of {dtype}")
    constants[name] = Stored(shape, lambda: as_numbers(raw, dtype).reshape(shape))


def _inside(tensor: Message, dtype: str) -> Array:
    """The bytes of a tensor stored in this file: raw, or as numbers."""
    raw: list[Any] = tensor.get("raw_data", [])
    if raw:
        return np.frombuffer(raw[-1], np.uint8)
    if dtype in ("F32", "F64"):
        field = "float_data" if dtype == "F32" else "double_data"
        return fixed(tensor.get(field, []), DTYPES[dtype]).view(np.uint8)
    halves = np.array(integers(tensor.get("int32_data", [])), np.int64)
    return halves.astype("<u2").view(np.uint8)


def _elsewhere(tensor: Message, shape: tuple[int, ...], dtype: str, name: str, path: Path) -> Array:
    """An array in another file of the same folder."""
    entries = [message(one, _ENTRY) for one in tensor.get("external_data", [])]
    given = {text(one, "key"): text(one, "value") for one in entries}
    size = number_of_bytes(shape, dtype)
    start, length = int(given.get("offset", 0)), int(given.get("length", size))
    with opened_beside(path, given.get("location", "")) as file:
        if length != size or start < 0 or start + size > file.size:
            raise ValueError(f"{shown(name)} of shape {shape} does not lie in {file.name}")
        file.seek(start)
        raw = np.empty(size, np.uint8)
        fill(raw, file, name)
    return as_numbers(raw, dtype).reshape(shape)
