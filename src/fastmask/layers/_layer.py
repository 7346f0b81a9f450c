"""The base of all layers: weights, and the way of masks from input to output."""

from __future__ import annotations

import functools
import inspect
import os
import sys
import warnings
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, ClassVar

import numpy as np

from fastmask_kernels.forks import BUILDING, ForkSafeLock

from .. import initializers
from .._checks import flag
from .._names import automatic_name
from .._typing import DTypeLike, Shape, Unpack
from ..backends import cuda as _gpu
from ..backends.anywhere import on_device
from ..backends.dispatch import as_array
from ..masks.mask import Mask, fitting_mask
from ..masks.masked import Masked
from ._calls import (
    CallSpec,
    arrays_of,
    by_name,
    flat,
    is_shape,
    narrowed,
    read_call_spec,
    separate,
    shapes,
    without_masks,
)
from ._elsewhere import Elsewhere
from ._infer import probe, record
from ._keras_arguments import OfTraining, check_of_training, dtype_name, input_shape_in
from ._symbolic import SymbolicTensor, is_symbolic
from ._watch import watcher
from ._weights import Weighted, Weights

_PACKAGE = os.path.dirname(os.path.dirname(__file__)) + os.sep
USED = (
    "was passed an input with a mask attached to it. It uses the mask, but does not say what "
    "becomes of it, and will therefore destroy the mask information for the layers after it."
)
_building = ForkSafeLock(BUILDING)
_in_training: ContextVar[bool] = ContextVar("fastmask_training", default=False)


