"""What a file of Keras says about a model, in one form for all versions of Keras; data only."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from ..._checks import shown
from ...models.config import NeedsObjects
from ..keras_names import counted, snake_case

MOST_LAYERS = 4096  # a file of a few megabytes could describe more than are made in an hour


class Unsupported(ValueError):
    """A layer, or an argument of it, that is not supported; the text says what to do."""


class Unknown(Unsupported, NeedsObjects):
    """A class or function that is not known, and may be the user's."""


class Ref(NamedTuple):
    """An output of a layer's call."""

    layer: str
    call: int
    output: int


class Node(NamedTuple):
    """A call of a layer, with `Ref` for the tensors in its arguments."""

    args: list[Any]
    kwargs: dict[str, Any]


@dataclass
class Described:
    """A layer, a model, or an operation on tensors."""

    path: str  # names of the models and wrappers around it, and its own
    kind: str  # name of its class
    name: str
    config: dict[str, Any]
    version: int  # of Keras
    named: bool = True  # False if a class of the user's leaves the name out of its config
    registered: str = ""  # "package>Name" of a class from outside Keras
    operation: bool = False
    build_shape: Any = None
    build_shapes: dict[str, Any] = field(default_factory=dict)  # of several arguments, by name
    nodes: list[Node] = field(default_factory=list)
    first_call: int = 0  # the number of the first of them
    children: list[Described] | None = None  # of a model
    inputs: Any = None  # of a functional model: a `Ref`, or a list or dict of these
    outputs: Any = None
    stored: str = ""  # where in a `.keras` file its weights and vocabularies are

    def everything(self) -> Iterator[Described]:
        """This layer, unless it is a model, and the layers in it, in order."""
        if self.children is None:
            yield self
        for child in self.children or ():
            yield from child.everything()


def refs(value: Any) -> list[Ref]:
    """The tensors in an argument."""
    if isinstance(value, Ref):
        return [value]
    if isinstance(value, dict):
        value = list(value.values())
    return [ref for one in value for ref in refs(one)] if isinstance(value, list) else []


def known_ref(data: Any) -> Ref:
    """A tensor, described by a layer's name, and the numbers of a call and an output.

    Raises:
        ValueError: it is something else.
    """
    if isinstance(data, list) and len(data) >= 3:
        layer, call, output = data[:3]
        if isinstance(layer, str) and type(call) is int and type(output) is int:
            return Ref(layer, call, output)
    raise ValueError(f"a tensor must be like ['name', 0, 0], not {shown(data)}")


def ends(data: Any) -> Any:
    """Inputs or outputs of a functional model: a tensor, or a list or dict of these."""
    if isinstance(data, dict):
        return {key: ends(data[key]) for key in sorted(data)}  # as Keras counts them
    if isinstance(data, list) and (not data or not isinstance(data[0], str)):
        return [ends(one) for one in data]
    return known_ref(data)


def placed(what: Described, path: str = "") -> None:
    """Find out where the layers of a model are stored in a `.keras` file."""
    what.stored = path
    inner = [one for one in what.children or () if not one.operation]
    names = list(counted(snake_case(one.kind) for one in inner))
    name_all(inner, names)
    for one, name in zip(inner, names, strict=True):
        placed(one, f"{path}/layers/{name}".lstrip("/"))


def name_all(layers: list[Described], names: list[str]) -> None:
    """Name the layers of a model whose descriptions lack their names."""
    for one, name in zip(layers, names, strict=False):
        if not one.named and len(layers) == len(names):
            one.path = f"{one.path.rpartition('/')[0]}/{name}".lstrip("/")
            one.name = name


def class_and_config(data: Any) -> tuple[str, dict[str, Any]]:
    """The name of a layer's class, and its arguments.

    Raises:
        ValueError: they are not there.
    """
    if isinstance(data, dict):
        kind, config = data.get("class_name"), data.get("config")
        if kind == "Sequential" and isinstance(config, list):  # of Keras before 2.2.3
            config = {"layers": config}
        if isinstance(kind, str) and isinstance(config, dict):
            return kind, config
    raise ValueError(f"a layer must have class_name and config, not {shown(data)}")


def name_in(data: Any) -> str:
    """The name of a layer in a model; that of its class, if a class of the user's leaves it out.

    Raises:
        ValueError: its description is damaged.
    """
    kind, config = class_and_config(data)
    return str(data.get("name") or config.get("name") or kind)
