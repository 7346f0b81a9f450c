"""The interface between layers and the kernels for one kind of arrays.

    Backend         what recurrent layers need; all backends have it
    ArrayBackend    also what masks and other layers do with arrays

                    arrays given           as kernels see them
    host.Host       NumPy's                themselves
    cuda.Cuda       CuPy's, torch's, ...   `DeviceArray`
    torch._cpu      tensors                NumPy's, over their memory
    torch._cuda     tensors                tensors

`dispatch.backend_of` finds the backend of an array; fastmask.torch uses its own for tensors.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol, TypeVar

import numpy as np

from .._typing import Array, ArrayLike, Bools, Ints
from .cell import Cell, KernelName
from .plan import Plan

K = TypeVar("K")  # an array as kernels see it
KernelInput = Any
"""An array as kernels see it, a number, or a name."""


class PlannedMask(Protocol):
    """What backends need of a `Mask`."""

    @property
    def valid(self) -> Bools:
        """The mask as an array (B, T), of any backend."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(B, T), or more axes."""

    @property
    def lengths(self) -> Ints:
        """The number of valid steps in each row."""

    @property
    def plan(self) -> Plan:
        """The positions of the valid steps, on the host."""

    @property
    def of_steps(self) -> PlannedMask:
        """The masks of all steps of a mask with more axes than (B, T)."""

    def _made_of_it(self) -> dict[Hashable, Any]:
        """A cache of what backends make from the mask."""

    def _of(self, valid: Bools) -> PlannedMask:
        """A mask that takes over this array."""


class VersionedWeights(Protocol):
    """What backends need of a layer's weights, see `fastmask.layers._weights.Weights`."""

    made: dict[Hashable, Any]


class Backend(Protocol[K]):
    """What a recurrent layer needs of the kernels and of memory.

    Attributes:
        sees_arrays: whether kernels take the arrays themselves, so that `views` is not needed.
        steps_in_place: whether the kernels for one step change states in place.
    """

    sees_arrays: bool
    steps_in_place: bool

    def views(self, *arrays: Array) -> Sequence[K]:
        """Arrays as kernels see them."""

    def outputs(
        self, cell: Cell, like: K, shape: tuple[int, int, int]
    ) -> tuple[K, list[K], Sequence[K]]:
        """Allocate what the forward kernel writes if no backward follows.

        Args:
            cell: the cell.
            like: the inputs; the arrays get their dtype and device.
            shape: (B, T, H), with T = 0 if only the last output is wanted.

        Returns:
            The output, the last states, and arrays without rows in place of what is saved.
        """

    def plan(self, mask: PlannedMask | None, batch: int, time: int, like: K) -> Plan:
        """The plan of a mask on the device of `like`; None means that all steps are valid."""

    def packed_room(self, cell: Cell, kernel: K, recurrent_kernel: K, kept: bool) -> K:
        """Memory for packed weights; if `kept`, it outlives the call and any stream may read it."""

    def full_bias(self, bias: K | None, shape: tuple[int, ...], like: K) -> K:
        """The bias in this shape, filled up with zeros."""

    def call(
        self,
        kernel: KernelName,
        outputs: Sequence[K],
        inputs: Sequence[KernelInput],
        like: K | None = None,
    ) -> None:
        """Call a kernel.

        It uses the threads, or the stream, the matrix products and the memory, of the library
        that `like`, by default the first output, belongs to.
        """

    def run(self, kernel: KernelName, outputs: Sequence[K], inputs: Sequence[KernelInput]) -> None:
        """Like `call`, without checks of the arrays, and with the number of threads."""


class ArrayBackend(Backend[K], Protocol[K]):
    """What masks and layers do with arrays.

    Arrays are the caller's; a "view" is an array as kernels see it.
    """

    def as_array(self, value: Any, name: str) -> Array:
        """`value`, which messages call `name`, as an array that NumPy's functions compute with."""

    def real_array(self, value: ArrayLike, name: str, dtype: np.dtype[Any] | None = None) -> Any:
        """See `dispatch.real_array`."""

    def number_array(self, value: ArrayLike, name: str) -> Any:
        """See `dispatch.number_array`."""

    def integer_array(self, value: ArrayLike, name: str) -> Any:
        """See `dispatch.integer_array`."""

    def own(self, *views: K) -> Sequence[Array]:
        """The arrays behind views."""

    def check_places(self, named: list[tuple[str, Any]]) -> None:
        """Check that all arrays are on the same device."""

    def zeros(
        self, shapes: Sequence[tuple[int, ...]], dtype: np.dtype[Any], like: Array
    ) -> list[Any]:
        """Views of zeros, which must not be written to, on the device of `like`."""

    def part(self, view: K, shape: tuple[int, ...]) -> K:
        """A view of the same memory, contiguous, in another shape."""

    def cast(self, array: Array, dtype: np.dtype[Any]) -> Array:
        """The array as `dtype`."""

    def copied(self, array: Array) -> Array:
        """A copy."""

    def reshaped(self, array: Array, shape: tuple[int, ...]) -> Array:
        """A contiguous array in another shape, perhaps a copy."""

    def reversed_in_time(self, array: Array) -> Array:
        """(B, T, ...) reversed in time."""

    def joined(self, arrays: Sequence[Array]) -> Array:
        """The rows of arrays, one after the other."""

    def to_host(self, array: Array) -> Array:
        """The array as one of NumPy's."""

    def erf(self, x: Array) -> Array:
        """The error function."""

    def mask_numbers(self, value: ArrayLike) -> Array:
        """The argument for a mask, as an array with a shape and a dtype."""

    def lengths(self, mask: PlannedMask) -> Ints:
        """The number of valid steps in each row of a mask of this backend, on the host."""

    def not_zero(self, array: Array) -> Bools:
        """Where an array, from `mask_numbers`, is not zero: a new array."""

    def not_equal(self, array: Array, value: float) -> Bools:
        """Where an array with two axes or more is not `value`: a new array."""

    def any_not_equal(self, array: Array, value: float) -> Bools:
        """Where any feature of (B, T, ..., F) is not `value`: a new array."""

    def last_output(self, last: K, mask: PlannedMask | None, plan: Plan, step: int | None) -> K:
        """The output of a layer that returns only the last one.

        Args:
            last: its last state.
            mask: the mask.
            plan: its plan, from `plan`.
            step: 0 or -1: rows that are masked at this step get zeros; None: rows without a
                valid step do.
        """

    def gather_rows(self, weights: VersionedWeights, table: Array, ids: Ints) -> Array:
        """Rows of a weight (V, F), as an array of shape (*ids.shape, F)."""

    def gather_rounded(
        self, weights: VersionedWeights, table: Array, ids: Ints, form: str
    ) -> Array:
        """Like `gather_rows`, from a quantized table: int8 has a scale for each row."""

    def dense(
        self, weights: VersionedWeights, kernel: Array, bias: Array | None, form: str, x: Array
    ) -> Array:
        """x @ kernel + bias for x (N, F) and a quantized kernel (F, U)."""

    def in_form(self, cell: Cell, form: str) -> tuple[Cell, AbstractContextManager[None]]:
        """The variant of a cell with quantized weights, and the context to call it in.

        Raises:
            ValueError: there are no kernels for this form.
        """

    def packing(self, x: Array) -> Hashable:
        """The key of packed weights for x: what they depend on besides the weights."""

    def kept_weights(self, x: Array, weights: Sequence[Array]) -> Sequence[K]:
        """A layer's weights, NumPy arrays, on the device of x."""

    def finish(self, like: K) -> None:
        """Wait until results to be kept, made on the device of `like`, are ready for any stream."""
