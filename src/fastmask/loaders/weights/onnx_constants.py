"""The constants of an ONNX graph: its arrays, and what nodes make of nothing but these.

PyTorch's exporter computes small constants beforehand, but leaves the gates of larger weights to
nodes that cut, join and reshape. Only such nodes are followed, when an array is read; what else a
graph computes is never run. A file may refer to one array again and again, so that few nodes stand
for endless work: `Budget` bounds it by the size of the files.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from itertools import accumulate, pairwise
from pathlib import Path

import numpy as np

from ..._typing import Array
from .onnx_node import Node
from .onnx_tensor import KINDS, Tensor
from .stored import DTYPES, Stored, sizes

_TIMES = 32  # how often all numbers of the files may be read: nodes for each gate read them all
_FREE = 2**20  # numbers that may be joined in the smallest file
_EACH = 256  # numbers that take the time of a node
_MOST_NUMBERS = 2**48
_MOST_INDICES = 64
_View = Callable[[Array], Array]


class Computed(Exception):
    """A node is not followed: its output is no constant, or not one that is needed."""


class Budget:
    """How much may be read and joined.

    Args:
        size: the number of bytes of the file.
    """

    def __init__(self, size: int) -> None:
        self._seen: set[str] = set()
        self._most = size + _FREE
        self._left = _TIMES * self._most

    def allow(self, name: str, size: int) -> None:
        """Allow for an array of another file."""
        if name not in self._seen:
            self._seen.add(name)
            self._most += size
            self._left += _TIMES * size

    def spend(self, size: int) -> None:
        """Note that an array of so many numbers is made."""
        self._left -= _EACH + size
        self.check(size)

    def check(self, size: int) -> None:
        """Check that an array of so many numbers may be made.

        Raises:
            ValueError: that is more than an honest file needs.
        """
        if self._left < 0 or size > self._most:
            raise ValueError("its nodes join its arrays into far more numbers than it has")


class Constants:
    """The constants, by their names.

    Args:
        path: the file.
        size: its number of bytes.

    Attributes:
        numbers: those that are real numbers.
    """

    def __init__(self, path: Path, size: int) -> None:
        self._path, self._budget = path, Budget(size)
        self.numbers: dict[str, Stored] = {}
        self._indices: dict[str, list[int]] = {}

    def add(self, tensor: Tensor) -> None:
        """Add a tensor, if it holds real numbers, or a few integers."""
        if tensor.kind in ("I32", "I64"):
            if math.prod(tensor.shape()) <= _MOST_INDICES:
                self._indices[tensor.name] = tensor.stored(self._path).read().ravel().tolist()
        elif tensor.kind is not None:
            stored = tensor.stored(self._path)
            read = partial(self._read, tensor.name, stored)
            self.numbers[tensor.name] = Stored(stored.shape, read)

    def _read(self, name: str, stored: Stored) -> Array:
        array = stored.read()
        self._budget.allow(name, array.nbytes)
        self._budget.spend(array.size)
        return array

    def follow(self, node: Node) -> bool:
        """Whether the outputs of a node are constants, which are added."""
        if node.kind == "Constant":
            for tensor in node.attributes.get("value", {}).get("t", []):
                self.add(Tensor(tensor, node.name))
            if "value_ints" in node.attributes:
                self._indices[node.name] = node.integers("value_ints")
            return True
        if node.kind not in _FOLLOWED or not node.inputs:
            return False
        sources = [self.numbers.get(one) for one in node.inputs]
        known = [one for one in sources if one is not None]
        if sources[0] is None:
            return False
        try:
            if node.kind == "Concat":
                if len(known) < len(sources):
                    return False
                self.numbers[node.name] = self._joined(known, node.integer("axis"))
            elif node.kind == "Cast":
                self.numbers[node.name] = self._cast(known[0], node)
            else:
                views = _VIEWS[node.kind](node, known[0].shape, self._given(node))
                for name, view in zip(node.outputs, views, strict=True):
                    self.numbers[name] = self._viewed(known[0], view)
        except Computed:
            return False
        return True

    def _given(self, node: Node) -> Callable[[int, str], list[int]]:
        """A function for the integers at an input's position; in old files they are attributes."""

        def given(position: int, name: str) -> list[int]:
            if position >= len(node.inputs) or not node.inputs[position]:
                return node.integers(name)
            if node.inputs[position] not in self._indices:
                raise Computed
            return self._indices[node.inputs[position]]

        return given

    def _viewed(self, source: Stored, view: _View) -> Stored:
        # A number repeated without memory has the shape, and its views have theirs.
        shape = view(np.broadcast_to(np.float32(0), source.shape)).shape

        def read() -> Array:
            self._budget.spend(math.prod(shape))
            return view(source.read())

        return Stored(sizes(shape, "a constant"), read)

    def _cast(self, source: Stored, node: Node) -> Stored:
        kind = KINDS.get(node.integer("to"), "")
        if kind not in ("F16", "F32", "F64"):
            raise Computed

        def read() -> Array:
            self._budget.spend(math.prod(source.shape))
            return source.read().astype(DTYPES[kind])

        return Stored(source.shape, read)

    def _joined(self, sources: Sequence[Stored], axis: int) -> Stored:
        shape = list(sources[0].shape)
        axis = range(len(shape))[axis]
        for one in sources:
            if (*one.shape[:axis], *one.shape[axis + 1 :]) != (*shape[:axis], *shape[axis + 1 :]):
                raise ValueError(f"a Concat along axis {axis} has shapes {shape} and {one.shape}")
        shape[axis] = sum(one.shape[axis] for one in sources)
        if shape[axis] > _MOST_NUMBERS:
            raise ValueError(f"a Concat makes {shape[axis]} steps along an axis")

        def read() -> Array:
            arrays, count = [], 0
            for one in sources:
                arrays.append(one.read())
                count += arrays[-1].size
                self._budget.check(count)
            self._budget.spend(count)
            return np.concatenate(arrays, axis)

        return Stored(tuple(shape), read)


