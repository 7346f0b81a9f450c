"""A layer's weights, and how new ones are initialized."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from typing import Any, Literal, NamedTuple

import numpy as np

from fastmask_kernels.forks import CHANGING, fork_safe, fork_safe_lock

from .. import initializers
from .._checks import whole_number
from .._typing import Array
from ..backends.dispatch import as_array

Filling = Literal["initial", "uninitialized", "shapes"]
_filling: ContextVar[Filling] = ContextVar("fastmask_filling", default="initial")
_most: ContextVar[int] = ContextVar("fastmask_most_numbers", default=0)


class Weight(NamedTuple):
    """A named array; layers compute with `value`, which is only changed in place."""

    name: str
    value: Array
    trainable: bool


class Weights(list[Weight]):
    """The weights of one layer.

    Args:
        weights: the first items.
        sealed: whether the values are read-only except within `change`.

    Attributes:
        made: a cache of results made from the values, replaced by a new dict after each change.
            To fill it, get the dict first, then read the values, and put the result into that
            dict: so no result of old values gets into the new dict.
    """

    def __init__(self, weights: Iterable[Weight] = (), *, sealed: bool = False) -> None:
        super().__init__()
        self.made: dict[Hashable, Any] = {}
        self._sealed = sealed
        for weight in weights:
            self.append(weight)

    def seal(self) -> None:
        """Make the values read-only except within `change`: results made from them are kept."""
        self._sealed = True
        for weight in self:
            weight.value.flags.writeable = False

    def append(self, weight: Weight) -> None:
        """Add a weight."""
        if self._sealed:
            weight.value.flags.writeable = False
        super().append(weight)

    def __reduce__(self) -> Any:
        # Through `append`, because the copy of a read-only array is writeable.
        return partial(Weights, sealed=self._sealed), (list(self),)


_changing = fork_safe_lock(CHANGING)  # arrays are writeable for one thread at a time


def change(together: Sequence[Weights], write: Callable[[], None]) -> None:
    """Call `write` while all values are writeable, even sealed ones.

    Not a context manager: if a signal interrupted one between its parts, it would hold the lock as
    long as the exception is referenced.
    """
    values = [weight.value for weights in together for weight in weights]
    with fork_safe(_changing):
        writeable = [value.flags.writeable for value in values]
        try:
            for value in values:
                value.flags.writeable = True
            write()
        finally:
            for value, before in zip(values, writeable, strict=True):
                value.flags.writeable = before
            for weights in together:
                weights.made = {}  # last: whoever sees the new dict sees the new values


@contextmanager
def filling(how: Filling, most: int = 0) -> Iterator[None]:
    """Make new weights in another way, for loading files.

    "uninitialized" leaves the values undefined. "shapes" makes zeros, with which layers of the
    user's can be called to find out shapes; weights of more than `most` numbers, which the file
    cannot hold, take no memory, and only their shapes can be used.
    """
    tokens = _filling.set(how), _most.set(most)
    try:
        yield
    finally:
        _filling.reset(tokens[0])
        _most.reset(tokens[1])


def is_loading() -> bool:
    """Whether layers are being made for a file, without values of their weights."""
    return _filling.get() != "initial"


def new_value(
    shape: tuple[int, ...], dtype: np.dtype[Any], initializer: Callable[..., Array]
) -> Array:
    """The array of a new weight.

    Raises:
        ValueError: the initializer returns another shape.
    """
    how = _filling.get()
    if how == "shapes":
        if math.prod(shape) <= _most.get():
            return np.zeros(shape, dtype)
        return np.broadcast_to(np.zeros((), dtype), shape)
    if how == "uninitialized":
        return np.empty(shape, dtype)
    value = np.array(np.asarray(initializer(shape, dtype)), dtype, order="C")
    if value.shape != shape:
        raise ValueError(f"the initializer returned shape {value.shape}, not {shape}")
    return value


class Weighted:
    """The part of a layer that manages its weights, and the layers in its attributes."""

    name: str
    built: bool
    _dtype: np.dtype[Any]
    _weights: Weights

    def __setattr__(self, name: str, value: Any) -> None:
        old = self.__dict__.get(name)
        if isinstance(old, np.ndarray) and old is not value and self._is_weight(old):
            how = "change it in place, or all weights with" if old.flags.writeable else "use"
            raise AttributeError(f"{name!r} is a weight of layer {self.name!r}: {how} set_weights")
        super().__setattr__(name, value)

    def _is_sealed(self) -> bool:
        """Whether the weights are read-only except for `set_weights`.

        A custom layer may write to its weights, because it computes with the arrays themselves.
        """
        return type(self).__module__.startswith("fastmask.")

    def _is_weight(self, array: Array) -> bool:
        return any(weight.value is array for weight in self._weights)

    def add_weight(
        self,
        shape: tuple[int, ...] = (),
        initializer: initializers.AnyInitializer | None = None,
        dtype: str | None = None,
        trainable: bool = True,
        name: str | None = None,
    ) -> Array:
        """Make a weight.

        Args:
            shape: its shape.
            initializer: name, `Initializer` or function of shape and dtype; "glorot_uniform" by
                default, "zeros" for weights that are not floats.
            dtype: its dtype; the layer's by default.
            trainable: whether training would change it; such weights come first in order.
            name: its name, for messages.

        Returns:
            The array. `set_weights` changes it in place, so it may be kept as an attribute; a
            layer of your own may write to it.

        Raises:
            TypeError: the shape is not made of integers.
            ValueError: the initializer is unknown.
        """
        if not isinstance(shape, (list, tuple)):
            raise TypeError(f"shape of a weight must be a tuple of sizes, not {shape!r}")
        sizes = tuple(whole_number(n, "each size of a weight", 0) for n in shape)
        own = self._dtype if dtype is None else np.dtype(dtype)
        if initializer is None:
            initializer = "glorot_uniform" if own.kind == "f" else "zeros"
        value = new_value(sizes, own, initializers.get(initializer))
        self._weights.append(Weight(name or f"weight_{len(self._weights)}", value, trainable))
        return value

    @property
    def weights(self) -> list[Array]:
        """The weights in Keras's order, as read-only views.

        Trainable weights come before others, then those of the layers in attributes.
        """
        views = [weight.value.view() for weight in self._all_weights()]
        for view in views:
            view.flags.writeable = False
        return views

    def get_weights(self) -> list[Array]:
        """Copies of the weights, in Keras's order.

        Examples:
            >>> import fastmask as fm
            >>> layer = fm.layers.Dense(2)
            >>> layer.build((None, 3))
            >>> [w.shape for w in layer.get_weights()]
            [(3, 2), (2,)]
        """
        return [weight.value.copy() for weight in self._all_weights()]

    def set_weights(self, weights: list[Any]) -> None:
        """Set the weights, in the order of `get_weights`.

        Args:
            weights: arrays of the same number and shapes, of any real dtype.

        Raises:
            TypeError: `weights` is not a list, or an array does not hold real numbers.
            ValueError: their number or a shape does not fit; then nothing is changed.
        """
        own = list(self._all_weights())
        if not isinstance(weights, (list, tuple)):
            raise TypeError(
                f"weights must be a list of arrays, not {type(weights).__name__}: see get_weights()"
            )
        if len(weights) != len(own):
            raise ValueError(self._other_number(len(weights), own))
        new = [as_array(value, f"weights[{i}]") for i, value in enumerate(weights)]
        for i, (weight, value) in enumerate(zip(own, new, strict=True)):
            what = f"weights[{i}] ({weight.name}) of {self.name!r}"
            if value.dtype.kind not in "fiub":
                raise TypeError(f"{what} must hold real numbers, not dtype {value.dtype}")
            if value.shape != weight.value.shape:
                raise ValueError(f"{what} must have shape {weight.value.shape}, not {value.shape}")
        pairs = [
            (weight, _apart(value, own, weight)) for weight, value in zip(own, new, strict=True)
        ]

        def write() -> None:
            for weight, value in pairs:
                weight.value[...] = value

        change([layer._weights for layer in self._all_layers()], write)

    def _other_number(self, count: int, own: list[Weight]) -> str:
        """The message for `count` weights given in place of `own`."""
        unbuilt = [layer.name for layer in self._all_layers() if not layer.built]
        if unbuilt:
            return (
                f"{count} weights of {self.name!r} cannot be set yet, because layer "
                f"{unbuilt[-1]!r} has none before it is built: first call {self.name!r} on some "
                "data, or its build(input_shape), with a shape such as (None, None, 3)"
            )
        shapes = ", ".join(str(weight.value.shape) for weight in own)
        return (
            f"weights of {self.name!r} must be {len(own)} arrays, not {count}; their shapes are "
            f"{shapes:.400}"
        )

    def count_params(self) -> int:
        """The total number of values in the weights."""
        return sum(weight.value.size for weight in self._all_weights())

    def _all_weights(self) -> Iterator[Weight]:
        for layer in self._all_layers():
            own = layer._weights
            yield from (weight for weight in own if weight.trainable)
            yield from (weight for weight in own if not weight.trainable)

    def _all_layers(self) -> Iterator[Any]:
        """This layer and all inside it, each once."""
        seen: set[int] = set()
        stack: list[Weighted] = [self]
        while stack:
            layer = stack.pop()
            if id(layer) not in seen:
                seen.add(id(layer))
                yield layer
                stack.extend(reversed(list(layer._sublayers())))

    def _sublayers(self) -> Iterator[Weighted]:
        """The layers in attributes, and in lists, tuples and dicts there, at any depth."""
        seen: set[int] = set()
        stack = list(reversed(vars(self).values()))
        while stack:
            value = stack.pop()
            if isinstance(value, Weighted):
                yield value
            elif isinstance(value, (list, tuple, dict)) and id(value) not in seen:
                seen.add(id(value))
                items = value.values() if isinstance(value, dict) else value
                stack.extend(reversed(list(items)))


def _apart(value: Array, weights: list[Weight], target: Weight) -> Array:
    """`value` in the dtype of `target`, copied if it shares memory with a weight."""
    dtype = target.value.dtype
    shared = any(np.may_share_memory(value, weight.value) for weight in weights)
    return np.array(value, dtype) if shared else np.asarray(value, dtype)
