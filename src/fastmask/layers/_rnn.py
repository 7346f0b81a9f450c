"""What LSTM, GRU and SimpleRNN share: each is an RNN of one cell, with the arguments of both."""

from __future__ import annotations

from typing import Any, ClassVar

from .._checks import flag
from .._names import automatic_name
from ._cell import KernelCell
from .rnn import RNN


def arguments(given: dict[str, Any], *without: str) -> dict[str, Any]:
    """The arguments of an `__init__`, from its `locals()`, except some."""
    others = "self", "__class__", *without
    named = {name: value for name, value in given.items() if name not in others}
    return {**named.pop("layer_args"), **named}


class OfCell:
    """An option or a weight of the cell, as an attribute of the layer."""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, layer: Recurrent | None, owner: type | None = None) -> Any:
        return self if layer is None else getattr(layer.cell, self._name)

    def __set__(self, layer: Recurrent, value: object) -> None:
        raise AttributeError(f"{self._name!r} of layer {layer.name!r} cannot be changed")


class Recurrent(RNN):
    """Base of the layers that are named after their cell."""

    cell: KernelCell
    _cell_class: ClassVar[type[KernelCell]]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        own = tuple(name for name in RNN._options if name != "cell")
        cls._options = (*cls._cell_class._options, *own)

    def __init__(self, *, name: str | None = None, **options: Any) -> None:
        if (use_cudnn := options.pop("use_cudnn")) != "auto":
            flag(use_cudnn, "use_cudnn")  # accepted as in Keras
        of_cell = {option: options.pop(option) for option in self._cell_class._options}
        # The cell has the layer's name, so that messages name the layer that the user knows.
        name = name or automatic_name(type(self).__name__)
        cell = self._cell_class(name=name, dtype=options.pop("dtype", None), **of_cell)
        super().__init__(cell, name=name, **options)

    units, activation, use_bias = OfCell(), OfCell(), OfCell()
    kernel_initializer, recurrent_initializer = OfCell(), OfCell()
    bias_initializer, dropout, recurrent_dropout, seed = OfCell(), OfCell(), OfCell(), OfCell()
    kernel, recurrent_kernel, bias = OfCell(), OfCell(), OfCell()
