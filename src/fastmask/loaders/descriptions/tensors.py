"""Weights by torch's names: .safetensors, state dicts, and .onnx files."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path

from .._reading import Reader
from ..description import Description, Row, effect_on_masks
from ..weights import onnx, safetensors, state_dict
from ..weights.stored import Module, Stored
from .cells import NOTE, layer_of_cell

_CELLS = {4: "LSTM", 3: "GRU", 1: "SimpleRNN"}  # by the number of gates


def describe(file: Reader) -> Description:
    """What is in a file of weights."""
    path, notes = Path(file.name), []
    if path.suffix.lower() == ".onnx":
        graph = onnx.graph_of(file)
        modules = onnx.modules_of(graph)
        kinds = Counter(node.kind for node in graph.nodes)
        inner = [f"{kind} ({kinds[kind]})" for kind in sorted(onnx.WITH_GRAPHS & set(kinds))]
        if onnx.seems_unrolled(graph, modules):
            notes.append(f"if a recurrent layer is missing here: {onnx.UNROLLED}")
        if inner:
            notes.append(f"nodes with graphs of their own, which are not read: {', '.join(inner)}")
    else:
        reader = safetensors if path.suffix.lower() == ".safetensors" else state_dict
        modules = reader.modules(file)
    rows = [_row(module) for module in modules]
    if any(layer_of_cell(module) for module in modules):
        notes.append(NOTE)
    notes.append("weights alone: build the model, and give it the file with model.load_weights")
    total = sum(row.parameters or 0 for row in rows)
    return Description(f"{path.name}: {total:,} parameters in {len(rows)} modules", rows, notes)


def _row(module: Module) -> Row:
    of_cell = layer_of_cell(module)
    kind = of_cell or _kind(module)
    mask = effect_on_masks("RNN" if of_cell else kind.removesuffix(" or Dense"))
    parts = module.parts.items() if of_cell else _sorted(module)
    shapes = ", ".join(f"{name} {part.shape}" for name, part in parts)
    parameters = sum(math.prod(part.shape) for part in module.parts.values())
    support = "yes" if kind != "?" else "no layer has such weights"
    if "weight_hr" in module.parts:
        support = "no layer has projections, proj_size"
    backwards = ", backwards" * module.backwards
    return Row(module.name or "-", f"{kind}{backwards}", shapes, parameters, mask, support)


def _sorted(module: Module) -> list[tuple[str, Stored]]:
    """The parts, weights before biases."""
    return sorted(module.parts.items(), reverse=True)


def _kind(module: Module) -> str:
    """The layer here that has weights of such names and axes."""
    parts = module.parts
    axes = {name: len(part.shape) for name, part in parts.items()}
    if axes.get("weight_ih") == axes.get("weight_hh") == 2:
        columns = parts["weight_hh"].shape[1]
        gates, rest = divmod(parts["weight_ih"].shape[0], columns or 1)
        return _CELLS.get(gates, "?") if not rest else "?"
    weight, moments = axes.get("weight"), {"running_mean", "running_var"}
    if moments <= set(axes) <= {*moments, "weight", "bias"}:
        return "BatchNormalization"
    if not set(axes) <= {"weight", "bias"}:
        return "?"
    if weight == 2:
        return "Dense" if "bias" in axes else "Embedding or Dense"
    return {1: "LayerNormalization", 3: "Conv1D"}.get(weight or 0, "?")
