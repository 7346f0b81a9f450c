"""What is in a model: one row for each call of a layer."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from .._typing import Shapes
from ..commands.table import table
from ..layers import RNN, Bidirectional, Embedding, IntegerLookup, Layer, StackedRNNCells
from ..layers._base import BaseLayer
from ..layers._call_graph import Apply, CallGraph
from ..layers._calls import flat
from ..layers._cell import KernelCell
from ..layers._infer import SIZES, explicitly_masked, infer, on_zeros
from ..layers._lost_mask import without_warnings
from ..layers._shapes import is_shape, merge_shapes
from ..layers._symbolic import SymbolicTensor, Symbols
from .visits import visits

_Seen = set[int]  # the ids of layers in the rows so far, whose parameters count once

# Layers made of these alone call no others that running them on zeros would show.
_RECURRENT = (RNN, Bidirectional, StackedRNNCells, KernelCell)


class SummaryRow(NamedTuple):
    """One call of a layer."""

    layer: str  # its name, after those of the layers around it: "encoder/words"
    type: str  # its class, the form of its weights after `quantize`, and "folded" or "shared"
    shape: Shapes | None  # of the output, or a list of shapes; None before the model is built
    parameters: int  # including those of the layers inside it, but for those of rows before it
    mask: str  # what the layer does with a mask


class Summary(list[SummaryRow]):
    """The rows of a summary; prints as a table."""

    def __init__(
        self, rows: list[SummaryRow], title: str, inputs: str = "", outputs: str = ""
    ) -> None:
        super().__init__(rows)
        self.title, self.inputs, self.outputs = title, inputs, outputs

    def __str__(self) -> str:
        headings = ("layer", "output shape", "parameters", "mask")
        lines = [
            (
                f"{row.layer} ({row.type})",
                "?" if row.shape is None else ", ".join(map(str, _shapes(row.shape))),
                "?" if row.shape is None and not row.parameters else f"{row.parameters:,}",
                row.mask,
            )
            for row in self
        ]
        head = filter(None, (self.title, self.inputs, self.outputs))
        return "\n".join([*head, table(headings, lines, right=[2])])

    __repr__ = __str__


def summarize(model: Layer, layers: Sequence[Layer]) -> Summary:
    """The rows of a model."""
    rows: list[SummaryRow] = []
    inputs = symbolic_inputs(model)
    if inputs is None:
        return _unknown(model, layers)
    try:
        with without_warnings():
            outputs = run_symbolic(model, inputs, _noting(rows, set(), "", model))
    except Exception:  # a custom layer may not accept zeros
        return _unknown(model, layers)
    return _titled(model, rows, _outputs_told(model, flat(outputs)))


def run_symbolic(model: BaseLayer, inputs: Symbols, apply: Apply) -> Any:
    """What a model, or a layer, returns for symbolic tensors."""
    if isinstance(model, CallGraph):
        return model._run_graph(inputs, apply)
    return apply(model, inputs, {})


def _unknown(model: Layer, layers: Sequence[Layer]) -> Summary:
    seen = set[int]()
    names = model._output_words() if isinstance(model, CallGraph) else None
    rows = [_row(layer, None, "?", seen) for layer in layers]
    return _titled(model, rows, outputs_named(names or []))


def _titled(model: Layer, rows: list[SummaryRow], outputs: str = "") -> Summary:
    if model.built:
        title = f"{model.name}: {model.count_params():,} parameters"
        return Summary(rows, title, inputs_of(model), outputs)
    return Summary(
        rows,
        f"{model.name}: not built, so its parameters are not known; first call it on some data, "
        "or its build(input_shape)",
    )


def symbolic_inputs(model: BaseLayer) -> Symbols | None:
    """Symbolic inputs with the shapes that the model was built for, or None before that."""
    if isinstance(model, CallGraph) and (specs := model._symbolic_inputs()) is not None:
        return specs[0] if len(specs) == 1 else specs
    if not model.built:
        return None
    if isinstance(model, CallGraph):
        known = map(symbolic_inputs, model._inner_layers())
        return next((one for one in known if one is not None), None)  # none for an empty model
    if (shape := model._build_shape) is None:
        return None
    dtype = _dtype_of_inputs(model)
    if is_shape(shape):
        return SymbolicTensor((None, *shape[1:]), dtype, "input")
    return [SymbolicTensor((None, *one[1:]), dtype, "input") for one in shape]


def inputs_of(model: BaseLayer) -> str:
    """A line about the inputs in order; empty before the model is built."""
    declared = isinstance(model, CallGraph) and model._symbolic_inputs() is not None
    known = symbolic_inputs(model)
    return "" if known is None else inputs_told(flat(known), named=declared)


def inputs_told(inputs: list[SymbolicTensor], named: bool = True) -> str:
    """A line about inputs: their names, where they can be given by these, shapes and dtypes."""
    return _told("inputs", inputs, [one.name for one in inputs] if named else None)


def _outputs_told(model: BaseLayer, outputs: list[SymbolicTensor]) -> str:
    """A line about outputs: their keys or the layers that made them, shapes and dtypes."""
    names = model._output_words() if isinstance(model, CallGraph) else None
    return _told("outputs", outputs, names)


def outputs_named(names: Iterable[str]) -> str:
    """A line about outputs of which only the names are known; empty without any."""
    listed = ", ".join(names)
    return listed and f"outputs: {listed}"


def _told(kind: str, ends: list[SymbolicTensor], names: list[str] | None) -> str:
    words = [""] * len(ends) if names is None else [f"{name} " for name in names]
    told = (f"{one.shape} {one.dtype.type.__name__.rstrip('_')}" for one in ends)
    return f"{kind}: {', '.join(word + one for word, one in zip(words, told, strict=True))}"


def _dtype_of_inputs(layer: BaseLayer) -> str:
    if layer._takes_texts:
        return "str"
    return "int32" if isinstance(layer, (Embedding, IntegerLookup)) else layer.dtype


def _noting(rows: list[SummaryRow], seen: _Seen, prefix: str, model: BaseLayer) -> Apply:
    tables = model._folded() if isinstance(model, CallGraph) else {}

    def apply(layer: BaseLayer, inputs: Symbols, options: dict[str, Any]) -> Any:
        if isinstance(layer, CallGraph):
            before = len(rows)
            given = explicitly_masked(layer, inputs, options.get("mask"))
            outputs = layer._run_graph(given, _noting(rows, seen, f"{prefix}{layer.name}/", layer))
            if len(rows) == before:
                rows.append(_row(layer, _shape_of(outputs), "-", seen, prefix))
            return outputs
        outputs, word = infer(layer, inputs, options)
        before_it = set(seen)
        rows.append(_row(layer, _shape_of(outputs), word, seen, prefix, layer.name in tables))
        inner = list(layer._all_layers())[1:]
        if inner and not all(isinstance(one, _RECURRENT) for one in (layer, *inner)):
            rows.extend(_inside(layer, inputs, options, before_it, prefix))
        return outputs

    return apply


def _inside(
    layer: BaseLayer, inputs: Symbols, options: dict[str, Any], seen: _Seen, prefix: str
) -> list[SummaryRow]:
    """The layers that `layer` calls, found by calling it on zeros of two sizes."""
    try:
        once, again = (
            visits(functools.partial(on_zeros, layer, inputs, options, size))[1:] for size in SIZES
        )
    except Exception:  # a custom layer may not accept zeros
        path = f"{prefix}{layer.name}/"
        inner = [one for one in layer._sublayers() if isinstance(one, Layer)]
        return [_row(one, None, "?", seen, path) for one in inner]
    same = [one.path for one in once] == [other.path for other in again]
    return [
        _row(
            one.layer,
            merge_shapes(one.shape, other.shape),
            one.did,
            seen,
            f"{prefix}{one.path.removesuffix(one.layer.name)}",
        )
        for one, other in zip(once, again if same else once, strict=True)
    ]


def _row(
    layer: BaseLayer,
    shape: Shapes | None,
    word: str,
    seen: _Seen,
    prefix: str = "",
    folded: bool = False,
) -> SummaryRow:
    name = f"{prefix}{layer.name}"
    shared = "shared" if id(layer) in seen else None
    notes = [type(layer).__name__, layer._quantization, "folded" if folded else None, shared]
    kind = ", ".join(note for note in notes if note)
    new = [one for one in layer._all_layers() if id(one) not in seen]
    seen.update(map(id, new))
    count = sum(weight.value.size for one in new for weight in one._weights)
    return SummaryRow(name, kind, shape, count, word)


def _shape_of(outputs: Symbols) -> Shapes:
    if isinstance(outputs, (list, tuple)):
        return [one.shape for one in flat(outputs)]
    return outputs.shape


def _shapes(shape: Shapes) -> Sequence[Shapes]:
    return [shape] if is_shape(shape) else shape