_Given = Callable[[int, str], list[int]]
_Shape = tuple[int, ...]


def _transpose(node: Node, shape: _Shape, _: _Given) -> list[_View]:
    axes = node.integers("perm") or list(range(len(shape)))[::-1]
    return [lambda x: x.transpose(axes)]


def _unsqueeze(_: Node, __: _Shape, given: _Given) -> list[_View]:
    axes = tuple(given(1, "axes"))
    return [lambda x: np.expand_dims(x, axes)]


def _squeeze(_: Node, __: _Shape, given: _Given) -> list[_View]:
    axes = tuple(given(1, "axes")) or None
    return [lambda x: np.squeeze(x, axes)]


def _reshape(node: Node, shape: _Shape, given: _Given) -> list[_View]:
    """Where the new shape has a 0, the old size stays."""
    sizes = given(1, "shape")
    if not node.integer("allowzero"):
        sizes = [shape[i] if size == 0 else size for i, size in enumerate(sizes)]
    return [lambda x: x.reshape(sizes)]


def _slice(_: Node, shape: _Shape, given: _Given) -> list[_View]:
    starts, ends = given(1, "starts"), given(2, "ends")
    axes = given(3, "axes") or range(len(starts))
    steps = given(4, "steps") or [1] * len(starts)
    cut = [slice(None)] * len(shape)
    for axis, *place in zip(axes, starts, ends, steps, strict=True):
        cut[axis] = slice(*place)
    return [lambda x: x[tuple(cut)]]


def _split(node: Node, shape: _Shape, given: _Given) -> list[_View]:
    """Parts of the given sizes; otherwise equal ones, of which the last may be smaller."""
    axis, count = range(len(shape))[node.integer("axis")], len(node.outputs)
    parts = given(1, "split") or [-(-shape[axis] // (count or 1))] * count
    before = (slice(None),) * axis

    def part(start: int, end: int) -> _View:
        return lambda x: x[(*before, slice(start, end))]

    return [part(*ends) for ends in pairwise(accumulate(parts, initial=0))]


_VIEWS: dict[str, Callable[[Node, _Shape, _Given], list[_View]]] = {
    "Identity": lambda *_: [lambda x: x],
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
    "Squeeze": _squeeze,
    "Reshape": _reshape,
    "Slice": _slice,
    "Split": _split,
}
_FOLLOWED = {"Concat", "Cast", *_VIEWS}
