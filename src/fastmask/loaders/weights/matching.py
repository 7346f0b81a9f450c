"""Match the modules of a file with the layers whose weights have the same shapes.

If several fit alike, each layer takes the one with its name, if all of them have one; otherwise the
first layer takes the first module, and so on. A file that sorts its modules by name has lost that
order, unless their names differ by numbers only.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from ..._typing import Array
from ...layers import RNN, Layer
from .forms import Form, form_of
from .stored import Misfit, Module

# What DistributedDataParallel, torch.compile and FSDP put before the names of what they wrap.
_WRAPPERS = re.compile(r"(^|\.)(?:(?:module|_orig_mod|_fsdp_wrapped_module)\.)+")


class _Target(NamedTuple):
    """A layer that has weights of its own."""

    path: str
    layer: Any
    form: Form
    backwards: bool

    @property
    def key(self) -> object:
        return self.backwards, frozenset(self.form.shapes.items())


def matched(model: Layer, modules: Iterable[Module], ordered: bool) -> list[Array]:
    """The weights for `model.set_weights`.

    Args:
        model: a built model.
        modules: what is in the file.
        ordered: whether they come in the order in which they were made.

    Raises:
        Misfit: a layer finds no module, or a module no layer.
    """
    targets, found = list(_targets(model)), list(modules)
    pairs, faults = [], []
    rest: tuple[list[_Target], list[Module]] = [], []
    for own, theirs in _alike(targets, found):
        if len(own) != len(theirs):
            rest[0].extend(own)
            rest[1].extend(theirs)
            continue
        pairing = _paired(own, theirs, ordered)
        if pairing is None:
            faults.append(_ambiguous(own, theirs))
        else:
            pairs.extend(pairing)
    faults += [fault for pair in pairs for fault in _other_options(*pair)]
    faults += _left_over(*rest)
    if faults:
        raise Misfit(faults)
    values: dict[int, Array] = {}
    for target, module in pairs:
        parts = {name: module.parts[name].read() for name in target.form.shapes}
        for weight, value in zip(target.layer._weights, target.form.weights(parts), strict=True):
            values[id(weight.value)] = value
    return [values[id(weight.value)] for weight in model._all_weights()]


def _targets(model: Layer) -> Iterator[_Target]:
    """The layers with weights of their own, each once, in the order of `get_weights`."""
    seen: set[int] = set()
    stack: list[tuple[Any, str, bool]] = [(model, "", False)]
    while stack:
        layer, path, backwards = stack.pop()
        if id(layer) in seen:
            continue
        seen.add(id(layer))
        if layer._weights:
            yield _Target(path, layer, form_of(layer), backwards)
        for one in reversed(list(layer._sublayers())):
            back = layer.go_backwards if isinstance(layer, RNN) else backwards
            inner = path if one.name == layer.name else f"{path}/{one.name}".lstrip("/")
            stack.append((one, inner, back))


def _alike(
    targets: list[_Target], modules: list[Module]
) -> list[tuple[list[_Target], list[Module]]]:
    """Layers and modules by the shapes of their parts."""
    groups: dict[object, tuple[list[_Target], list[Module]]] = defaultdict(lambda: ([], []))
    for target in targets:
        groups[target.key][0].append(target)
    for module in modules:
        shapes = frozenset((name, part.shape) for name, part in module.parts.items())
        groups[module.backwards, shapes][1].append(module)
    return list(groups.values())


def _paired(
    targets: list[_Target], modules: list[Module], ordered: bool
) -> list[tuple[_Target, Module]] | None:
    """Each layer and its module; None if it is not known."""
    by_name = {_words(module.name): module for module in modules}
    names = [_names(target) & set(by_name) for target in targets]
    if len(by_name) == len(modules) and all(len(one) == 1 for one in names):
        chosen = [by_name[one.pop()] for one in names]
        if len(set(map(id, chosen))) == len(modules):
            return list(zip(targets, chosen, strict=True))
    if not ordered:
        modules = sorted(modules, key=lambda one: _natural(one.name))
        if len({re.sub("[0-9]+", "0", one.name) for one in modules}) > 1:
            return None
    return list(zip(targets, modules, strict=True))


def _names(target: _Target) -> set[tuple[str, ...]]:
    """Possible names of a layer's module: the layer's own, or that of a layer around it."""
    words = target.path.split("/")
    return {_words(name) for name in (*words, ".".join(words))}


def _words(name: str) -> tuple[str, ...]:
    """The words of a path, whatever joins them; without wrappers and torch's "l0"."""
    return tuple(re.split("[./_]", re.sub(r"(^|\.)l0$", "", _WRAPPERS.sub(r"\1", name))))


def _natural(name: str) -> list[tuple[int, str]]:
    """A key to sort names by, in which 10 comes after 9."""
    parts = re.split("([0-9]+)", name)
    return [(int(part), "") if i % 2 else (-1, part) for i, part in enumerate(parts)]


def _ambiguous(targets: list[_Target], modules: list[Module]) -> str:
    return (
        f"{_listed(module.name for module in modules)} in the file fit the layers "
        f"{_listed(target.path for target in targets)} alike, and the file does not keep their "
        "order: give the layers the names that they have in the file"
    )


def _other_options(target: _Target, module: Module) -> Iterator[str]:
    """Options in which a layer differs from the module that its weights come from."""
    for name, wanted in module.options.items():
        own = getattr(target.layer, name, wanted)
        if own != wanted:
            yield f"{target.path}: {name} is {own!r}, but the file's {module.name!r} has {wanted!r}"


def _left_over(targets: list[_Target], modules: list[Module]) -> Iterator[str]:
    """What is missing, what is left over, and what has other shapes."""
    others = list(modules)
    for target in targets:
        parts = set(target.form.shapes)
        alike = [
            one for one in others if set(one.parts) == parts and one.backwards == target.backwards
        ]
        if alike:
            others.remove(alike[0])
            yield f"{target.path}: {_differences(target.form, alike[0])}"
        else:
            wanted = _listed(f"{name} {shape}" for name, shape in target.form.shapes.items())
            yield f"{target.path}: wants {wanted}; nothing like that is left in the file"
    for module in others:
        yield f"the file's {_described(module)}, for which there is no layer"


def _differences(form: Form, module: Module) -> str:
    """How the shapes differ; where they do not, another layer has taken the module."""
    differing = [
        f"{name} {shape}, but it is {module.parts[name].shape} in the file's {module.name!r}"
        for name, shape in form.shapes.items()
        if module.parts[name].shape != shape
    ]
    return "wants " + ("; ".join(differing) or f"a module like the file's {module.name!r}")


def _described(module: Module) -> str:
    backwards = " (backwards)" * module.backwards
    return f"{module.name!r}{backwards} has " + _listed(
        f"{name} {part.shape}" for name, part in module.parts.items()
    )


def _listed(words: Iterable[str]) -> str:
    return ", ".join(words)
