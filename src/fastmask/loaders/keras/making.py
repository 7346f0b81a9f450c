"""Make layers from what a file of Keras says; problems are noted, not raised."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ... import layers as _layers
from ..._checks import foreign_layer_hint, shown
from ...layers import Layer
from ...layers._vocabulary import Vocabulary
from .._reading import shortened
from . import connecting, version2, version3
from .catalog import (
    DEFAULTS_OF_2,
    DROPPED,
    DROPPED_ENDINGS,
    KNOWN,
    REFUSED,
    UNKNOWN,
    Entry,
)
from .described import Described, Unknown, Unsupported
from .own import RECURRENT, Own, built, by_hand, is_cell, with_cell

_INT8 = "int8"
_ACTIVATIONS = ("activation", "recurrent_activation")
Assets = Callable[[Described], tuple[list[str] | None, Any]]


class Problems:
    """What is wrong with the layers of a file, by their paths."""

    def __init__(self) -> None:
        self.of: dict[str, list[str]] = {}
        self.unknown = False  # whether one is a class or function that is not known

    def add(self, layer: Described, problem: str | Exception) -> None:
        """Note what is wrong with a layer."""
        self.unknown |= isinstance(problem, Unknown)
        text = str(problem) or type(problem).__name__
        self.of.setdefault(layer.path, []).append(shortened(text, 500))

    def lines(self, without: Sequence[Described] = ()) -> list[str]:
        """All of them, one a line, except those of some layers and of what is inside these."""
        told = {path for one in without for path in self._paths(one)}
        return [
            f"{path}: {text}"
            for path, texts in self.of.items()
            if path not in told
            for text in texts
        ]

    def inside(self, layer: Described) -> list[str]:
        """Those of a layer and of the layers inside it."""
        return [
            text if path == layer.path else f"{path.removeprefix(layer.path)[1:]}: {text}"
            for path in self._paths(layer)
            for text in self.of[path]
        ]

    def _paths(self, layer: Described) -> list[str]:
        return [path for path in self.of if f"{path}/".startswith(f"{layer.path}/")]


class Maker:
    """Makes layers, unbuilt.

    Args:
        custom: the user's own classes and functions, by "Name" or "package>Name".
        assets: finds the vocabulary of a layer, and weights of its tokens.
        most: how many numbers all weights can have together.

    Attributes:
        problems: of the layers that could not be made.
        layers: those that could, by their paths.
        custom_layers: the ids of those of the user's classes.
        lora_alphas: factors of what LoRA adds to the weights of layers, by their ids.
    """

    def __init__(self, custom: Mapping[str, Any], assets: Assets, most: int) -> None:
        self._custom = Own(custom)
        self._assets = assets
        self._most = most
        self.problems = Problems()
        self.layers: dict[str, Layer] = {}
        self.custom_layers: set[int] = set()
        self.lora_alphas: dict[int, float] = {}
        self._kinds: dict[int, Described] = {}
        self._children: dict[int, list[Layer]] = {}  # of a model, in Keras's order
        self._outermost: Described | None = None

    def kind_of(self, layer: Layer) -> str:
        """The name that Keras has for the class of a layer."""
        what = self._kinds.get(id(layer))
        return type(layer).__name__ if what is None else what.kind

    def check_weights(self, layer: Layer) -> None:
        """Check that a layer's weights can be in the file, before memory of their sizes is taken.

        Raises:
            Unsupported: they cannot.
        """
        if layer.count_params() > self._most:
            raise Unsupported(f"{layer.name!r} has more weights than the file can hold")

    def is_nested(self, what: Described) -> bool:
        """Whether a model is inside another one, whose masks may reach it."""
        return what is not self._outermost

    def children_of(self, layer: Layer) -> list[Layer] | None:
        """The layers of a model, in Keras's order; None for a layer that is no model."""
        return self._children.get(id(layer))

    def make(self, what: Described) -> Layer | None:
        """Make a layer; if that is impossible, note the problem and return None."""
        self._outermost = self._outermost or what
        try:
            layer = self._make(what)
        except Unsupported as error:
            self.problems.add(what, error)
            return None
        except (TypeError, ValueError, AttributeError, OverflowError) as error:
            self.problems.add(what, f"is of class {what.kind}, and cannot be made: {error}")
            return None
        if layer is not None:
            layer._first_shape = None  # the model's inputs have the shape
            self.layers[what.path] = layer
            alpha = what.config.get("lora_alpha")
            if isinstance(alpha, (int, float)):
                self.lora_alphas[id(layer)] = float(alpha)
            self._kinds[id(layer)] = what
        return layer

    def _make(self, what: Described) -> Layer | None:
        if what.children is not None:
            return self._model(what)
        own = self._custom.of_layer(what)
        if own is None and what.kind in REFUSED:
            own = self._custom.named(what)
            if own is None or what.kind != "Lambda":
                kind = Unknown if what.kind == "Lambda" else Unsupported
                raise kind(REFUSED[what.kind].format(name=what.name))
            if not isinstance(own, type):
                return _layers.Lambda(own, name=what.name)
        if own is not None:
            return self._own(own, what)
        entry = KNOWN.get(what.kind)
        if entry is None or what.registered:
            raise Unknown(UNKNOWN.format(kind=what.kind))
        arguments = self._arguments(what, entry)
        if arguments is None:
            return None
        cls: Callable[..., Layer] = getattr(_layers, entry.layer)
        layer = cls(**arguments)
        if isinstance(layer, Vocabulary) and arguments.get("vocabulary") is None:
            self._take_vocabulary(layer, what)
        return layer

    def _take_vocabulary(self, layer: Vocabulary, what: Described) -> None:
        """Give a layer the vocabulary that is in the file, beside its description."""
        tokens: list[Any] | None
        tokens, idf = self._assets(what)
        if tokens is None:
            raise Unsupported("has no vocabulary in the file")
        while tokens and tokens[-1] == "":
            tokens.pop()
        if isinstance(layer, _layers.IntegerLookup):
            tokens = [int(one) for one in tokens]
        layer.set_vocabulary(tokens, idf)

    def _model(self, what: Described) -> Layer | None:
        """A model, if all its layers can be made."""
        children = what.children or []
        for child in children:
            child.operation = child.operation and self._custom.of_layer(child) is None
        named = [child.kind != "InputLayer" and not child.operation for child in children]
        layers = [
            self.make(child) if wanted else None
            for child, wanted in zip(children, named, strict=True)
        ]
        if any(wanted and one is None for wanted, one in zip(named, layers, strict=True)):
            return None
        made = connecting.model(what, layers, self)
        if made is not None:
            self._children[id(made)] = [one for one in layers if one is not None]
        return made

    def _own(self, own: Any, what: Described) -> Layer | None:
        """Make a layer of a class of the user's, or with a cell of the user's."""
        if is_cell(own) and what.kind in RECURRENT:
            made = with_cell(own, what, dtype_of(what.config.get("dtype")))
            self.custom_layers.add(id(made))
            return made
        cls = getattr(own, "layer_class", own)  # of a cell
        if not (isinstance(cls, type) and issubclass(cls, Layer)):
            raise Unknown(
                "needs a subclass of fastmask.layers.Layer in custom_objects, not "
                f"{shown(own)}{foreign_layer_hint(own)}"
            )
        config: dict[str, Any] = {}
        for key, value in what.config.items():
            if key.endswith(DROPPED_ENDINGS) and value is None:
                continue
            config[key] = dtype_of(value) if key == "dtype" else self._value(value, what)
        outermost = what is self._outermost
        try:
            made = cls.from_config(config)
        except TypeError as error:
            hint = f"; {by_hand(cls)}" if outermost else ""
            raise TypeError(f"{error}{hint}") from error
        if not isinstance(made, Layer):
            raise Unsupported(f"from_config of {cls.__name__} must return a layer")
        self.custom_layers.add(id(made))
        if outermost:
            built(made, what)
            self.check_weights(made)
        return made

    def _arguments(self, what: Described, entry: Entry) -> dict[str, Any] | None:
        """The arguments of its class; None if a layer inside it cannot be made."""
        taken = inspect.signature(getattr(_layers, entry.layer).__init__).parameters
        result: dict[str, Any] = dict(entry.always)
        given = {**(DEFAULTS_OF_2.get(what.kind, {}) if what.version == 2 else {}), **what.config}
        for old, value in given.items():
            key = entry.renamed.get(old, old)
            if key in DROPPED or key in entry.dropped or key.endswith(DROPPED_ENDINGS):
                continue
            if key == "dtype":
                result[key] = dtype_of(value)
            elif key in ("name", "trainable"):
                result[key] = value
            elif key in _ACTIVATIONS and key in taken and what.kind in RECURRENT:
                result[key] = self._custom.kernel_activation(value, key, what)
            elif key in taken:
                result[key] = self._value(value, what)
            elif value is not None and value is not False:
                text = f"has the argument {old}={shown(value)}, which is not supported"
                self.problems.add(what, text)
        _adapt(what, result)
        if what.path in self.problems.of:
            return None
        inner = [value for value in result.values() for value in _as_list(value)]
        return None if any(one is _MISSING for one in inner) else result

    def _value(self, value: Any, what: Described) -> Any:
        """An argument, with layers and functions for their descriptions."""
        if isinstance(value, list):
            return [self._value(one, what) for one in value]
        if not isinstance(value, dict):
            return value
        kind, config = value.get("class_name"), value.get("config")
        if kind in ("__numpy__", "__tensor__", "__slice__", "__ellipsis__"):
            return version3.value(value)
        if kind == "function" or isinstance(config, str):
            return self._custom.function(value)
        if not isinstance(kind, str) or not isinstance(config, dict):
            return {key: self._value(one, what) for key, one in value.items()}
        if str(value.get("module")).endswith("initializers"):
            return "zeros"  # the weights come from the file
        if str(value.get("module")).endswith(("regularizers", "constraints")):
            return None
        if kind.endswith("DTypePolicy"):
            return dtype_of(value)
        version = version2 if what.version == 2 else version3
        inner = version.described(value, f"{what.path}/{config.get('name') or kind}")
        inner.version = what.version
        made = self.make(inner)
        return _MISSING if made is None else made