class Layer(Weighted, Elsewhere):
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
        dtype: "float32", which None means too, or "float64": dtype of the weights, which float
            inputs are cast to.
        **of_training: further arguments of Keras's. `input_shape`, or `batch_input_shape` or
            `input_dim`, of the first layer of a `Sequential` builds the model like a
            `fastmask.Input` before it. `trainable=False` keeps a BatchNormalization from
            learning in training calls. Those that have a meaning in training only, such as
            `kernel_regularizer`, are taken if they have their default, None.

    Raises:
        TypeError: `name` is not a string, or an argument is unknown.
        ValueError: `dtype` is another one, or a regularizer or constraint is given.

    Source:
        Keras: `keras.layers.Layer`.

    Examples:
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
    _call_spec: ClassVar[CallSpec | None] = None
    _options: ClassVar[tuple[str, ...]] = ()
    _casts_inputs = True
    _takes_lists = True  # of several inputs
    _input_axes: int | None = None  # how many its inputs must have, where the number is fixed
    _any_mask = False  # whether masks of other shapes than (B, T) are taken
    _takes_gpu = False  # whether its code takes arrays on a GPU of any kind
    _dtype = np.dtype(np.float32)
    _build_shape: Any = None
    _warned = False
    _trainable = True
    _first_shape: Shape | None = None  # of the inputs of a model that begins with the layer

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls._call_spec = None
        if "build" in cls.__dict__:
            cls.build = _built_once(cls.__dict__["build"])  # type: ignore[method-assign]  # wrapped

    def __init__(
        self,
        *,
        name: str | None = None,
        dtype: DTypeLike | None = None,
        **of_training: Unpack[OfTraining],
    ) -> None:
        for argument, value in of_training.items():
            check_of_training(argument, value, type(self))
        if name is not None and not isinstance(name, str):
            raise TypeError(f"name must be a string, not {name!r}")
        self.name = name or automatic_name(type(self).__name__)
        self.dtype = dtype_name(dtype)
        self._dtype = np.dtype(self.dtype)
        self._weights = Weights(sealed=self._is_sealed())
        self._first_shape = input_shape_in(of_training)
        if not flag(of_training.get("trainable", True), "trainable"):
            self._trainable = False

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

    def compute_output_shape(self, input_shape: Any) -> Any:
        """The shape of the outputs.

        Args:
            input_shape: shape of the inputs, with None for sizes that may vary.

        Returns:
            A shape, or a list of shapes for a layer with several outputs. Here it is found by
            calling the layer on zeros of two sizes.
        """
        if is_shape(input_shape):
            inputs: Any = SymbolicTensor(input_shape, self._dtype, self.name)
        else:
            inputs = [SymbolicTensor(shape, self._dtype, self.name) for shape in input_shape]
        return probe(self, inputs, {})[0]

    def __call__(
        self, inputs: Any, *args: Any, mask: Any = None, training: bool | None = None, **kwargs: Any
    ) -> Any:
        """Call the layer.

        Args:
            inputs: array, `Masked`, or a list of these; or symbolic tensors (see
                `fastmask.Input`), and then the outputs are symbolic too.
            *args: further arguments of `call`.
            mask: mask of the inputs, instead of the one that they carry.
            training: whether the layer shall behave as in training; by default as the layer
                does in whose `call` it is called, and otherwise not.
            **kwargs: further arguments of `call`.

        Returns:
            What `call` returns, as `Masked` where a mask goes on. On the host these are NumPy
            arrays, whatever the inputs were; on a GPU they are of the inputs' kind.
        """
        spec = self._call_spec or self._read_call_spec()
        if args:
            kwargs = by_name(spec, args, kwargs, f"layer {self.name!r}")
            mask, training = kwargs.pop("mask", mask), kwargs.pop("training", training)
        if spec.mask in kwargs:
            mask = kwargs.pop(spec.mask)
        watch = watcher.get()
        if watch is None:
            return self._run(spec, inputs, mask, training, kwargs)
        return watch(
            self, inputs, mask, kwargs, lambda: self._run(spec, inputs, mask, training, kwargs)
        )

    def _run(
        self, spec: CallSpec, inputs: Any, mask: Any, training: bool | None, kwargs: dict[str, Any]
    ) -> Any:
        """Call it, its arguments being known by name."""
        if type(inputs) is Masked:
            carried: Any = inputs._mask
            inputs = inputs._data
        elif type(inputs) is not np.ndarray and is_symbolic(inputs):
            return record(self, inputs, mask, training, kwargs)
        else:
            inputs, carried = separate(inputs)
            self._check_number_of(inputs)
        if type(inputs) is not np.ndarray and _gpu.any_on_gpu(inputs):
            if not self._takes_gpu:
                return on_device().run(self, spec, inputs, carried, mask, training, kwargs)
        else:
            inputs = self._cast(inputs)
        if mask is not None:
            carried = narrowed(self._explicit(mask, inputs), carried)
        valid = arrays_of(carried)
        if kwargs:
            kwargs = without_masks(spec, kwargs)
        if not self.built:
            self._build_for(inputs)
        if spec.mask:
            kwargs[spec.mask] = valid
        before = _in_training.get()
        training = before if training is None else bool(training)
        if spec.training:
            kwargs["training"] = training
        if training is before:
            outputs = self.call(inputs, **kwargs)
        else:
            outputs = self._call_in(training, inputs, kwargs)
        if spec.makes_masks or (carried is not None and self.supports_masking):
            return self._carry(outputs, inputs, carried, valid)
        if carried is not None:
            self._warn_of_loss(outputs)
        return outputs

    def _check_number_of(self, inputs: Any) -> None:
        if isinstance(inputs, list) and not self._takes_lists:
            raise ValueError(
                f"layer {self.name!r} (of type {type(self).__name__}) takes one input, "
                f"not a list of {len(inputs)}"
            )

    def _call_in(self, training: bool, inputs: Any, kwargs: dict[str, Any]) -> Any:
        """Call it so that the layers inside behave as in training, or not."""
        token = _in_training.set(training)
        try:
            return self.call(inputs, **kwargs)
        finally:
            _in_training.reset(token)

    @classmethod
    def _read_call_spec(cls) -> CallSpec:
        overridden = cls.compute_mask is not Layer.compute_mask
        cls._call_spec = read_call_spec(cls.call, f"{cls.__name__}.call", overridden)
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
        name = "the input of layer %r"
        if not isinstance(inputs, list):
            return fitting_mask(mask, self._steps_of(inputs.shape), name, self.name)
        if not isinstance(mask, (list, tuple)) or len(mask) != len(inputs):
            raise ValueError(f"mask must be a list with one mask for each of {len(inputs)} inputs")
        if all(one is None for one in mask):
            return None
        return [
            None
            if one is None
            else fitting_mask(one, array.shape, f"{name}, number %d,", self.name, i)
            for i, (one, array) in enumerate(zip(mask, inputs, strict=True))
        ]

    def _check_input_shape(self, shape: Any) -> None:
        """See whether the layer, now that it is built, takes inputs of a shape.

        Raises:
            ValueError: it does not.
        """
        if self._input_axes is not None and len(shape) != self._input_axes:
            raise ValueError(
                f"inputs of layer {self.name!r} must have {self._input_axes} axes, "
                f"not shape {tuple(shape)}"
            )

    def _steps_of(self, shape: Any) -> Any:
        """The axes of its inputs of which a mask has the first ones."""
        return shape

    def _uses_mask(self, axes: int) -> bool:  # noqa: ARG002 - some layers look at it
        """Whether a mask with so many axes makes a difference to what it computes."""
        spec = self._call_spec or self._read_call_spec()
        return bool(spec.mask or spec.others)

    def _build_for(self, inputs: Any) -> None:
        self.build(shapes(inputs))

    def _note_built(self, input_shape: Any) -> None:
        if not hasattr(self, "_weights"):
            raise TypeError(f"{type(self).__name__}.__init__ must call super().__init__()")
        self._build_shape = input_shape
        self.built = True

    def _carry(self, outputs: Any, inputs: Any, carried: Any, valid: Any) -> Any:
        """The outputs, each with its mask; `valid` are the arrays of the masks `carried` here."""
        if type(outputs) is Masked:
            return outputs
        masks = self.compute_mask(inputs, valid)
        if masks is None:
            return outputs
        if (
            masks is valid
            and type(carried) is Mask
            and type(outputs) is np.ndarray
            and outputs.shape[:2] == valid.shape
        ):
            return Masked._of(outputs, carried)  # what the rest would do, in less time
        if not isinstance(outputs, (list, tuple)):
            return self._with_mask(outputs, masks)
        if not isinstance(masks, (list, tuple)):
            masks = [masks] * len(outputs)
        if len(masks) != len(outputs):
            raise ValueError(
                f"compute_mask of layer {self.name!r} must return one mask for each of "
                f"{len(outputs)} outputs, not {len(masks)}"
            )
        each = [self._with_mask(*pair) for pair in zip(outputs, masks, strict=True)]
        return tuple(each) if isinstance(outputs, tuple) else each

    def _with_mask(self, output: Any, mask: Any) -> Any:
        if mask is None or isinstance(output, Masked):
            return output
        if type(output) is not np.ndarray and not _gpu.on_gpu(output):
            output = as_array(output, "outputs")
        try:
            return Masked._of(output, fitting_mask(mask, output.shape, "the output"))
        except (TypeError, ValueError) as error:
            what = f"compute_mask of layer {self.name!r} must return a mask of its output"
            raise type(error)(f"{what}: {error}") from None

    def _warn_of_loss(self, outputs: Any) -> None:
        if self._warned or any(isinstance(o, Masked) for o in flat(outputs)):
            return
        self._warned = True
        warnings.warn(
            f"Layer '{self.name}' (of type {type(self).__name__}) {self._how_lost()}",
            stacklevel=_frames_of_fastmask(),
        )

    @property
    def trainable(self) -> bool:
        """Whether training calls change the layer; what is set goes for all layers inside it."""
        return self._trainable

    @trainable.setter
    def trainable(self, value: bool) -> None:
        wanted = flag(value, "trainable")
        for layer in self._all_layers():
            layer._trainable = wanted

    def _how_lost(self) -> str:
        """What became of a mask that goes no further, and what to do."""
        if self._uses_mask(2):
            return (
                f"{USED} If its outputs have the same steps, set supports_masking = True in it; "
                "if they have others, define compute_mask(self, inputs, mask) and return their "
                "mask, or None to end the mask without this warning."
            )
        return (
            "was passed an input with a mask attached to it. However, this layer does not support "
            "masking and will therefore destroy the mask information."
        )

    def get_config(self) -> dict[str, Any]:
        """The arguments that make the same layer again, without its weights."""
        options = {name: getattr(self, name) for name in self._options}
        config = {
            name: value.get_config() if isinstance(value, initializers.Initializer) else value
            for name, value in options.items()
        }
        frozen = {} if self._trainable else {"trainable": False}
        return {"name": self.name, "dtype": self.dtype, **frozen, **config}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Any:
        """A layer made from what `get_config` returned."""
        return cls(**config)

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
        return f"<{type(self).__name__} {self.name!r}>"


def _frames_of_fastmask() -> int:
    """The `stacklevel` with which its caller warns at the first line outside the package.

    Python 3.12 has `skip_file_prefixes` for this.
    """
    level, frame = 1, sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_PACKAGE):
        level, frame = level + 1, frame.f_back
    return level


def _built_once(build: Callable[..., None]) -> Callable[..., None]:
    *_, shape = inspect.signature(build).parameters.values()
    default = shape.default

    @functools.wraps(build)
    def once(self: Layer, input_shape: Any = default) -> None:
        if input_shape is shape.empty:
            raise TypeError(f"build of layer {self.name!r} needs input_shape")
        if input_shape is None and default is not shape.empty:
            input_shape = default
        if isinstance(input_shape, (int, str)):
            raise TypeError(
                f"input_shape of layer {self.name!r} must be a tuple of sizes with that of the "
                f"batch, None where it may vary, such as (None, {input_shape!r}), "
                f"not {input_shape!r}"
            )
        with _building:  # several threads may call a new layer at once
            if not self.built:
                build(self, input_shape)
                self._note_built(input_shape)
            elif input_shape is not None:
                self._check_input_shape(input_shape)

    return once
