"""The interface between layers and the kernels for one kind of arrays.

    Backend         what a recurrent layer needs; all of them have it
    ArrayBackend    besides, what masks and other layers do with arrays that NumPy's users know

                    arrays that come       as kernels see them
    host.Host       NumPy's                themselves
    cuda.Cuda       CuPy's, torch's, ...   `DeviceArray`
    torch._cpu      tensors                NumPy's, over their memory
    torch._cuda     tensors                tensors

`dispatch.backend_of` tells the backend of an array; fastmask.torch asks its own for tensors.
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
    """What backends ask of a `Mask`."""

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
        """What backends make of the mask, which goes with it."""

    def _of(self, valid: Bools) -> PlannedMask:
        """The mask that owns an array."""


class VersionedWeights(Protocol):
    """What backends ask of a layer's weights, see `fastmask.layers._weights.Weights`."""

    made: dict[Hashable, Any]


class Backend(Protocol[K]):
    """What a recurrent layer needs of the kernels and of memory.

    Attributes:
        sees_arrays: whether kernels see the arrays themselves, so that `views` may be left out.
        steps_in_place: whether the kernels for one step change states in place.
    """

    sees_arrays: bool
    steps_in_place: bool

    def views(self, *arrays: Array) -> Sequence[K]:
        """Arrays as kernels see them."""

    def outputs(
        self, cell: Cell, like: K, shape: tuple[int, int, int]
    ) -> tuple[K, list[K], Sequence[K]]:
        """What the forward kernel writes where there will be no backward.

        Args:
            cell: which one.
            like: the inputs, of whose dtype and in whose place the arrays are.
            shape: (B, T, H), with T = 0 where the last output alone is wanted.

        Returns:
            The output, the last states, and arrays without rows instead of what is saved.
        """

    def plan(self, mask: PlannedMask | None, batch: int, time: int, like: K) -> Plan:
        """The plan of a mask, of which None means that all steps are valid, where `like` is."""

    def packed_room(self, cell: Cell, kernel: K, recurrent_kernel: K, kept: bool) -> K:
        """Memory for packed weights; `kept` from call to call, whichever stream reads it."""

    def full_bias(self, bias: K | None, shape: tuple[int, ...], like: K) -> K:
        """The bias in that shape, with zeros for what it lacks."""

    def call(
        self,
        kernel: KernelName,
        outputs: Sequence[K],
        inputs: Sequence[KernelInput],
        like: K | None = None,
    ) -> None:
        """Call a kernel.

        It is lent the threads, or the stream, the products and the memory, of the library that
        `like`, by default the first output, belongs to.
        """

    def run(self, kernel: KernelName, outputs: Sequence[K], inputs: Sequence[KernelInput]) -> None:
        """As `call`, with arrays that are known to fit, and with the number of threads."""


class ArrayBackend(Backend[K], Protocol[K]):
    """What masks and layers do with arrays.

    Arrays are those that came, unless it says "view": that is an array as kernels see it.
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
        """The arrays that views are of."""

    def check_places(self, named: list[tuple[str, Any]]) -> None:
        """See that all arrays are in one place."""

    def zeros(
        self, shapes: Sequence[tuple[int, ...]], dtype: np.dtype[Any], like: Array
    ) -> list[Any]:
        """Views of zeros that nobody writes to, in place of `like`."""

    def part(self, view: K, shape: tuple[int, ...]) -> K:
        """A view of the same memory, contiguous, in another shape."""

    def cast(self, array: Array, dtype: np.dtype[Any]) -> Array:
        """The array as `dtype`."""

    def copied(self, array: Array) -> Array:
        """A copy."""

    def reshaped(self, array: Array, shape: tuple[int, ...]) -> Array:
        """A contiguous array in another shape, perhaps a copy."""

    def reversed_in_time(self, array: Array) -> Array:
        """(B, T, ...) turned round in time."""

    def joined(self, arrays: Sequence[Array]) -> Array:
        """The rows of arrays, one after the other."""

    def to_host(self, array: Array) -> Array:
        """The array as one of NumPy's."""

    def erf(self, x: Array) -> Array:
        """The error function."""

    def mask_numbers(self, value: ArrayLike) -> Array:
        """What a mask is given as, with a shape and a dtype."""

    def lengths(self, mask: PlannedMask) -> Ints:
        """The number of valid steps in each row of a mask that is here, on the host."""

    def not_zero(self, array: Array) -> Bools:
        """Where an array, from `mask_numbers`, is not zero: a new array."""

    def not_equal(self, array: Array, value: float) -> Bools:
        """Where an array with two axes or more is not `value`: a new array."""

    def any_not_equal(self, array: Array, value: float) -> Bools:
        """Where any feature of (B, T, ..., F) is not `value`: a new array."""

    def last_output(self, last: K, mask: PlannedMask | None, plan: Plan, step: int | None) -> K:
        """The output of a layer that returns the last one alone.

        Args:
            last: its last state.
            mask: the mask.
            plan: its plan, from `plan`.
            step: 0 or -1, the step at which a masked row has zeros; None where those rows have
                zeros that have no valid step.
        """

    def gather_rows(self, weights: VersionedWeights, table: Array, ids: Ints) -> Array:
        """The rows of a weight (V, F) by number, in the shape of `ids` and F."""

    def gather_rounded(
        self, weights: VersionedWeights, table: Array, ids: Ints, form: str
    ) -> Array:
        """As `gather_rows`, of a table in fewer bits: int8 has a scale for each row."""

    def dense(
        self, weights: VersionedWeights, kernel: Array, bias: Array | None, form: str, x: Array
    ) -> Array:
        """x (N, F) by a kernel (F, U) in fewer bits, and the bias."""

    def in_form(self, cell: Cell, form: str) -> tuple[Cell, AbstractContextManager[None]]:
        """What stands for a cell with weights of fewer bits, and within what it is called.

        Raises:
            ValueError: there are no kernels for them.
        """

    def packing(self, x: Array) -> Hashable:
        """What packed weights beside x depend on, but for the weights."""

    def kept_weights(self, x: Array, weights: Sequence[Array]) -> Sequence[K]:
        """Weights of a layer, which are NumPy's, where x is."""

    def finish(self, like: K) -> None:
        """Wait until what was made beside `like`, to be kept, is ready for any stream."""
