"""A cell: its formula, and where its sums and the saved values of a step are in memory."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Sequence
from functools import cached_property
from typing import Any, overload

from ..formula import Formula, Gradients, Symbol, saved, trace, walk, with_line

Function = Callable[..., Any]


class Cell:
    """A recurrent cell as all kernels see it.

    Args:
        function: the formula, see `formula.trace`.
        x_only: names of the sums without a part of h.
        h_only: names of the sums without a part of x.

    Attributes:
        name: the function's name.
        function: the function.
        sums: names of the sums, in the order of the bias.
        states: names of the states; the first one is the output, h.
        vectors: names of the vectors.
        inputs: names of the sums with a part of x, in the order of the kernel's columns.
        recurrents: names of the sums with a part of h, in the order of the recurrent kernel's
            columns.
        activations: those of ("activation", "recurrent_activation") that the formula leaves to
            the layer.
        order: names of the sums in the order of a row of z, where those with a part of x come
            first and those of the first product with h are side by side:
                x alone, called with a part of x, x and h, h alone, called without a part of x
    """

    def __init__(
        self, function: Function, x_only: Collection[str] = (), h_only: Collection[str] = ()
    ) -> None:
        formula = trace(function, x_only, h_only)
        try:
            _check_names(formula)
        except ValueError as error:
            raise with_line(function, error) from error
        self.formula: Formula = formula
        self.name: str = formula.name
        self.function = function
        self.__doc__ = function.__doc__
        self.sums = tuple(formula.sums)
        self.states = tuple(formula.states)
        self.vectors = tuple(formula.vectors)
        self.inputs = tuple(name for name in self.sums if name not in formula.h_only)
        self.recurrents = tuple(name for name in self.sums if name not in formula.x_only)
        used = {symbol.op for symbol in walk(formula.new)}
        self.activations = tuple(a for a in ("activation", "recurrent_activation") if a in used)
        self.order = tuple(sorted(self.sums, key=self._place))

    def _place(self, name: str) -> int:
        formula = self.formula
        called, of_h = name in formula.second, name in formula.h_only
        if name in formula.x_only:
            return 0
        if called:
            return 4 if of_h else 1
        return 3 if of_h else 2

    @cached_property
    def gradients(self) -> Gradients:
        """The gradients of the formula."""
        return Gradients(self.formula)

    @cached_property
    def saved(self) -> tuple[Symbol | None, ...]:
        """What forward saves in each block of H columns of `gates`; None for nothing.

        There is a block for each sum, in the order of z, which backward overwrites with the sum's
        gradient; then one for each value that a sum is called on, which backward keeps; then more
        if these do not hold everything. Backward appends the gradients of the vectors, step by
        step. What forward leaves in a block of None differs between backends.
        """
        values = [s.args[1] for s in self.called]
        wanted = [s for s in saved(self.formula, self.gradients) if s not in values]
        slots: dict[int, Symbol] = {}
        choices = {id(s): self._slots_of(s, wanted) for s in wanted}
        for symbol in sorted(wanted, key=lambda s: len(choices[id(s)])):
            places = [*choices[id(symbol)], *range(len(self.sums))]
            free = [n for n in places if n not in slots]
            slots[free[0] if free else len(self.sums) + len(values) + len(slots)] = symbol
        own = [slots.pop(n, None) for n in range(len(self.sums))]
        return (*own, *values, *slots.values())

    def _slots_of(self, symbol: Symbol, wanted: Sequence[Symbol]) -> list[int]:
        """Numbers of the sums that a symbol depends on, other than through other saved ones."""
        found: list[int] = []
        stack, others = [symbol], {id(s) for s in wanted if s is not symbol}
        while stack:
            one = stack.pop(0)
            if one.op == "sum":
                found.append(self.order.index(one.args[0]))
            stack += [s for s in one.operands if id(s) not in others]
        return found

    @cached_property
    def called(self) -> tuple[Symbol, ...]:
        """The calls of sums on values, in the order of their rounds."""
        return tuple(s for s in walk(self.formula.new) if s.op == "sum_of")

    @cached_property
    def keeps_gates(self) -> bool:
        """Whether backward needs more from forward than the states."""
        return any(s is not None for s in self.saved)

    @property
    def width(self) -> int:
        """Blocks of H columns of `gates` in backward."""
        return len(self.saved) + len(self.vectors)

    @cached_property
    def digest(self) -> str:
        """Identifies the cell's compiled code; the same in every process."""
        numbers: dict[int, int] = {}
        lines = [repr((self.sums, self.states, self.vectors, self.inputs, self.recurrents))]
        for symbol in walk(self.formula.new):
            numbers[id(symbol)] = len(numbers)
            args = [numbers[id(a)] if isinstance(a, Symbol) else repr(a) for a in symbol.args]
            lines.append(f"{symbol.op} {args}")
        lines.append(repr([numbers[id(s)] for s in self.formula.new]))
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Cell) and (self.name, self.digest) == (other.name, other.digest)

    def __hash__(self) -> int:
        return hash((self.name, self.digest))

    def __repr__(self) -> str:
        return f"<cell {self.name}>"


