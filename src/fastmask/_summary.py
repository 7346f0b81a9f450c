"""What is in a model: a row for each call of a layer."""

from __future__ import annotations

from typing import Any, NamedTuple

from ._table import table
from .layers import Layer
from .layers._calls import flat, is_shape
from .layers._infer import explicitly_masked, infer
from .layers._symbolic import SymbolicTensor


class SummaryRow(NamedTuple):
    """One call of a layer."""

    layer: str
    type: str
    shape: Any  # of the output, or a list of shapes; None before the model is built
    parameters: int
    mask: str  # what the layer does with a mask


class Summary(list[SummaryRow]):
    """Rows, and their readable form."""

    def __init__(self, rows: list[SummaryRow], title: str) -> None:
        super().__init__(rows)
        self.title = title

    def __str__(self) -> str:
        headings = ("layer", "output shape", "parameters", "mask")
        lines = [
            (
                f"{row.layer} ({row.type})",
                "?" if row.shape is None else ", ".join(map(str, _shapes(row.shape))),
                f"{row.parameters:,}",
                row.mask,
            )
            for row in self
        ]
        return f"{self.title}\n{table(headings, lines, right=[2])}"

    __repr__ = __str__


def summarise(model: Any) -> Summary:
    """The rows of a model."""
    rows: list[SummaryRow] = []
    inputs = _symbolic_inputs(model)
    if inputs is None:
        rows += (_row(layer, None, "?") for layer in model.layers)
    else:
        model._flow(inputs, _noting(rows, ""))
    return Summary(rows, f"{model.name}: {model.count_params():,} parameters")


def _symbolic_inputs(model: Any) -> Any:
    """Symbolic inputs as the model was built for; None if it has not been built."""
    if not hasattr(model, "_flow"):
        return None
    if hasattr(model, "_program"):
        return [SymbolicTensor(one.shape, one.dtype, one.name) for one in model._program.inputs]
    if not model.built or not model.layers:
        return None
    first = model.layers[0]
    if hasattr(first, "_flow"):
        return _symbolic_inputs(first)
    shape = first._build_shape
    if is_shape(shape):
        return SymbolicTensor((None, *shape[1:]), first.dtype, "input")
    return [SymbolicTensor((None, *one[1:]), first.dtype, "input") for one in shape]


def _noting(rows: list[SummaryRow], prefix: str) -> Any:
    def apply(layer: Layer, inputs: Any, options: dict[str, Any]) -> Any:
        if hasattr(layer, "_flow"):
            before = len(rows)
            given = explicitly_masked(layer, inputs, options.get("mask"))
            outputs = layer._flow(given, _noting(rows, f"{prefix}{layer.name}/"))
            if len(rows) == before:
                rows.append(_row(layer, _shape_of(outputs), "-", prefix))
            return outputs
        outputs, word = infer(layer, inputs, options)
        rows.append(_row(layer, _shape_of(outputs), word, prefix))
        return outputs

    return apply


def _row(layer: Layer, shape: Any, word: str, prefix: str = "") -> SummaryRow:
    name = f"{prefix}{layer.name}"
    return SummaryRow(name, type(layer).__name__, shape, layer.count_params(), word)


def _shape_of(outputs: Any) -> Any:
    if isinstance(outputs, (list, tuple)):
        return [one.shape for one in flat(outputs)]
    return outputs.shape


def _shapes(shape: Any) -> list[Any]:
    return [shape] if is_shape(shape) else shape
