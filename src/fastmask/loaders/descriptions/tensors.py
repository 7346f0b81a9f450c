"""Weights by torch's names: .safetensors, state dicts, and .onnx files."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path

from .._reading import Reader
from ..description import Description, Row
from ..weights import onnx, safetensors, state_dict
from ..weights.stored import Module, Stored

_USED, _KEPT, _DROPPED = "used", "kept", "dropped"
_CELLS = {4: "LSTM", 3: "GRU", 1: "SimpleRNN"}  # by the number of gates
_KNOWN_NODES = set(
    "Add BatchNormalization Cast Concat Constant ConstantOfShape Conv Dropout Expand Gather Gemm "
    "GRU Identity LayerNormalization LSTM MatMul Relu Reshape RNN Shape Sigmoid Slice Softmax "
    "Squeeze Tanh Transpose Unsqueeze".split()
)


def describe(file: Reader) -> Description:
    """What is in a file of weights."""
    path, notes = Path(file.name), []
    if path.suffix.lower() == ".onnx":
        graph = onnx.graph_of(file)
        modules = onnx.modules_of(graph)
        kinds = Counter(node.kind for node in graph.nodes)
        strange = [f"{kind} ({count})" for kind, count in kinds.items() if kind not in _KNOWN_NODES]
        if strange:
            notes.append(f"nodes that no layer stands for: {', '.join(strange)}")
    else:
        reader = safetensors if path.suffix.lower() == ".safetensors" else state_dict
        modules = reader.modules(file)
    rows = [_row(module) for module in modules]
    notes.append("weights alone: build the model, and give it the file with model.load_weights")
    total = sum(row.parameters or 0 for row in rows)
    return Description(f"{path.name}: {total:,} parameters in {len(rows)} modules", rows, notes)


def _row(module: Module) -> Row:
    kind, mask = _kind(module)
    shapes = ", ".join(f"{name} {part.shape}" for name, part in _sorted(module))
    parameters = sum(math.prod(part.shape) for part in module.parts.values())
    support = "yes" if kind != "?" else "no layer has such weights"
    if "weight_hr" in module.parts:
        support = "no layer has projections, proj_size"
    return Row(module.name or "-", kind, shapes, parameters, mask, support)


def _sorted(module: Module) -> list[tuple[str, Stored]]:
    """The parts, weights before biases."""
    return sorted(module.parts.items(), reverse=True)


def _kind(module: Module) -> tuple[str, str]:
    """The layer here that has weights of such names and axes, and what it does with a mask."""
    parts = module.parts
    axes = {name: len(part.shape) for name, part in parts.items()}
    if axes.get("weight_ih") == axes.get("weight_hh") == 2:
        columns = parts["weight_hh"].shape[1]
        gates, rest = divmod(parts["weight_ih"].shape[0], columns or 1)
        name = _CELLS.get(gates, "?") if not rest else "?"
        return f"{name}, backwards" if module.backwards else name, _USED
    names, weight = set(axes), axes.get("weight")
    if (
        {"running_mean", "running_var"}
        <= names
        <= {"running_mean", "running_var", "weight", "bias"}
    ):
        return "BatchNormalization", _KEPT
    if not names <= {"weight", "bias"} or weight is None:
        return "?", "?"
    if weight == 2:
        return ("Dense", _KEPT) if "bias" in names else ("Embedding or Dense", "made or kept")
    return {1: ("LayerNormalization", _KEPT), 3: ("Conv1D", _DROPPED)}.get(weight, ("?", "?"))
