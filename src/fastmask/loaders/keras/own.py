"""The user's own classes, cells and functions in files of Keras."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from fastmask_kernels.activations import ACTIVATIONS

from ..._checks import listed, shown
from ...activations import is_name, kernel_activation
from ...layers import RNN, Layer
from ...models.building import build_on_zeros
from ...models.model import Model
from .described import Described, Unknown, Unsupported

_CELLS = ("LSTMCell", "GRUCell", "SimpleRNNCell")
_WITH_CELLS = ("LSTM", "GRU", "SimpleRNN")
RECURRENT = (*_WITH_CELLS, *_CELLS)
_OF_BOTH = ("name", "trainable")
_OF_CELLS = (*_OF_BOTH, "use_bias")
_OF_LAYERS = (*_OF_BOTH, *RNN._options[1:])
_BY_HAND = (
    "make the model, call it on data, and give it the file: model = {name}(...); model(data); "
    "model.load_weights(path)"
)


class Own:
    """What the user gave for a file.

    Args:
        objects: classes and functions, by "Name" or "package>Name"; by the name of a layer, cells
            in place of recurrent layers, and functions or classes in place of a `Lambda`.
    """

    def __init__(self, objects: Mapping[str, Any]) -> None:
        self._objects = objects

    def of_layer(self, what: Described) -> Any:
        """What stands for a layer; None if that is not the user's."""
        named = self.named(what)
        if what.kind in RECURRENT and is_cell(named):
            return named
        found = self._objects.get(what.registered) or self._objects.get(what.kind)
        if what.kind in RECURRENT and not what.registered and is_cell(found):
            raise Unknown(
                f"needs its cell by its own name, custom_objects={{{what.name!r}: cell}}, because "
                f"layers of class {what.kind} may have different activations"
            )
        return found

    def named(self, what: Described) -> Any:
        """What has the name of a layer; None if there is nothing."""
        return self._objects.get(what.name)

    def function(self, value: dict[str, Any]) -> Any:
        """An activation that has a name, or a function of the user's.

        Raises:
            Unknown: it is neither.
        """
        name, registered = value.get("config"), value.get("registered_name")
        for key in (registered, name):
            for one in (key, key.rpartition(">")[2]) if isinstance(key, str) else ():
                if one in self._objects:
                    return self._objects[one]
        if isinstance(name, str) and is_name(name):
            return name
        raise Unknown(
            f"has a function {shown(name)}, which is not known; give it: "
            f"load_model(path, custom_objects={{{shown(name)}: ...}})"
        )

    def kernel_activation(self, value: Any, key: str, what: Described) -> str:
        """The activation of a recurrent layer.

        Raises:
            Unknown: the kernels do not have it.
        """
        name, known = value, value
        try:
            if isinstance(value, dict):
                name = value.get("config")
                known = self.function(value) if isinstance(name, str) else None
                name = name if isinstance(name, str) else value.get("class_name")
            if known is not None or value is None:
                return kernel_activation(known, key)
        except (TypeError, ValueError):
            pass
        raise Unknown(
            f"has the {key} {shown(name)}; recurrent layers take only {listed(ACTIVATIONS)}: "
            "write its step as a cell with fastmask.cell, and give it by the layer's name: "
            f"load_model(path, custom_objects={{{what.name!r}: cell}}) (see docs/from-keras.md)"
        )


def is_cell(own: Any) -> bool:
    """Whether it is a cell that `fastmask.cell` made."""
    return hasattr(own, "layer_class")


def with_cell(cell: Any, what: Described, dtype: str) -> Layer:
    """A recurrent layer, or cell, with the user's cell in place of that in the file."""
    config = what.config
    if "units" not in config:
        raise Unsupported("has no units, so no cell can be put in its place")

    def given(names: Iterable[str]) -> dict[str, Any]:
        return {name: config[name] for name in names if name in config}

    activations = {k: one for k, one in given(cell.activations).items() if isinstance(one, str)}
    made: Layer = cell(config["units"], dtype=dtype, **activations, **given(_OF_CELLS))
    if what.kind in _CELLS:
        return made
    return RNN(made, dtype=dtype, **given(_OF_LAYERS))


def built(layer: Layer, what: Described) -> None:
    """Build a model of a class of the user's, as the file says that it was.

    Raises:
        Unsupported: that is impossible.
    """
    if layer.built:
        return
    shapes = what.build_shapes or {"": what.build_shape}
    if None in shapes.values():
        raise Unsupported(f"the file does not say for what shapes it was built; {by_hand(layer)}")
    first = layer._spec().names[0]
    shape = shapes.get(first) or next(iter(shapes.values()))
    others = {name: one for name, one in shapes.items() if one is not shape}
    own = type(layer).build not in (Layer.build, Model.build)
    try:
        if own:
            layer.build(_any_batch(shape))
        else:
            build_on_zeros(layer, _any_batch(shape), others)
    except Exception as error:  # the code is the user's
        how = "its build" if own else "calling it on zeros"
        raise Unsupported(
            f"cannot be built by {how} for {shapes.get('', shapes)}, the shape in the file: "
            f"{error.__cause__ or error}; {by_hand(layer)}"
        ) from error


def by_hand(layer: Layer | type[Layer]) -> str:
    """How a user can bring the weights into a model that cannot be loaded."""
    cls = layer if isinstance(layer, type) else type(layer)
    return _BY_HAND.format(name=cls.__name__)


def _any_batch(shape: Any) -> Any:
    return [_any_batch(one) for one in shape] if isinstance(shape, list) else (None, *shape[1:])
