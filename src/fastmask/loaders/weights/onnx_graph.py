"""The nodes and constants of an ONNX graph; field numbers are those of onnx.proto."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from .onnx_constants import Constants
from .onnx_node import Node, node_of
from .onnx_tensor import Tensor
from .protobuf import message
from .stored import Stored

_MODEL = {7: "graph"}
_GRAPH = {1: "node", 5: "initializer"}


class Graph(NamedTuple):
    """A graph: the nodes that compute something, and those constants that are real numbers."""

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
    constants = Constants(path, len(data))
    for one in graph.get("initializer", []):
        constants.add(Tensor(one))
    nodes = map(node_of, graph.get("node", []))
    return Graph([node for node in nodes if not constants.follow(node)], constants.numbers)
