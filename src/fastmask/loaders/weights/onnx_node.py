"""The nodes of an ONNX graph; field numbers are those of onnx.proto."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from .protobuf import Message, fixed, integers, message, text

_NODE = {1: "input", 2: "output", 4: "op_type", 5: "attribute"}
_ATTRIBUTE = {1: "name", 2: "f", 3: "i", 4: "s", 5: "t", 8: "ints", 9: "strings"}


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

    def integers(self, name: str) -> list[int]:
        """Several integers among the attributes."""
        return integers(self.attributes.get(name, {}).get("ints", []))

    def number(self, name: str, default: float) -> float:
        """A real number among the attributes."""
        given = self.attributes.get(name)
        return default if given is None else float([0.0, *fixed(given.get("f", []), "<f4")][-1])

    def words(self, name: str) -> list[str]:
        """Texts among the attributes."""
        given = self.attributes.get(name, {})
        return [bytes(one).decode() for one in (*given.get("s", []), *given.get("strings", []))]


def node_of(data: memoryview) -> Node:
    """The node in a message."""
    given = message(data, _NODE)
    attributes = [message(one, _ATTRIBUTE) for one in given.get("attribute", [])]
    return Node(
        text(given, "op_type"),
        [bytes(name).decode() for name in given.get("input", [])],
        [bytes(name).decode() for name in given.get("output", [])],
        {text(one, "name"): one for one in attributes},
    )
