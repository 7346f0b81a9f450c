"""Models of Keras: .keras and .h5 files."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

from ...layers import Layer
from ...layers._symbolic import SymbolicTensor
from ...layers._weights import filling
from ...models.model import Model
from ...models.summary import SummaryRow, inputs_of, inputs_told, outputs_named, summarize
from .._reading import Reader
from ..description import Description, Row
from ..hdf5 import Hdf5
from ..keras import KerasFile, check_weights
from ..keras.connecting import input_of
from ..keras.described import Described, refs
from ..keras.known_part import known_part, shown_layers
from ..keras.making import Maker
from ..keras_arrays import NOT_WEIGHTS, arrays_in
from .npz import notes_on, row_of

_MOST_GROUPS = 2**16
_MOST_TOLD = 40


def describe(file: Reader) -> Description:
    """What is in a file."""
    found = KerasFile(file)
    count = sum(_sizes(found.weights, _root(found.what, found))) if found.weights else 0
    title = f"{Path(file.name).name}: {count:,} parameters"
    maker = Maker({}, found.assets, found.size)
    with filling("shapes"):
        model = maker.make(found.what)
        if model is not None and not maker.problems.of:
            layers = model.layers if isinstance(model, Model) else [model]
            seen = summarize(model, layers)
            listed, ends = [row_of(row) for row in seen], (inputs_of(model), seen.outputs)
            faults = _faults(found, model, maker)
            return Description(title, listed, notes_on(model), *ends, faults)
        part = known_part(found.what, maker)
        known = {} if part is None else {row.layer: row for row in summarize(part, [])}
    shown = shown_layers(found.what, maker)
    rows = [_row(one, known.get(one.path), found, maker) for one in shown]
    faults = maker.problems.lines(without=shown)
    ends = _inputs(found.what), _outputs(found.what)
    return Description(title, rows, _groups(found), *ends, faults)


def _faults(found: KerasFile, model: Layer, maker: Maker) -> list[str]:
    """What is wrong with the weights of a model."""
    try:
        check_weights(found, model, maker)
    except ValueError as error:
        return [str(error)]
    return []


def _inputs(what: Described) -> str:
    """The inputs of a model that cannot be loaded."""
    made = {child.name: child for child in what.children or () if child.kind == "InputLayer"}
    named = what.inputs is not None
    try:
        names = [ref.layer for ref in refs(what.inputs)] if named else list(made)
        inputs = [input_of(made[name]) for name in names]
    except (KeyError, TypeError, ValueError):  # this may be why it cannot be loaded
        return ""
    if isinstance(what.inputs, dict):
        pairs = zip(inputs, what.inputs, strict=False)
        inputs = [SymbolicTensor(one.shape, one.dtype, name) for one, name in pairs]
    return inputs_told(inputs, named) if inputs else ""


def _outputs(what: Described) -> str:
    """What the outputs of a model that cannot be loaded are called."""
    keys = isinstance(what.outputs, dict)
    return outputs_named(what.outputs if keys else [ref.layer for ref in refs(what.outputs)])


def _row(what: Described, known: SummaryRow | None, found: KerasFile, maker: Maker) -> Row:
    """The row of a layer; without what it makes of its inputs if these are not known."""
    wrong = "; ".join(maker.problems.inside(what))
    kind = "Operation" if what.operation and not wrong else what.kind
    shape, mask = "?", "?"
    if known is not None:
        _, _, shape, _, mask, _ = row_of(known)
    count = sum(_sizes(found.weights, _root(what, found))) if found.weights else None
    return Row(what.path, kind, shape, count, mask, wrong or "yes")


def _root(what: Described, found: KerasFile) -> str:
    """The group with the weights of a layer."""
    if found.what.children is None:
        return ""
    if found.archive is not None:
        return what.stored or ("layers" if what is found.what else "nothing")
    around = "model_weights" if found.weights and "model_weights" in found.weights else ""
    if what is found.what:
        return around
    return f"{around}/{what.path.partition('/')[0]}".lstrip("/")


def _groups(found: KerasFile) -> list[str]:
    """The weights of a model of a class of the user's, which alone knows its layers."""
    if found.weights is None or found.what.children is not None:
        return []
    groups: dict[str, list[str]] = {}
    for path in arrays_in(found.weights):
        group = path.rpartition("/")[0].removesuffix("/vars")
        groups.setdefault(group, []).append(str(found.weights.info(path).shape))
    told = [f"{group} {', '.join(shapes)}" for group, shapes in groups.items()]
    more = [f"and {len(told) - _MOST_TOLD} more"] if len(told) > _MOST_TOLD else []
    return [f"weights in the file: {'; '.join([*told[:_MOST_TOLD], *more])}"] if told else []


def _sizes(file: Hdf5, group: str) -> Iterator[int]:
    """How many numbers each array in a group, and in those inside it, has."""
    stack, count = [group], 0
    while stack:
        path = stack.pop()
        count += 1
        if count > _MOST_GROUPS:
            raise ValueError(f"it has more than {_MOST_GROUPS} groups and arrays")
        if file.is_array(path):
            yield math.prod(file.info(path).shape)
        inner = (name for name in file.members(path) if name not in NOT_WEIGHTS)
        stack += [f"{path}/{name}".lstrip("/") for name in inner]
