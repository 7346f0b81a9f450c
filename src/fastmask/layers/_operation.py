"""Operations on arrays, other than layers, in models loaded from other libraries."""

from __future__ import annotations

import functools
import inspect
from typing import Any, ClassVar

import numpy as np

from .._typing import Array, Unpack
from ..masks.mask import reversed_mask
from ..masks.ragged import Ragged
from ._apart import COMBINES, OutOfRange, refused, rows_apart
from ._calls import flat
from ._counted_steps import PICKS, but_for_ends, counts_masked_steps
from ._einsum import einsum_mixes_rows
from ._keras_arguments import LayerArguments
from ._layer import Layer
from ._operations import (
    BY_NUMBER,
    OPERATIONS,
    REVERSED_MASK,
    REVERSED_STEPS,
    UFUNCS,
    WITH_MASK_OF,
    WITHOUT_MASK,
    filled,
    is_input,
)
from ._ragged import by_step
from ._types import Arrays, BoolArrays, Masks

# Operations whose `axis` counts axes of the result, which has more axes than the input.
_OF_RESULTS = ("expand_dims", "one_hot", "stack")

_ROWS = "In a Ragged, such as x.to_ragged(), each row is computed without them."
_NO_MASK = (
    "was passed an input with a mask attached to it. As in Keras, the layer after it, which it is "
    f"named after, gets no mask: masked steps count from there on. {_ROWS}"
)


class Operation(Layer):
    """An operation on arrays, such as a sum with a number, in a model that was loaded.

    Args:
        operation: its name; see `OPERATIONS`.
        arguments: what it is called with, {"input": i} for the i-th of the layer's inputs; also
            {"slice": [start, stop, step]}, {"ellipsis": True}, {"array": lists, "dtype": name}.
        options: the same by name.
        **layer_args: see `Layer`.

    Raises:
        ValueError: there is no such operation, or an argument is of no known form.
    """

    _options: ClassVar[tuple[str, ...]] = ("operation", "arguments", "options")
    _way = "own"
    _looks = 16  # how many more masked batches are checked, to warn if masked steps count

    def __init__(
        self,
        operation: str,
        arguments: list[Any],
        options: dict[str, Any] | None = None,
        **layer_args: Unpack[LayerArguments],
    ) -> None:
        super().__init__(**layer_args)
        if operation not in OPERATIONS:
            raise ValueError(f"there is no operation {operation!r:.100}")
        self.operation = operation
        self.arguments = arguments
        self.options = dict(options or {})

    def _call_ragged(self, inputs: Any) -> Any:
        """Compute it for each number, or else for each row, by itself; see `_ragged`."""

        def call(given: Any, options: dict[str, Any]) -> Any:
            return self._run(self._spec(), given, None, None, options)

        listed = inputs if isinstance(inputs, list) else [inputs]
        if self._is_by_step(listed):
            return by_step(self, call, inputs, {})
        if self._mixes_rows(listed):
            raise refused(self, COMBINES)
        return rows_apart(self, call, inputs)

    def _is_by_step(self, inputs: list[Any]) -> bool:
        """Whether each number is computed by itself, from those of the same step."""
        first = inputs[0]
        if self.operation not in BY_NUMBER or not all(type(one) is Ragged for one in inputs):
            return False
        constants = [one for one in (*self.arguments, *self.options.values()) if not is_input(one)]
        return all(one.ndim == first.ndim and one._rows.are(first._rows) for one in inputs) and all(
            _is_of_each_step(filled(one, inputs), first.ndim) for one in constants
        )

    def _mixes_rows(self, inputs: list[Any]) -> bool:
        """Whether it works along the axis of the rows, even if the results look like one per row.

        NumPy aligns the last axes, so that the rows of an input with fewer axes would be steps.
        """
        if self.operation == WITH_MASK_OF:
            return False
        if self.operation == "einsum":
            axes = [inputs[one["input"]].ndim if is_input(one) else 0 for one in self.arguments]
            return einsum_mixes_rows(self.options.get("subscripts"), axes)
        if self.operation in ("tril", "triu") and inputs[0].ndim < 3:
            return True
        if len({one.ndim for one in inputs}) > 1:
            return True
        if self.operation in UFUNCS:
            return False
        named = _signature(self.operation).bind(*self.arguments, **self.options)
        named.apply_defaults()
        if self.operation == "get_item":
            return not _takes_all_rows(named.arguments["key"], inputs[0].ndim)
        if "axis" not in named.arguments or not _has_input(next(iter(named.arguments.values()))):
            return False
        axis = named.arguments["axis"]
        axes = axis if isinstance(axis, list) else [axis]
        ndim = inputs[0].ndim + (len(axes) if self.operation in _OF_RESULTS else 0)
        return any(type(one) is not int or one % ndim == 0 for one in axes)

    def call(self, inputs: Arrays) -> Any:
        """Compute it; floats come out in the layer's dtype."""
        result = self._result(inputs if isinstance(inputs, list) else [inputs])
        if isinstance(result, list):
            return [self._finished(one) for one in result]
        return self._finished(result)

    def _result(self, inputs: list[Array]) -> Any:
        arguments = [filled(one, inputs) for one in self.arguments]
        options = {key: filled(one, inputs) for key, one in self.options.items()}
        try:
            with np.errstate(all="ignore"):
                return OPERATIONS[self.operation](*arguments, **options)
        except IndexError as error:
            told = f"inputs of layer {self.name!r} ({self.operation}) do not fit: {error}"
            raise OutOfRange(told) from error

    def _finished(self, result: Any) -> Array:
        array = np.asarray(result)
        if self.operation in ("argmax", "argmin"):
            return array.astype(np.int32)
        return array.astype(self._dtype) if array.dtype.kind == "f" else array

    def compute_mask(self, inputs: Arrays, mask: BoolArrays = None) -> Any:  # noqa: ARG002 - Keras's signature
        """None, as in Keras, but for the operations on masks."""
        if isinstance(mask, list):
            return mask[1] if self.operation == WITH_MASK_OF else None
        if self.operation == REVERSED_MASK and mask is not None:
            return reversed_mask(mask)
        return mask if self.operation == REVERSED_STEPS else None

    def _ends_stay_masked(self) -> bool:
        """Whether the mask that is dropped returns before any layer reads steps at the ends."""
        return self.operation == WITHOUT_MASK and self.arguments[1:] == [False]

    def _carry(self, outputs: Any, inputs: Arrays, carried: Masks, valid: BoolArrays) -> Any:
        """The outputs; warns if the operation drops a mask and counts what it masks."""
        if carried is not None and self._looks and self._warns_of_steps():
            several = isinstance(inputs, list)
            arrays: Any = inputs if several else [inputs]
            masks: Any = valid if several else [valid]
            if self._ends_stay_masked():
                masks = [but_for_ends(valid)]
            picks = self.operation in PICKS and self.arguments[:1] == [{"input": 0}]
            picks = picks and not any(map(_reads_first, [*self.arguments[1:], self.options]))
            pick = self._result if picks else None
            found = counts_masked_steps(self.operation, pick, arrays, masks, flat(outputs))
            self._looks -= found is False
            if found:
                self._warn(_NO_MASK if self.operation == WITHOUT_MASK else _told(self))
        return super()._carry(outputs, inputs, carried, valid)


