"""What a layer is: its arguments, weights and shapes, and what it does to masks."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, TypeVar

import numpy as np

from fastmask_kernels.forks import BUILDING, fork_safe, fork_safe_lock

from .. import initializers
from .._checks import flag
from .._names import automatic_name
from .._typing import DTypeLike, Shape, Shapes, Unpack
from ..backends.host import rows_hint
from ..masks.mask import Mask, fitting_mask
from ..masks.masked import Masked
from ._calls import CallSpec, flat, one_by_one, read_call_spec
from ._elsewhere import Elsewhere
from ._keras_arguments import (
    KerasArguments,
    ShownSignature,
    check_keras_argument,
    dtype_name,
    input_shape_in,
)
from ._lost_mask import DROPPED, USED, on_trial, silent, warn_of_lost_mask
from ._quantizing import Quantizing
from ._shapes import shapes
from ._types import Arrays, Masks
from ._weights import Weighted, Weights, is_loading

_Sizes = TypeVar("_Sizes", bound=Shape)
_building = fork_safe_lock(BUILDING)


class BaseLayer(Weighted, Quantizing, Elsewhere):
    """All of a layer except its call; see `Layer`."""

    __signature__ = ShownSignature()
    supports_masking = False
    step_by_step = False  # whether each step is computed by itself
    built = False
    _known: ClassVar[bool] = False  # whether this is a cell and kernels compute its `call`
    _call_spec: ClassVar[CallSpec | None] = None
    _options: ClassVar[tuple[str, ...]] = ()
    _casts_inputs = True
    _takes_texts = False
    _instead_of_ragged = "pad it, x.to_masked()"  # for errors, where the way is "none"
    _takes_lists = True  # whether it may be called on a list of inputs
    _needs_list = False  # whether it must be
    _input_axes: int | None = None  # number of axes of the inputs, where it is fixed
    _any_mask = False  # whether masks of other shapes than (B, T) are taken
    _takes_gpu = False  # whether its code takes arrays of any GPU library
    _broadcasts = False  # whether arrays with one step a row are repeated at every step
    _way: str | None = None  # how it handles a `Ragged`, see `_ragged`
    _keeps_steps = False  # whether its output has the steps of its first input
    _needs_a_step = False  # whether rows without steps get one that is masked
    _dtype = np.dtype(np.float32)
    _build_shape: Shapes | None = None
    _warned = False
    _mask_is_chosen = False  # whether the caller says what the mask of its outputs is
    _loaded = False  # whether it is as it was in a file, from which it was loaded
    _trainable = True
    _first_shape: Shape | None = None  # of the inputs, if a model begins with this layer

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls._call_spec = None
        if "call" in cls.__dict__ and not cls.__module__.startswith("fastmask."):
            # What the base class declares about its `call` need not hold for the new one.
            cls.step_by_step = cls.__dict__.get("step_by_step", False)
            cls._way, cls._ragged_way = None, BaseLayer._ragged_way  # type: ignore[method-assign]  # of each class
        if "build" in cls.__dict__:
            cls.build = _built_once(cls.__dict__["build"])  # type: ignore[method-assign]  # wrapped

    def __init__(
        self,
        *,
        name: str | None = None,
        dtype: DTypeLike | None = None,
        **layer_args: Unpack[KerasArguments],
    ) -> None:
        for argument, value in layer_args.items():
            check_keras_argument(argument, value, type(self))
        if name is not None and not isinstance(name, str):
            raise TypeError(f"name must be a string, not {name!r}")
        self.name = name or automatic_name(type(self).__name__)
        self.dtype = dtype_name(dtype)
        self._dtype = np.dtype(self.dtype)
        self._weights = Weights(sealed=self._is_sealed())
        self._first_shape = input_shape_in(layer_args)
        if not flag(layer_args.get("trainable", True), "trainable"):
            self._trainable = False

    def __call__(self, inputs: Any, *args: Any, mask: Any = None, **kwargs: Any) -> Any:
        """Call the layer; see `Layer`."""
        raise NotImplementedError

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

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:  # noqa: ARG002 - Keras's form
        """The mask of the outputs.

        Args:
            inputs: what `call` is given.
            mask: bool array (B, T) or None; a list of these for a layer called on a list.

        Returns:
            A mask, None, or a list of these for a layer with several outputs. Here it is the
            mask of the inputs.

        Raises:
            ValueError: several inputs have different masks.
        """
        if not isinstance(mask, list):
            return mask
        known = [one for one in mask if one is not None]
        if any(not np.array_equal(one, known[0]) for one in known[1:]):
            raise ValueError(
                f"the inputs of layer {self.name!r} have different masks: "
                f"{type(self).__name__} must define compute_mask(inputs, mask)"
            )
        return known[0] if known else None

    def _mask_of_each(self, masks: Any, count: int) -> Sequence[Any]:
        """The result of `compute_mask`, as a list with one mask for each output."""
        if not isinstance(masks, (list, tuple)):
            return [masks] * count
        if len(masks) != count:
            raise ValueError(
                f"compute_mask of layer {self.name!r} must return one mask for each of "
                f"{count} outputs, not {len(masks)}"
            )
        return masks

    def compute_output_shape(self, input_shape: Any) -> Any:
        """The shape of the outputs.

        Args:
            input_shape: shape of the inputs, with None for sizes that may vary.

        Returns:
            A shape, or a list of shapes for a layer with several outputs. Here it is found by
            calling the layer on zeros of two sizes.
        """
        return self._probed_shape(input_shape)

    def _probed_shape(self, input_shape: Shapes) -> Shapes:
        raise NotImplementedError

    def _check_in_one_list(self, inputs: object) -> None:
        """Check that `inputs`, after which other arguments follow, is not one of several inputs.

        Raises:
            TypeError: it is.
        """
        if self._needs_list and not isinstance(inputs, (list, tuple)):
            raise one_by_one(f"layer {self.name!r}", "ab")

    def _check_number_of(self, inputs: object) -> None:
        if isinstance(inputs, list) and not self._takes_lists:
            raise ValueError(
                f"layer {self.name!r} (of type {type(self).__name__}) takes one input, "
                f"not a list of {len(inputs)}{rows_hint(inputs)}"
            )

    @classmethod
    def _spec(cls) -> CallSpec:
        return cls._call_spec or cls._read_call_spec()

    @classmethod
    def _read_call_spec(cls) -> CallSpec:
        makes_masks = cls.compute_mask is not BaseLayer.compute_mask
        tells_shapes = cls.compute_output_shape is not BaseLayer.compute_output_shape
        cls._call_spec = read_call_spec(cls.call, f"{cls.__name__}.call", makes_masks, tells_shapes)
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

    def _explicit(self, mask: Any, inputs: Arrays) -> Masks:
        name = "the input of layer %r"
        if not isinstance(inputs, list):
            shape = inputs.shape
            if type(mask) is Mask and mask._valid.shape == shape[:2]:
                return mask  # at once, as nearly always
            return fitting_mask(mask, self._steps_of(shape), name, self.name)
        mask = self._mask_list(mask, len(inputs))
        if all(one is None for one in mask):
            return None
        return [
            None
            if one is None
            else fitting_mask(one, array.shape, f"{name}, number %d,", self.name, i)
            for i, (one, array) in enumerate(zip(mask, inputs, strict=True))
        ]

    @property
    def _output_dtype(self) -> np.dtype[Any]:
        """The dtype of the outputs, as far as it is known before a call."""
        return self._dtype

    def _mask_list(self, mask: Any, count: int) -> Sequence[Any]:
        """The masks given for `count` inputs.

        Raises:
            ValueError: they are not a list of that length.
        """
        if not isinstance(mask, (list, tuple)) or len(mask) != count:
            raise ValueError(f"mask must be a list with one mask for each of {count} inputs")
        return mask

    def _check_input_shape(self, shape: Any) -> None:
        """Check that the layer, which is built, takes inputs of this shape.

        Raises:
            ValueError: it does not.
        """
        if self._input_axes is not None and len(shape) != self._input_axes:
            raise ValueError(
                f"inputs of layer {self.name!r} must have {self._input_axes} axes, "
                f"not shape {tuple(shape)}"
            )

    def _steps_of(self, shape: _Sizes) -> _Sizes:
        """The axes of inputs of this shape to which the axes of a mask correspond, in order."""
        return shape

    def _uses_mask(self, axes: int) -> bool:  # noqa: ARG002 - some layers use it
        """Whether a mask with this many axes changes what the layer computes."""
        spec = self._spec()
        return bool(spec.mask or spec.others)

    def _value_it_masks(self) -> float | None:
        """The value of the steps that the layer masks, if it makes its mask by one."""
        return None

    def _ragged_way(self, ndim: int) -> str:  # noqa: ARG002 - some layers use it
        """How it handles a `Ragged` with this many axes, see `_ragged`."""
        return self._way or ("steps" if self.step_by_step else "padded")

    def _build_for(self, inputs: Any, options: dict[str, Any]) -> None:  # noqa: ARG002 - some layers use these
        """Build the layer for a call with these inputs and arguments, arrays or symbolic ones."""
        self.build(shapes(inputs))

    def _shapes_of_call(self, inputs: Any, options: dict[str, Any]) -> Any:  # noqa: ARG002 - some layers use these
        """The shape of the outputs of such a call, or a list of shapes."""
        return self.compute_output_shape(shapes(inputs))

    def _note_built(self, input_shape: Shapes | None) -> None:
        if not hasattr(self, "_weights"):
            raise TypeError(f"{type(self).__name__}.__init__ must call super().__init__()")
        self._build_shape = input_shape
        self.built = True

    def _warn_of_loss(self, outputs: object) -> None:
        if self._warns() and not any(isinstance(one, Masked) for one in flat(outputs)):
            self._warn(self._how_lost())

    def _warns(self) -> bool:
        """Whether a warning about a mask would be shown: a layer shows one, its first."""
        return not (self._warned or silent.get() or is_loading())

    def _warns_of_steps(self) -> bool:
        """The same for what depends on which steps are masked; trial inputs do not tell."""
        return self._warns() and not on_trial.get()

    def _warn(self, how: str) -> None:
        """Warn about a mask; call it only if `_warns`."""
        self._warned = True
        warn_of_lost_mask(f"Layer '{self.name}' (of type {type(self).__name__})", how)

    @property
    def trainable(self) -> bool:
        """Whether training calls change the layer; setting it applies to all layers inside it."""
        return self._trainable

    @trainable.setter
    def trainable(self, value: bool) -> None:
        wanted = flag(value, "trainable")
        for layer in self._all_layers():
            layer._trainable = wanted

    def _how_lost(self) -> str:
        """What happens to a mask that is not passed on, and what to do about it."""
        return USED if self._uses_mask(2) else DROPPED

    def get_config(self) -> dict[str, Any]:
        """The arguments that make the same layer again, without its weights."""
        options = {name: getattr(self, name) for name in self._options}
        config = {
            name: value.get_config() if isinstance(value, initializers.Initializer) else value
            for name, value in options.items()
        }
        frozen = {} if self._trainable else {"trainable": False}
        form = {} if self._quantization is None else {"quantization": self._quantization}
        return {"name": self.name, "dtype": self.dtype, **frozen, **form, **config}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Any:
        """A layer made from what `get_config` returned."""
        arguments = dict(config)
        form = arguments.pop("quantization", None)
        layer = cls(**arguments)
        if form is not None:
            layer.quantize(form)
        return layer

    def _anew(self, **changes: Any) -> Any:
        """The same layer again, with other arguments where given, and without weights.

        Raises:
            TypeError: `get_config` does not return what `__init__` needs.
        """
        try:
            return self.from_config({**self.get_config(), **changes})
        except TypeError as error:
            raise TypeError(
                f"{type(self).__name__} must define get_config() so that the layer can be made "
                f"again from it: {error}"
            ) from error

    def __repr__(self) -> str:
        form = self._quantization
        return f"<{type(self).__name__} {self.name!r}{f' {form}' if form else ''}>"


def _built_once(build: Callable[..., None]) -> Callable[..., None]:
    *_, shape = inspect.signature(build).parameters.values()
    default = shape.default

    @functools.wraps(build)
    def once(self: BaseLayer, input_shape: Any = default, *others: Any) -> None:
        if others:  # shapes of further inputs, as Keras allows
            input_shape = [input_shape, *others]
        if input_shape is shape.empty:
            raise TypeError(f"build of layer {self.name!r} needs input_shape")
        if input_shape is None and default is not shape.empty:
            input_shape = default
        if isinstance(input_shape, (int, str)):
            raise TypeError(
                f"input_shape of layer {self.name!r} must be a tuple of sizes that begins with the "
                f"batch, None where it may vary, such as (None, {input_shape!r}), "
                f"not {input_shape!r}"
            )
        with fork_safe(_building):  # several threads may call a new layer at once
            if not self.built:
                build(self, input_shape)
                self._note_built(input_shape)
            elif input_shape is not None:
                self._check_input_shape(input_shape)

    return once
