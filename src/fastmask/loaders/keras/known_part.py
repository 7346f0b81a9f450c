"""The part of a model that can be connected although other layers of it are not supported."""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace

from ...layers import Layer
from . import connecting
from .described import Described, Ref, refs
from .making import Maker, Problems
from .operations import operation

_DAMAGED = (TypeError, ValueError, AttributeError, LookupError, OverflowError)


def known_part(what: Described, maker: Maker) -> Layer | None:
    """A model of the layers whose inputs are known; None if there are none.

    Args:
        what: the model.
        maker: has made those of its layers that it could.
    """
    note_operations(what, maker)
    part = _functional(what, maker) if what.inputs is not None else _sequential(what, maker)
    children = part.children or []
    layers = [maker.layers.get(child.path) for child in children]
    if not any(layers):
        return None
    spare = copy.copy(maker)
    spare.problems, spare._outermost = Problems(), part
    try:
        return connecting.model(part, layers, spare)
    except _DAMAGED:
        return None  # for example, the file's description of a call may be damaged


def note_operations(what: Described, maker: Maker) -> None:
    """Note what is wrong with operations, which are made only as the model is connected."""
    for one in what.everything():
        if one.operation and one.path not in maker.problems.of:
            try:
                for node in one.nodes:
                    operation(one, node)
            except _DAMAGED as error:
                maker.problems.add(one, error)


def mask_operations(what: Described) -> set[str]:
    """The names of operations that only make masks for layers, where masks travel by themselves."""
    users: dict[str, set[str]] = defaultdict(set)
    for child in what.children or ():
        for node in child.nodes:
            others = {key: one for key, one in node.kwargs.items() if key != "mask"}
            for ref in refs(node.args) + refs(others):
                users[ref.layer].add(child.name)
            for ref in refs(node.kwargs.get("mask")):
                users[ref.layer].add("")  # for a mask
    found, outputs = {""}, {ref.layer for ref in refs(what.outputs)}
    for child in reversed(what.children or []):  # users come before what they use
        if child.operation and users[child.name] and users[child.name] <= found - outputs:
            found.add(child.name)
    return found - outputs - {""}


def shown_layers(what: Described, maker: Maker) -> list[Described]:
    """The layers of a file that a table shows, and an error counts.

    Without inputs, and operations that only make masks, unless something is wrong with them.
    """
    hidden = _hidden(what) - maker.problems.of.keys()
    return [one for one in what.everything() if one.path not in hidden]


def _hidden(what: Described) -> set[str]:
    masks = mask_operations(what)
    found = set[str]()
    for child in what.children or ():
        if child.kind == "InputLayer" or child.name in masks:
            found.add(child.path)
        found |= _hidden(child)
    return found


def _is_known(child: Described, maker: Maker) -> bool:
    made = child.operation or child.kind == "InputLayer" or child.path in maker.layers
    return made and child.path not in maker.problems.of


def _sequential(what: Described, maker: Maker) -> Described:
    children = what.children or []
    known = [_is_known(child, maker) for child in children]
    return replace(what, children=children[: [*known, False].index(False)])


def _functional(what: Described, maker: Maker) -> Described:
    """The model up to the calls that take outputs of a layer that is not known."""
    children = [child for child in what.children or () if _is_known(child, maker)]
    unknown = {child.name for child in what.children or ()} - {one.name for one in children}
    while True:  # each time without those that need what was left out before
        kept = [child for child in children if not unknown & set(_needed(child))]
        if len(kept) == len(children):
            break
        unknown |= {child.name for child in children} - {one.name for one in kept}
        children = kept
    masks = mask_operations(what)
    while True:  # each time without those that make masks for layers that were left out
        needed = {name for child in kept for name in _needed(child)}
        children = [child for child in kept if child.name not in masks - needed]
        if len(children) == len(kept):
            break
        kept = children
    ends: list[Ref] = [
        Ref(child.name, child.first_call + number, 0)
        for child in kept
        for number in range(len(child.nodes))
        if child.name not in needed and child.kind != "InputLayer"
    ]
    starts = [
        Ref(child.name, 0, 0)
        for child in kept
        if child.kind == "InputLayer" and child.name in needed
    ]
    return replace(what, children=kept, inputs=starts, outputs=ends)


def _needed(child: Described) -> Iterator[str]:
    """The names of the layers whose outputs a layer is called on."""
    for node in child.nodes:
        yield from (ref.layer for ref in refs(node.args) + refs(node.kwargs))
