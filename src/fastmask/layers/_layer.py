"""The base of all layers: how a call goes, and how masks get from inputs to outputs."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from types import ModuleType
from typing import Any

import numpy as np

from .._typing import Array, Shapes
from ..backends.dispatch import all_on_host, as_array, backend_for, is_array
from ..backends.host import HOST
from ..masks.mask import Mask, fitting_mask
from ..masks.masked import Masked
from ._base import BaseLayer
from ._calls import (
    BY_NAME,
    CallSpec,
    arrays_of,
    by_name,
    check_names,
    first_by_name,
    is_no_mask,
    narrowed,
    separate,
    without_masks,
)
from ._foreign import check_of_numpy, explain_tensors
from ._hooks import call_hook
from ._infer import probe, record, symbols
from ._own_mask import warn_of_own_mask
from ._ragged import call_ragged, is_ragged
from ._symbolic import is_symbolic
from ._types import Arrays, BoolArrays, Masks

_in_training: ContextVar[bool] = ContextVar("fastmask_training", default=False)


def is_training() -> bool:
    """Whether the layers called now behave as in training."""
    return _in_training.get()


def is_frozen() -> bool:
    """Whether the layers called now are neither in training nor watched by a hook."""
    return call_hook.get() is None and not _in_training.get()


class Layer(BaseLayer):
    """Base class of layers; subclass it and write `call` in ordinary NumPy.

    A subclass may define

    - `build(input_shape)`, which makes weights, `self.add_weight((units,), "ones", name="scale")`,
      in the order of Keras's layer, and builds layers inside it, `self.dense.build(input_shape)`;
    - `call(inputs, mask=None, training=False)`, with or without the last two: `inputs` is a
      plain array (a list of arrays, for a layer called on a list), `mask` a bool array (B, T)
      or None; it returns an array or a list or tuple of arrays;
    - `compute_mask(inputs, mask=None)`, which returns the mask of the output, None for an output
      without steps, or a list of one for each output. Without it, a layer that sets
      `supports_masking = True` passes the mask on as it is; any other layer drops it, and warns;
    - `get_config()`, which returns the arguments of its constructor, for `save_model`:
      `{**super().get_config(), "units": self.units}`;
    - `step_by_step = True`, if each step is computed by itself: `call` then gets all steps of a
      `Ragged` as one row, (1, P, ...); otherwise it gets the padded `to_masked()`.

    Args:
        name: name of the layer; made from the class's name by default.
        dtype: "float32" (also for None) or "float64": dtype of the weights; float inputs are cast
            to it.
        **layer_args: further arguments of Keras layers. `input_shape`, or `batch_input_shape` or
            `input_dim`, of the first layer of a `Sequential` builds the model like a
            `fastmask.Input` before it. `trainable=False` keeps a BatchNormalization from
            learning in training calls. Arguments that matter in training only, such as
            `kernel_regularizer`, are accepted with their default, None.

    Raises:
        TypeError: `name` is not a string, or an argument is unknown.
        ValueError: `dtype` is neither of these, or a regularizer or constraint is given.

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

    def _probed_shape(self, input_shape: Shapes) -> Shapes:
        return probe(self, symbols(input_shape, self._dtype, self.name), {})[0]

    def __call__(
        self,
        inputs: Any = BY_NAME,
        *args: Any,
        mask: Any = None,
        training: bool | None = None,
        **kwargs: Any,
    ) -> Any:
        """Call the layer.

        Args:
            inputs: array, `Masked`, `Ragged`, or a list of these; or symbolic tensors (see
                `fastmask.Input`), and then the outputs are symbolic too. Can be passed by keyword,
                by the name that `call` has for it.
            *args: further arguments of `call`.
            mask: mask of the inputs, instead of the one that they carry.
            training: whether to behave as in training; by default as the layer whose `call` makes
                this call, or False.
            **kwargs: further arguments of `call`.

        Returns:
            What `call` returns: `Masked` where a mask is passed on, `Ragged` for `Ragged` inputs if
            the output has steps. On the host these are NumPy arrays, whatever the inputs were; on
            a GPU they are of the inputs' library.
        """
        spec = self._call_spec or self._read_call_spec()
        if inputs is BY_NAME:
            inputs = first_by_name(spec, kwargs, f"layer {self.name!r}")
        if args:
            self._check_in_one_list(inputs)
            kwargs = by_name(spec, args, kwargs, f"layer {self.name!r}")
            mask, training = kwargs.pop("mask", mask), kwargs.pop("training", training)
            if spec.mask == spec.names[1]:
                return self._with_second(inputs, mask, training, kwargs)
        if spec.mask in kwargs:
            mask = kwargs.pop(spec.mask)
        if kwargs:
            check_names(spec, kwargs, f"layer {self.name!r} (of type {type(self).__name__})")
        hook = call_hook.get()
        if hook is None:
            return self._run(spec, inputs, mask, training, kwargs)
        return hook(
            self, inputs, mask, kwargs, lambda: self._run(spec, inputs, mask, training, kwargs)
        )

    def _with_second(
        self, inputs: Any, mask: Any, training: bool | None, kwargs: dict[str, Any]
    ) -> Any:
        """Call the layer with a mask by position, which may be meant as a second input."""
        try:
            return Layer.__call__(self, inputs, mask=mask, training=training, **kwargs)
        except (TypeError, ValueError) as error:
            known = type(error) in (TypeError, ValueError)
            if not (known and self._takes_lists and is_no_mask(mask)):
                raise
            raise type(error)(
                f"{error}; if what was passed second is no mask but another input of layer "
                f"{self.name!r}, pass both in one list, [a, b]"
            ) from error

    def _run(
        self, spec: CallSpec, inputs: Any, mask: Any, training: bool | None, kwargs: dict[str, Any]
    ) -> Any:
        """Call the layer with all arguments known by name."""
        if kwargs and is_ragged(list(kwargs.values())):
            return self._run_ragged(spec, inputs, mask, training, kwargs)
        carried: Masks = None
        if type(inputs) is Masked:
            inputs, carried = inputs._data, inputs._mask
        elif type(inputs) is not np.ndarray:
            if is_symbolic(inputs):
                return record(self, inputs, mask, training, kwargs)
            if is_ragged(inputs):
                return self._run_ragged(spec, inputs, mask, training, kwargs)
            inputs, carried = separate(inputs, self)
            self._check_number_of(inputs)
        if type(inputs) is np.ndarray:
            if inputs.dtype is not self._dtype:
                inputs = self._cast(inputs)
        elif backend_for(inputs) is HOST:
            inputs = self._cast(inputs)
        elif not self._takes_gpu:
            return on_gpu().run(self, spec, inputs, carried, mask, training, kwargs)
        if mask is not None:
            given = self._explicit(mask, inputs)
            carried = given if carried is None else narrowed(given, carried)
        valid = None if carried is None else arrays_of(carried)
        if kwargs:
            kwargs = without_masks(spec, kwargs)
        if not self.built:
            self._build_for(inputs, kwargs)
        if spec.mask:
            kwargs[spec.mask] = valid
        before = _in_training.get()
        training = before if training is None else bool(training)
        if training:
            self._check_not_quantized()
        if spec.training:
            kwargs["training"] = training
        try:
            if training is before:
                outputs = self.call(inputs, **kwargs)
            else:
                outputs = self._call_in(training, inputs, kwargs)
        except (AttributeError, RuntimeError, TypeError) as error:
            explain_tensors(self, error)
            raise
        if type(outputs) is not np.ndarray:
            check_of_numpy(self, inputs, outputs)
        if spec.makes_masks or (carried is not None and self.supports_masking):
            return self._carry(outputs, inputs, carried, valid)
        if carried is not None:
            self._warn_of_loss(outputs)
            if type(outputs) is Masked and not spec.mask:
                warn_of_own_mask(self, outputs._mask, carried)
        return outputs

    def _run_ragged(
        self, spec: CallSpec, inputs: Any, mask: Any, training: bool | None, kwargs: dict[str, Any]
    ) -> Any:
        """Call the layer with a `Ragged` among its inputs or arguments."""
        before = _in_training.get()
        learning = before if training is None else bool(training)
        if learning:
            self._check_not_quantized()
        token = _in_training.set(learning)
        try:
            return call_ragged(self, spec, inputs, mask, kwargs)
        finally:
            _in_training.reset(token)

    def _computed(self, function: Callable[..., Any], arrays: list[Array]) -> Any:
        """Apply a function written in NumPy, part of what the layer computes, also on a GPU."""
        if all_on_host(arrays):
            return function(*arrays)
        return on_gpu().computed(self, function, arrays)

    def _call_in(self, training: bool, inputs: Arrays, kwargs: dict[str, Any]) -> Any:
        """Call the layer with `training` set for the layers inside it, too."""
        token = _in_training.set(training)
        try:
            return self.call(inputs, **kwargs)
        finally:
            _in_training.reset(token)

    def _carry(self, outputs: Any, inputs: Arrays, carried: Masks, valid: BoolArrays) -> Any:
        """The outputs, each with its mask; `valid` are the arrays of the masks `carried` in."""
        if type(outputs) is Masked:
            if carried is not None and not self._spec().mask:
                warn_of_own_mask(self, outputs._mask, carried)
            return outputs
        masks = self.compute_mask(inputs, valid)
        if masks is None:
            return outputs
        if (
            masks is valid
            and type(carried) is Mask
            and is_array(outputs)
            and outputs.shape[:2] == valid.shape
        ):
            return Masked._of(outputs, carried)  # a shortcut for the usual case
        if carried is not None and masks is not valid and not isinstance(masks, (list, tuple)):
            warn_of_own_mask(self, masks, carried, inputs)
        if not isinstance(outputs, (list, tuple)):
            return self._with_mask(outputs, masks)
        masks = self._mask_of_each(masks, len(outputs))
        each = [self._with_mask(*pair) for pair in zip(outputs, masks, strict=True)]
        return tuple(each) if isinstance(outputs, tuple) else each

    def _with_mask(self, output: Any, mask: Any) -> Any:
        if mask is None or isinstance(output, Masked):
            return output
        if not is_array(output):
            output = as_array(output, "outputs")
        try:
            return Masked._of(output, fitting_mask(mask, output.shape, "the output"))
        except (TypeError, ValueError) as error:
            what = f"compute_mask of layer {self.name!r} must return a mask of its output: {error}"
            if type(self).compute_mask is BaseLayer.compute_mask:
                what = (
                    f"layer {self.name!r} (of type {type(self).__name__}) passes the mask of its "
                    "input on, because it has supports_masking = True and no compute_mask, but its "
                    "output does not have the steps of the input: remove supports_masking, or let "
                    "compute_mask(self, inputs, mask=None) return the mask of the output, or None"
                )
            raise type(error)(what) from None


def on_gpu() -> ModuleType:
    """The module that runs NumPy code of layers on a GPU, imported on first use."""
    from . import _on_gpu

    return _on_gpu