def require_cell(value: object) -> None:
    """Raise unless a value is a cell, and not a layer of one or a name.

    Raises:
        TypeError: it is no cell.
    """
    if not isinstance(value, Cell):
        raise TypeError(
            "cell must be a cell made by fm.cell or one of fastmask_kernels.cells, such as lstm, "
            f"not {value!r}"
        )


def _check_names(formula: Formula) -> None:
    """Check that no name misleads, and that a kernel's arguments can have them."""
    if not formula.name.isidentifier():
        raise ValueError(f"a cell is named after its function, which needs a name: {formula.name}")
    _check_sums(formula)
    taken = dict.fromkeys(_TAKEN, "a kernel")
    for kind, names, forms in (
        ("state", formula.states, _OF_A_STATE),
        ("vector", formula.vectors, _OF_A_VECTOR),
    ):
        for name in names:
            if name == "x":
                raise ValueError(f"a {kind} must not be called x, which is the input")
            if name.startswith("_"):
                raise ValueError(f"a {kind} must not be called {name}, which begins with _")
            for argument in (form.format(name) for form in forms):
                if argument in taken:
                    raise ValueError(
                        f"a {kind} must not be called {name}: {taken[argument]} has an argument "
                        f"{argument} already"
                    )
                taken[argument] = f"the {kind} {name}"


def _check_sums(formula: Formula) -> None:
    """Refuse sums named like the input or a state: they are neither."""
    for name in formula.sums:
        if name in ("x", "x_t"):
            raise ValueError(f"a sum must not be called {name}; {_NO_INPUT}")
        if name in ("h", "h_prev"):
            raise ValueError(
                f"a sum must not be called {name}, and this is one: states are the last "
                "arguments, as many as the function returns, which is here only "
                f"{', '.join(formula.states)}; return every new state"
            )


_NO_INPUT = (
    "the input itself is not available in a formula: a sum is x W + h U + b. In its place take "
    "a sum of x alone with weights of its own, x W + b: give it another name, and list it in x_only"
)
_OF_A_STATE = ("{}", "{}_first", "{}_last", "{}_steps", "d{}_first", "d{}_last")
_OF_A_VECTOR = ("{}", "d{}")
_TAKEN = (
    *("out", "kernel", "recurrent_kernel", "bias", "packed", "gates", "gates_saved"),
    *("steps", "offsets", "order", "valid", "reverse", "zero_masked", "threads"),
    *("activation", "recurrent_activation", "dx", "dout", "dkernel", "drecurrent_kernel", "dbias"),
)
"""Names of kernel arguments that belong to no state or vector, see `spec`."""


@overload
def cell(function: Function, /) -> Cell: ...
@overload
def cell(
    *, x_only: Collection[str] = (), h_only: Collection[str] = ()
) -> Callable[[Function], Cell]: ...
def cell(
    function: Function | None = None,
    /,
    *,
    x_only: Collection[str] = (),
    h_only: Collection[str] = (),
) -> Cell | Callable[[Function], Cell]:
    """Make a cell from a formula; a decorator, with arguments or without. See `Cell`."""
    if function is not None:
        return Cell(function)
    return lambda function: Cell(function, x_only, h_only)
