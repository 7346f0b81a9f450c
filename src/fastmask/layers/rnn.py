"""A cell, or a stack of cells, over time."""

from __future__ import annotations

from typing import Any, ClassVar

from .._checks import flag
from .._typing import Array, ArrayLike, Bools, Shape, Unpack
from ..backends.dispatch import as_array, backend_of
from ..backends.host import HOST
from ..backends.recurrent import ALL_ROWS
from ..backends.rows import Rows
from ..masks.mask import Mask, as_mask, reversed_mask, sequence_mask
from ._cell import KernelCell, known_features, unfit
from ._cell_protocol import check_cell, output_size_of, over_time, sizes_of
from ._keras_arguments import LayerArguments
from ._over_rows import OverRows
from ._states import events_of, readable
from ._types import States
from .stacked_rnn_cells import StackedRNNCells


class RNN(OverRows):
    """A cell over the valid steps of each sequence.

    `LSTMCell`, `GRUCell`, `SimpleRNNCell`, and cells that `fastmask.cell` makes from a formula, run
    as fast as the layers named after them, each cell of a stack over all steps before the next one
    begins. Any other cell is a `Layer` with `call(inputs, states)`, which returns the output and
    the list of new states, and `state_size`, a number or a list of numbers; it may have `training`
    in its call, `output_size`, by default the first of `state_size`, and
    `get_initial_state(batch_size)`, by default zeros. It is called once for each step, on the rows
    in which the step is valid.

    Args:
        cell: a cell, or a list of cells to stack.
        return_sequences: return the outputs of all steps instead of the last one.
        return_state: return (output, *states) instead of the output.
        go_backwards: start from the last step; outputs, and their mask, come in that order.
        stateful: start from the states that the last call ended with.
        unroll: accepted as in Keras; has no effect.
        zero_output_for_mask: masked steps give zeros instead of the previous output.
        **layer_args: `name`, `dtype`, by default that of the cell, and others; see `Layer`. The
            weights are of the cell's dtype: another `dtype` is that of the inputs and outputs
            only, as in Keras.

    Called with
        inputs: (B, T, ...) array or `Masked`.
        mask: (B, T), instead of the one that the inputs carry.
        initial_state: list of arrays, (B, H) each; for a stack a list of what each cell has, as
            in the result of `return_state`.
        training: passed on to the cells.

    Returns:
        (B, H), or (B, T, H) with `return_sequences`, which carries the mask on; with
        `return_state` a tuple with the states: those of the cell, or of a stack for each cell
        the list of its states.

    Raises:
        TypeError: an argument is of a wrong kind.
        ValueError: an argument is out of range, the inputs do not fit, or a cell returns states
            of other shapes than it was given.

    Source:
        Keras: `keras.layers.RNN`. Keras does not reverse the mask for `go_backwards`, and drops
        the mask of the inputs if `initial_state` is given.

    Examples:
        >>> import numpy as np
        >>> import fastmask as fm
        >>> rnn = fm.layers.RNN([fm.layers.LSTMCell(8), fm.layers.GRUCell(4)], return_state=True)
        >>> y, (h, c), (last,) = rnn(np.ones((2, 5, 3)), mask=[[1, 1, 0, 0, 0], [1, 1, 1, 1, 1]])
        >>> y.shape, h.shape, last.shape
        ((2, 4), (2, 8), (2, 4))
        >>> class Counter(fm.layers.Layer):
        ...     state_size = 1
        ...     def call(self, inputs, states):
        ...         return states[0] + 1, [states[0] + 1]
        >>> fm.layers.RNN(Counter())(np.ones((2, 3, 5)), mask=[[1, 0, 1], [0, 0, 0]]).ravel()
        array([2., 0.], dtype=float32)
    """

    supports_masking = True
    _takes_gpu = True
    _takes_lists = False
    _options: ClassVar[tuple[str, ...]] = (
        *("cell", "return_sequences", "return_state", "go_backwards"),
        *("stateful", "zero_output_for_mask"),
    )

    def __init__(
        self,
        cell: Any,
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        stateful: bool = False,
        unroll: bool = False,
        zero_output_for_mask: bool = False,
        **layer_args: Unpack[LayerArguments],
    ) -> None:
        if isinstance(cell, (list, tuple)):
            cell = StackedRNNCells(cell)
        check_cell(cell, "cell")
        if layer_args.get("dtype") is None:
            layer_args["dtype"] = cell.dtype
        super().__init__(**layer_args)
        self.cell = cell
        self._cells: list[Any] = cell.cells if isinstance(cell, StackedRNNCells) else [cell]
        self.return_sequences = flag(return_sequences, "return_sequences")
        self.return_state = flag(return_state, "return_state")
        self.go_backwards = flag(go_backwards, "go_backwards")
        self.stateful = flag(stateful, "stateful")
        flag(unroll, "unroll")  # accepted as in Keras; there is nothing to unroll
        self.zero_output_for_mask = flag(zero_output_for_mask, "zero_output_for_mask")
        self.states = self._reset = None

    @property
    def _quantization(self) -> str | None:  # type: ignore[override]  # that of its cells
        forms = {cell._quantization for cell in self._cells}
        return forms.pop() if len(forms) == 1 else None

    def build(self, input_shape: Shape) -> None:
        """Make the weights of the cell; see `Layer`."""
        shape = tuple(input_shape)
        self._check_axes(shape, self.name)
        self.cell.build((shape[0], *shape[2:]))

    def call(
        self,
        inputs: ArrayLike,
        initial_state: States | None = None,
        mask: Bools | None = None,
        training: bool = False,
    ) -> Any:
        """Run over the valid steps; see the class."""
        x = self._checked(inputs)
        known = None
        if mask is not None:
            known = sequence_mask(mask, x.shape, "the input of %r", self.name)
        return self._over(x, known, len(x), initial_state, training)

    def _over(
        self,
        x: Array,
        steps: Mask | Rows | None,
        batch: int,
        initial_state: States | None,
        training: bool,
    ) -> Any:
        """Run over the valid steps of x, (B, T, ...); or over the rows of (1, P, F)."""
        first = self._first(initial_state, batch)
        if initial_state is not None or self.stateful or backend_of(x) is not HOST:
            kept = self.states is not None and self.states is not self._reset
            first = self._placed(first, initial_state is not None or kept, x)
        output, states = self._through_cells(x, steps, first, training)
        if self._cells[-1]._dtype != self._dtype:
            cast = backend_of(output).cast
            output = cast(output, self._dtype)
            states = [[cast(one, self._dtype) for one in own] for own in states]
        if self.stateful:
            copied = backend_of(output).copied
            self.states = self._outside([[copied(one) for one in own] for own in states])
        return (output, *self._outside(states)) if self.return_state else output

    def step(self, x: ArrayLike, state: States, mask: ArrayLike | None = None) -> Array:
        """Compute one step of many streams at once, for those that have an event.

        Nothing is computed for the others, their states are not touched, and no memory is allocated
        for the streams if `x` is a C-contiguous array of the layer's dtype that shares no memory
        with `state`, and `mask` a C-contiguous bool array; otherwise these are copied, `x` only in
        the rows with an event.

        Args:
            x: (B, F), the inputs of the step; rows without an event are not read.
            state: list of arrays (B, H) of the layer's dtype, and for a stack of cells a list
                of these, as `get_initial_state` makes it; the arrays are changed in place.
            mask: (B,), whether a stream has an event; None if all have.

        Returns:
            The outputs (B, H); streams without an event have their last output, even with
            `zero_output_for_mask`, which Bidirectional sets in its layers. The array is one of
            those in `state`, so the next step changes it.

        Raises:
            TypeError: an array is of a wrong kind, or the layer has a cell of your own.
            ValueError: an array has another shape, or two in `state` share memory; the mask
                holds NaN; or the layer goes backwards.

        Examples:
            >>> import numpy as np
            >>> import fastmask as fm
            >>> gru = fm.layers.GRU(4)
            >>> state = gru.get_initial_state(1000)
            >>> event = np.arange(1000) % 10 == 0
            >>> y = gru.step(np.ones((1000, 3)), state, mask=event)
            >>> int((y != 0).any(axis=1).sum()), y is state[0]
            (100, True)
        """
        if self.go_backwards:
            raise ValueError(f"step of layer {self.name!r} needs go_backwards=False")
        if not self._in_kernels():
            raise TypeError(
                f"step of layer {self.name!r} needs cells LSTMCell, GRUCell, SimpleRNNCell, or of "
                "fastmask.cell"
            )
        array = as_array(x, "x")
        if array.ndim != 2:
            raise ValueError(f"x must have shape (batch, features), not {array.shape}")
        if not self.built:
            self.build((None, None, array.shape[1]))
        self._cells[0]._check_shape(array.shape, "batch, features", self.name)
        each = self._in_place(state, len(array))
        events = ALL_ROWS if mask is None else events_of(mask, len(array))
        for cell, own in zip(self._cells, each, strict=True):
            cell._step_in_place(readable(array, events, cell._dtype, own), events, own)
            array = own[0]
        return array

    def compute_mask(self, inputs: ArrayLike, mask: Bools | None = None) -> Any:  # noqa: ARG002 - Keras's form
        """The mask, reversed for `go_backwards`, where the output is a sequence."""
        if not self.return_sequences:
            mask = None
        elif mask is not None and self.go_backwards:
            mask = reversed_mask(mask)
        if not self.return_state:
            return mask
        return [mask] + [None] * len(self._outside([sizes_of(cell) for cell in self._cells]))

    def _check_input_shape(self, shape: Shape) -> None:
        cell = self._cells[0]
        if isinstance(cell, KernelCell) and shape[-1] is not None:
            cell._check_shape(tuple(shape), "batch, time, features", self.name)

    def compute_output_shape(self, input_shape: Shape) -> Any:
        """See `Layer`."""
        batch, time = input_shape[:2]
        size = output_size_of(self._cells[-1])
        output = (batch, time, size) if self.return_sequences else (batch, size)
        if not self.return_state:
            return output
        shapes = [[(batch, n) for n in sizes_of(cell)] for cell in self._cells]
        return [output, *self._outside(shapes)]

    def get_config(self) -> dict[str, Any]:
        """See `Layer`."""
        config = super().get_config()
        return {**config, "cell": self.cell._anew()} if "cell" in config else config

    def _through_cells(
        self, x: Array, mask: Mask | Rows | None, states: list[list[Array]], training: bool
    ) -> tuple[Array, list[list[Array]]]:
        """The output, and the last states of each cell."""
        *inner, last = self._cells
        *first, own = states
        backwards = self.go_backwards
        if backwards and inner:  # the next cell reads what this one writes
            (x, mask), backwards = _turned(x, mask), False
        options = self.return_sequences, backwards, self.zero_output_for_mask
        after = []
        for cell, begin in zip(inner, first, strict=True):
            x, new = over_time(cell, x, mask, begin, training, True, False, False)
            after.append(new)
        y, new = over_time(last, x, mask, own, training, *options)
        return y, [*after, new]

    def _checked(self, inputs: ArrayLike) -> Array:
        cell = self._cells[0]
        if isinstance(cell, KernelCell):
            return cell._checked(inputs, "batch, time, features", self.name)
        x = as_array(inputs, "inputs")
        if x.ndim < 3:
            raise unfit(x.shape, "batch, time, ...", self.name)
        return x

    def _check_axes(self, shape: Shape, name: str) -> None:
        """Check that inputs of this shape fit a cell; messages call the layer `name`.

        Raises:
            ValueError: they do not.
        """
        if isinstance(self._cells[0], KernelCell):
            if len(shape) != 3:
                raise unfit(shape, "batch, time, features", name, alone=not self.built)
            known_features(shape, name)
        elif len(shape) < 3:
            raise unfit(shape, "batch, time, ...", name, alone=not self.built)


def _turned(x: Array, mask: Mask | Rows | None) -> tuple[Array, Mask | Rows | None]:
    """Sequences reversed in time, and their mask."""
    if isinstance(mask, Rows):
        return x[:, mask.turned], mask
    after = None if mask is None else as_mask(reversed_mask(mask))
    return backend_of(x).reversed_in_time(x), after