def _told(layer: Operation) -> str:
    return (
        "was passed an input with a mask attached to it. As in Keras, its operation "
        f"{layer.operation!r} drops the mask: masked steps count from here on, unless the model "
        f"masks them itself. {_ROWS}"
    )


@functools.cache
def _signature(operation: str) -> inspect.Signature:
    return inspect.signature(OPERATIONS[operation])


def _is_of_each_step(constant: Any, ndim: int) -> bool:
    """Whether an argument is the same at each step of inputs with this many axes."""
    shape = np.shape(constant)
    return len(shape) <= ndim and set(shape[: max(0, len(shape) - ndim + 2)]) <= {1}


def _has_input(value: Any) -> bool:
    return is_input(value) or (isinstance(value, list) and any(map(_has_input, value)))


def _reads_first(value: Any) -> bool:
    """Whether the first input is in an argument."""
    if isinstance(value, dict):
        return value == {"input": 0} or any(map(_reads_first, value.values()))
    return isinstance(value, list) and any(map(_reads_first, value))


def _takes_all_rows(key: Any, ndim: int) -> bool:
    """Whether an index begins with all of the first axis."""
    first, *others = key if isinstance(key, list) and key else [key]
    if first == {"ellipsis": True}:
        return sum(one is not None for one in others) < ndim
    if not isinstance(first, dict) or set(first) != {"slice"}:
        return False
    start, stop, step = first["slice"]
    return start in (None, 0) and stop is None and step in (None, 1)