_MISSING: Any = object()  # for a layer that could not be made


def dtype_of(policy: Any) -> str:
    """The dtype of a layer: float64 if Keras's is, and otherwise float32."""
    if isinstance(policy, dict) and isinstance(policy.get("config"), dict):
        config = policy["config"]
        policy = config.get("name") or config.get("source_name")
        mode = config.get("mode")
        if mode not in (None, _INT8):
            raise Unsupported(f"is quantized as {shown(mode)}; only int8 is supported")
    return "float64" if policy in ("float64", "double") else "float32"


def is_int8(policy: Any) -> bool:
    """Whether a dtype policy says that a layer's weights are int8."""
    return isinstance(policy, dict) and (policy.get("config") or {}).get("mode") == _INT8


def _adapt(what: Described, arguments: dict[str, Any]) -> None:
    """Convert arguments that have another form here."""
    axis = arguments.get("axis")
    if what.kind == "BatchNormalization" and isinstance(axis, list) and len(axis) == 1:
        arguments["axis"] = axis[0]
    if isinstance(arguments.get("vocabulary"), str):
        raise Unsupported("has a vocabulary in a file elsewhere, which is not read: put it in")
    for key in _ACTIVATIONS:
        if what.version == 2 and arguments.get(key) == "hard_sigmoid":
            _check_hard_sigmoid(what, key)
    if what.kind == "SimpleRNN":
        arguments.pop("recurrent_activation", None)


def _check_hard_sigmoid(what: Described, key: str) -> None:
    if key == "activation" and what.kind != "Dense":
        raise Unsupported("has Keras 2's hard_sigmoid as activation, which is not supported")


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
