"""The base of all layers: weights, and the way of masks from input to output."""

from __future__ import annotations

import functools
import inspect
import warnings
from collections.abc import Callable, Iterator
from threading import RLock
from typing import Any, ClassVar, NamedTuple

import numpy as np

from .. import initializers
from .._checks import choice, whole_number
from .._dispatch import as_array
from .._mask import Masked, fitting_mask
from .._names import automatic_name
from .._typing import Array
from ._weights import Weight, new_value

_building = RLock()
_VARIABLE = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


class _CallSpec(NamedTuple):
    """What a class's `call` and `compute_mask` want."""

    names: tuple[str, ...]
    mask: bool
    training: bool
    makes_masks: bool


class Layer:
    """Base class of layers; subclass it and write `call` in ordinary NumPy.

    A subclass may define

    - `build(input_shape)`, which makes weights with `add_weight`;
    - `call(inputs, mask=None, training=False)`, with or without the last two: `inputs` is a
      plain array (a list of arrays, for a layer called on a list), `mask` a bool array (B, T)
      or None; it returns an array or a list or tuple of arrays;
    - `compute_mask(inputs, mask=None)`, which returns the mask of the output, or a list of one
      for each output. Without it, a layer that sets `supports_masking = True` passes the mask
      on as it is; any other layer drops it, and warns.

    Args:
        name: name of the layer; made from the class's name by default.
        dtype: "float32" or "float64": dtype of the weights, which float inputs are cast to.

    Raises:
        TypeError: `name` is not a string.
        ValueError: `dtype` is another one.

    Source:
        Keras: `keras.layers.Layer`.

    Example:
        >>> import numpy as np
        >>> import fastmask as fm
        >>> class Double(fm.layers.Layer):
        ...     supports_masking = True
        ...     def call(self, inputs):
        ...         return 2 * inputs
        >>> y = Double()(fm.Masked(np.ones((1, 2)), mask=[[1, 0]]))
        >>> y.data, y.mask.valid
        (array([[2., 2.]], dtype=float32), array([[ True, False]]))
    """

    supports_masking = False
    built = False
    _call_spec: ClassVar[_CallSpec | None] = None
    _options: ClassVar[tuple[str, ...]] = ()
    _casts_inputs = True
    _dtype = np.dtype(np.float32)
    _build_shape: Any = None
    _warned = False

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls._call_spec = None
        if "build" in cls.__dict__:
            cls.build = _built_once(cls.__dict__["build"])  # type: ignore[method-assign]

    def __init__(self, *, name: str | None = None, dtype: str = "float32") -> None:
        if name is not None and not isinstance(name, str):
            raise TypeError(f"name must be a string, not {name!r}")
        self.name = name or automatic_name(type(self).__name__)
        self.dtype = choice(getattr(dtype, "name", dtype), "dtype", ("float32", "float64"))
        self._dtype = np.dtype(self.dtype)
        self._weights: list[Weight] = []

    def __setattr__(self, name: str, value: Any) -> None:
        old = self.__dict__.get(name)
        if isinstance(old, np.ndarray) and old is not value and self._is_weight(old):
            raise AttributeError(
                f"{name!r} is a weight of layer {self.name!r}: change it in place, "
                "or all weights with set_weights"
            )
        super().__setattr__(name, value)

    def _is_weight(self, array: Array) -> bool:
        return any(weight.value is array for weight in self._weights)

    def build(self, input_shape: Any) -> None:
        """Make the weights; called once, with the shape of the first inputs.

        Args:
            input_shape: shape of the inputs, with None for sizes that may vary; a list of
                shapes for a layer called on a list.
        """
        self._note_built(input_shape)

    def call(self, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        """Compute the outputs; see the class."""
        raise NotImplementedError(f"{type(self).__name__} must define call(self, inputs)")

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:  # noqa: ARG002
        """The mask of the outputs.

        Args:
            inputs: what `call` is given.
            mask: bool array (B, T) or None; a list of these for a layer called on a list.

        Returns:
            A mask, None, or a list of these for a layer with several outputs.
        """
        return mask

    def compute_output_shape(self, input_shape: Any) -> Any:
        """The shape of the outputs.

        Args:
            input_shape: shape of the inputs, with None for sizes that may vary.

        Returns:
            A shape, or a list of shapes for a layer with several outputs. Here it is found by
            calling the layer on zeros of two sizes.
        """
        once, again = (self._shape_of_call(input_shape, size) for size in (2, 3))
        return _merge_shapes(once, again)

    def _shape_of_call(self, input_shape: Any, size: int) -> Any:
        zeros = [
            np.zeros([size if n is None else n for n in shape], self._dtype)
            for shape in ([input_shape] if _is_shape(input_shape) else input_shape)
        ]
        outputs = self(zeros[0] if _is_shape(input_shape) else zeros)
        return _shapes(outputs)

    def __call__(
        self, inputs: Any, *args: Any, mask: Any = None, training: bool | None = None, **kwargs: Any
    ) -> Any:
        """Call the layer.

        Args:
            inputs: array, `Masked`, or a list of these.
            *args: further arguments of `call`.
            mask: mask of the inputs, instead of the one that they carry.
            training: whether the layer shall behave as in training.
            **kwargs: further arguments of `call`.

        Returns:
            What `call` returns, as `Masked` where a mask goes on.
        """
        spec = self._call_spec or self._read_call_spec()
        if args:
            kwargs = self._by_name(spec, args, kwargs)
            mask, training = kwargs.pop("mask", mask), kwargs.pop("training", training)
        if type(inputs) is Masked:
            carried: Any = inputs._mask
            inputs = inputs._data
        else:
            inputs, carried = _separate(inputs)
        inputs = self._cast(inputs)
        if mask is not None:
            carried = self._explicit(mask, inputs)
        valid = _arrays_of(carried)
        if kwargs:
            kwargs = _without_masks(spec, kwargs)
        if not self.built:
            self._build_for(inputs)
        if spec.mask:
            kwargs["mask"] = valid
        elif valid is not None and f"{spec.names[0]}_mask" in spec.names:
            kwargs.setdefault(f"{spec.names[0]}_mask", valid)
        if spec.training:
            kwargs["training"] = bool(training)
        outputs = self.call(inputs, **kwargs)
        if spec.makes_masks or (carried is not None and self.supports_masking):
            return self._carry(outputs, inputs, valid)
        if carried is not None:
            self._warn_of_loss(outputs)
        return outputs

    @classmethod
    def _read_call_spec(cls) -> _CallSpec:
        parameters = list(inspect.signature(cls.call).parameters.values())[1:]
        names = tuple(p.name for p in parameters if p.kind not in _VARIABLE)
        if not names:
            raise TypeError(f"{cls.__name__}.call must take the inputs: call(self, inputs)")
        overridden = cls.compute_mask is not Layer.compute_mask
        cls._call_spec = _CallSpec(names, "mask" in names[1:], "training" in names[1:], overridden)
        return cls._call_spec

    def _cast(self, inputs: Any) -> Any:
        if not self._casts_inputs:
            return inputs
        if isinstance(inputs, list):
            return [self._cast(array) for array in inputs]
        dtype = inputs.dtype
        if dtype is self._dtype or dtype.kind != "f" or dtype == self._dtype:
            return inputs
        return inputs.astype(self._dtype)

    def _explicit(self, mask: Any, inputs: Any) -> Any:
        name = f"the input of layer {self.name!r}"
        if not isinstance(inputs, list):
            return fitting_mask(mask, inputs.shape, name)
        if not isinstance(mask, (list, tuple)) or len(mask) != len(inputs):
            raise ValueError(f"mask must be a list with one mask for each of {len(inputs)} inputs")
        return [
            None if one is None else fitting_mask(one, array.shape, f"{name}, number {i},")
            for i, (one, array) in enumerate(zip(mask, inputs, strict=True))
        ]

    def _by_name(
        self, spec: _CallSpec, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> dict[str, Any]:
        """The arguments after the first, all by name."""
        names = spec.names[1 : 1 + len(args)]
        if len(names) < len(args):
            raise TypeError(
                f"layer {self.name!r} takes at most {len(spec.names)} arguments, "
                f"not {1 + len(args)}"
            )
        if twice := set(names) & set(kwargs):
            raise TypeError(f"layer {self.name!r} was given {twice.pop()!r} twice")
        return {**dict(zip(names, args, strict=True)), **kwargs}

    def _build_for(self, inputs: Any) -> None:
        self.build(_shapes(inputs))

    def _note_built(self, input_shape: Any) -> None:
        if not hasattr(self, "_weights"):
            raise TypeError(f"{type(self).__name__}.__init__ must call super().__init__()")
        self._build_shape = input_shape
        self.built = True

    def _carry(self, outputs: Any, inputs: Any, valid: Any) -> Any:
        """The outputs, each with its mask."""
        if type(outputs) is Masked:
            return outputs
        masks = self.compute_mask(inputs, valid)
        if masks is None:
            return outputs
        if not isinstance(outputs, (list, tuple)):
            return self._with_mask(outputs, masks)
        if not isinstance(masks, (list, tuple)):
            masks = [masks] * len(outputs)
        if len(masks) != len(outputs):
            raise ValueError(
                f"compute_mask of layer {self.name!r} must return one mask for each of "
                f"{len(outputs)} outputs, not {len(masks)}"
            )
        carried = [self._with_mask(*pair) for pair in zip(outputs, masks, strict=True)]
        return tuple(carried) if isinstance(outputs, tuple) else carried

    def _with_mask(self, output: Any, mask: Any) -> Any:
        if mask is None or isinstance(output, Masked):
            return output
        name = f"the output of layer {self.name!r}"
        return Masked(output, fitting_mask(mask, output.shape, name))

    def _warn_of_loss(self, outputs: Any) -> None:
        if self._warned or any(isinstance(o, Masked) for o in _flat(outputs)):
            return
        self._warned = True
        warnings.warn(
            f"Layer '{self.name}' (of type {type(self).__name__}) was passed an input with a mask "
            "attached to it. However, this layer does not support masking and will therefore "
            "destroy the mask information.",
            stacklevel=3,
        )

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
            The array. `set_weights` changes it in place, so it may be kept as an attribute.

        Raises:
            TypeError: the shape is not made of integers.
            ValueError: the initialiser is unknown.
        """
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

        Trainable before other ones, then those of the layers found in attributes.
        """
        views = [weight.value.view() for weight in self._all_weights()]
        for view in views:
            view.flags.writeable = False
        return views

    def get_weights(self) -> list[Array]:
        """Copies of the weights, in Keras's order.

        Example:
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
            TypeError: an array does not hold real numbers.
            ValueError: their number or a shape is another; then nothing is changed.
        """
        own = list(self._all_weights())
        if len(weights) != len(own):
            hint = "" if self.built else " (it has not been built yet)"
            raise ValueError(
                f"weights of {self.name!r} must be {len(own)} arrays{hint}, not {len(weights)}"
            )
        new = [as_array(value, f"weights[{i}]") for i, value in enumerate(weights)]
        for i, (weight, value) in enumerate(zip(own, new, strict=True)):
            what = f"weights[{i}] ({weight.name}) of {self.name!r}"
            if value.dtype.kind not in "fiub":
                raise TypeError(f"{what} must hold real numbers, not dtype {value.dtype}")
            if value.shape != weight.value.shape:
                raise ValueError(f"{what} must have shape {weight.value.shape}, not {value.shape}")
        for weight, value in zip(own, new, strict=True):
            weight.value[...] = value
        for layer in self._all_layers():
            layer._weights_changed()

    def count_params(self) -> int:
        """The number of numbers in the weights."""
        return sum(weight.value.size for weight in self._all_weights())

    def _weights_changed(self) -> None:
        """Forget what was derived from the weights."""

    def _all_weights(self) -> Iterator[Weight]:
        for layer in self._all_layers():
            own = layer._weights
            yield from (weight for weight in own if weight.trainable)
            yield from (weight for weight in own if not weight.trainable)

    def _all_layers(self) -> Iterator[Layer]:
        """This layer and all inside it, each once."""
        seen: set[int] = set()
        stack: list[Layer] = [self]
        while stack:
            layer = stack.pop()
            if id(layer) not in seen:
                seen.add(id(layer))
                yield layer
                stack.extend(reversed(list(layer._sublayers())))

    def _sublayers(self) -> Iterator[Layer]:
        """The layers in attributes, and in lists, tuples and dicts there."""
        for value in vars(self).values():
            if isinstance(value, dict):
                value = list(value.values())
            for item in value if isinstance(value, (list, tuple)) else (value,):
                if isinstance(item, Layer):
                    yield item

    def get_config(self) -> dict[str, Any]:
        """The arguments that make the same layer again, without its weights."""
        options = {name: getattr(self, name) for name in self._options}
        config = {
            name: value.get_config() if isinstance(value, initializers.Initializer) else value
            for name, value in options.items()
        }
        return {"name": self.name, "dtype": self.dtype, **config}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Any:
        """A layer made from what `get_config` returned."""
        return cls(**config)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r}>"


def _built_once(build: Callable[..., None]) -> Callable[..., None]:
    @functools.wraps(build)
    def once(self: Layer, input_shape: Any) -> None:
        with _building:  # several threads may call a new layer at once
            if not self.built:
                build(self, input_shape)
                self._note_built(input_shape)

    return once


def _separate(inputs: Any) -> tuple[Any, Any]:
    """Arrays and masks of inputs: an array, a `Masked`, or a list with one of these in it."""
    if isinstance(inputs, np.ndarray):
        return as_array(inputs, "inputs"), None
    if isinstance(inputs, Masked):
        return inputs.data, inputs.mask
    if isinstance(inputs, (list, tuple)) and any(
        hasattr(item, "__array__") and not isinstance(item, np.generic) for item in inputs
    ):
        pairs = [_separate(item) for item in inputs]
        masks = [mask for _, mask in pairs]
        arrays = [array for array, _ in pairs]
        return arrays, masks if any(mask is not None for mask in masks) else None
    return as_array(inputs, "inputs"), None


def _without_masks(spec: _CallSpec, arguments: dict[str, Any]) -> dict[str, Any]:
    """Take the masks off `Masked` arguments; `call` gets them as its own `{argument}_mask`."""
    plain: dict[str, Any] = {}
    for name, value in arguments.items():
        if isinstance(value, Masked):
            plain[name] = value.data
            if f"{name}_mask" in spec.names and arguments.get(f"{name}_mask") is None:
                plain[f"{name}_mask"] = value.mask.valid
        else:
            plain.setdefault(name, value)
    return plain


def _arrays_of(masks: Any) -> Any:
    if masks is None:
        return None
    if isinstance(masks, list):
        return [None if mask is None else mask.valid for mask in masks]
    return masks.valid


def _flat(outputs: Any) -> Iterator[Any]:
    if isinstance(outputs, (list, tuple)):
        for output in outputs:
            yield from _flat(output)
    else:
        yield outputs


def _shapes(arrays: Any) -> Any:
    if isinstance(arrays, (list, tuple)):
        return [_shapes(array) for array in arrays]
    return tuple(arrays.shape)


def _is_shape(value: Any) -> bool:
    return not any(isinstance(size, (list, tuple)) for size in value)


def _merge_shapes(once: Any, again: Any) -> Any:
    """Sizes that differ between two calls become None."""
    if isinstance(once, list):
        return [_merge_shapes(a, b) for a, b in zip(once, again, strict=True)]
    return tuple(a if a == b else None for a, b in zip(once, again, strict=True))
