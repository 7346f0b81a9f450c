"""The weights in an .onnx file: of its LSTM, GRU and RNN nodes, embeddings and dense layers.

Each node with constant inputs becomes a module by torch's names, in the order of computation.
Graphs inside nodes, such as a Loop's, are ignored.

| ONNX | torch |
|---|---|
| LSTM: gates i, o, f, c | i, f, g, o |
| GRU: gates z, r, h | r, z, n |
| B, both biases one after the other | bias_ih, bias_hh |
| MatMul, and the Add after it; Gemm | Linear |
| Gather | Embedding |
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np

from ..._checks import shown
from ..._typing import Array
from ...layers import RNN, Layer
from .._npy import fill
from .._reading import Reader
from .matching import matched
from .onnx_graph import Graph, read_graph
from .onnx_node import Node
from .stored import Misfit, Module, Stored

# By kind: positions of torch's gates among those of ONNX, and default activations.
_RECURRENT = {
    "LSTM": ((0, 2, 3, 1), ("Sigmoid", "Tanh", "Tanh")),
    "GRU": ((1, 0, 2), ("Sigmoid", "Tanh")),
    "RNN": ((0,), ("Tanh",)),
}
_ACTIVATIONS = {name: name.lower() for name in ("Sigmoid", "Tanh", "Relu", "Softsign", "Softplus")}
_PARTS = {
    "BatchNormalization": ("weight", "bias", "running_mean", "running_var"),
    "LayerNormalization": ("weight", "bias"),
    "Conv": ("weight", "bias"),
    "Gather": ("weight",),
}
WITH_GRAPHS = {"Loop", "If", "Scan"}
UNROLLED = (
    "the file has no node of kind LSTM, GRU or RNN: torch.onnx.export writes each step of a "
    "torch.nn.RNN by itself, unless it is called with dynamo=False; call it so, or save the "
    "state dict"
)

_Constants = Sequence[Stored | None]  # of a node's inputs; None for those that are computed


def values(model: Layer, file: Reader) -> list[Array]:
    """The weights for a model."""
    graph = graph_of(file)
    try:
        return matched(model, modules_of(graph), ordered=True)
    except Misfit as misfit:
        kinds = {node.kind for node in graph.nodes}
        inner = sorted(kinds & WITH_GRAPHS)
        more = [f"the file has nodes of kind {', '.join(inner)}, whose graphs are not read"]
        recurrent = any(isinstance(layer, RNN) for layer in model._all_layers())
        first = [UNROLLED] * (recurrent and kinds.isdisjoint(_RECURRENT))
        raise Misfit(first + misfit.lines + more * bool(inner)) from None


def graph_of(file: Reader) -> Graph:
    """The graph in a file."""
    raw = np.empty(file.size, np.uint8)
    fill(raw, file, "the file")
    return read_graph(raw.data, Path(file.name))


def modules_of(graph: Graph) -> list[Module]:
    """The modules, in the order of the nodes.

    Raises:
        ValueError: a node computes something that no layer here does.
    """
    found: list[Module] = []
    products: dict[str, int] = {}  # index of a product's module, by the name of its output
    for node in graph.nodes:
        constants = [graph.constants.get(name) for name in node.inputs]
        before = [
            products[name]
            for name in node.inputs
            if name in products and "bias" not in found[products[name]].parts
        ]
        if node.kind in _RECURRENT:
            found += _recurrent(node, constants)
        elif node.kind == "Add" and before and any(_has_axes(one, 1) for one in constants):
            found[before[0]] = _with_bias(found[before[0]], constants)
        elif node.kind in ("Gemm", "MatMul") and _has_axes(constants[1], 2):
            products[node.name] = len(found)
            found.append(_product(node, constants))
        elif any(constants):
            parts = _parts(node, constants)
            if node.kind in _PARTS or any(map(_is_weight, parts.values())):
                found.append(Module(node.name, parts))
    return found


def seems_unrolled(graph: Graph, modules: Iterable[Module]) -> bool:
    """Whether products may be the steps of a recurrent layer: there are several square ones."""
    shapes = [one.parts["weight"].shape for one in modules if "weight" in one.parts]
    square = [shape for shape in shapes if len(shape) == 2 and shape[0] == shape[1]]
    kinds = {node.kind for node in graph.nodes}
    return len(set(square)) < len(square) and kinds.isdisjoint(_RECURRENT)


def _has_axes(constant: Stored | None, count: int) -> bool:
    return constant is not None and len(constant.shape) == count


def _is_weight(constant: Stored) -> bool:
    """Whether it may be a learned weight: not a single number, nor states of zeros."""
    return math.prod(constant.shape) > 1 and bool(np.any(constant.read()))


def _parts(node: Node, constants: _Constants) -> dict[str, Stored]:
    """The constant inputs of a node, by torch's names where it is one of torch's modules."""
    first = 0 if node.kind == "Gather" else 1
    names = () if node.kind == "Gather" and node.integer("axis") else _PARTS.get(node.kind, ())
    return {
        names[i - first] if 0 <= i - first < len(names) else f"input {i}": one
        for i, one in enumerate(constants)
        if one is not None
    }


def _product(node: Node, constants: _Constants) -> Module:
    weight, bias = constants[1], (*constants, None)[2]
    assert weight is not None
    scales = node.number("alpha", 1.0), node.number("beta", 1.0)
    if scales != (1.0, 1.0) or node.integer("transA"):
        raise ValueError(f"node {shown(node.name)} scales its product, or transposes its input")
    if not node.integer("transB"):
        weight = _changed(weight, weight.shape[::-1], np.transpose)
    return Module(node.name, {"weight": weight, **({"bias": bias} if bias else {})})


def _with_bias(product: Module, constants: _Constants) -> Module:
    bias = next(one for one in constants if one is not None)
    return product._replace(parts={**product.parts, "bias": bias})


def _recurrent(node: Node, constants: _Constants) -> list[Module]:
    """The modules of a node, one for each direction."""
    order, defaults = _RECURRENT[node.kind]
    w, r, b, _lengths, *states = (*constants[1:7], *[None] * 6)[:6]
    _check_recurrent(node, states)
    directions = {"forward": [False], "reverse": [True], "bidirectional": [False, True]}
    named = (node.words("direction") or ["forward"])[0]
    backwards = directions.get(named, [])
    if w is None or r is None or {len(w.shape), len(r.shape)} != {3}:
        raise ValueError(f"the weights of node {shown(node.name)} are not constants of three axes")
    count = w.shape[0]
    if count != len(backwards) or r.shape[0] != count or (b and b.shape[:1] != (count,)):
        raise ValueError(f"node {shown(node.name)} must have weights of {named:.20} directions")
    words = node.words("activations") or list(defaults) * count
    found = []
    for i, back in enumerate(backwards):
        parts = {"weight_ih": _gates(w, i, order), "weight_hh": _gates(r, i, order)}
        if b is not None:
            parts |= {
                name: _gates(b, i, order, half) for half, name in enumerate(("bias_ih", "bias_hh"))
            }
        own = words[i * len(defaults) : (i + 1) * len(defaults)]
        found.append(Module(node.name, parts, back, _options(node, own)))
    return found


def _check_recurrent(node: Node, states: _Constants) -> None:
    what = f"{node.kind} node {shown(node.name)}"
    if "clip" in node.attributes or node.integer("input_forget") or any(node.inputs[7:]):
        raise ValueError(f"{what} clips, couples gates or has peepholes, which no layer here does")
    if any(state is not None and np.any(state.read()) for state in states):
        raise ValueError(f"{what} begins with states that are not zero: give them in the call")


def _options(node: Node, activations: list[str]) -> dict[str, object]:
    """The options that the layer must have in common with the node."""
    known = [_ACTIVATIONS.get(name, name) for name in activations]
    options: dict[str, object] = {"activation": known[-1] if known else None}
    if node.kind == "LSTM" and len(set(known[1:])) > 1:
        options["activation"] = " and ".join(known[1:])
    if node.kind != "RNN":
        options["recurrent_activation"] = known[0] if known else None
    if node.kind == "GRU":
        options["reset_after"] = bool(node.integer("linear_before_reset"))
    return options


def _gates(stored: Stored, direction: int, order: Sequence[int], half: int | None = None) -> Stored:
    """The rows of one direction, and of B those of one bias, with the gates in torch's order."""
    rows, *rest = stored.shape[1:] or (0,)
    halves = 1 if half is None else 2
    if rows % (halves * len(order)):
        raise ValueError(
            f"weights of shape {stored.shape} have no {halves * len(order)} equal parts"
        )

    def ordered(array: Array) -> Array:
        own = np.split(array[direction], halves)[half or 0]
        gates = np.split(own, len(order))
        return np.concatenate([gates[gate] for gate in order])

    return _changed(stored, (rows // halves, *rest), ordered)


def _changed(stored: Stored, shape: tuple[int, ...], function: Callable[[Array], Array]) -> Stored:
    return Stored(shape, lambda: function(stored.read()))
