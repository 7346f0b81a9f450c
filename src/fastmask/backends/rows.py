"""Where the rows of a ragged batch begin and end."""

from __future__ import annotations

import numpy as np

from .._typing import INT64, ArrayLike, Bools, Ints
from .dispatch import integer_array
from .plan import Plan


class Rows:
    """Rows stored one after the other, and which of their steps are valid.

    All batches that layers compute from one with these rows share the object, so its plan is made
    once. It takes the place of a mask.
    """

    __slots__ = ("_of_valid", "_plan", "offsets", "valid")
    offsets: Ints
    valid: Bools | None
    _plan: Plan | None
    _of_valid: Rows | None

    def __init__(self, offsets: Ints, valid: Bools | None = None) -> None:
        for array in (offsets, valid):
            if array is not None:
                array.setflags(write=False)
        self.offsets, self.valid = offsets, valid
        self._plan = self._of_valid = None

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def count(self) -> int:
        """The number of steps of all rows together, P."""
        return int(self.offsets[-1])

    @property
    def lengths(self) -> Ints:
        """The number of steps of each row, (B,)."""
        lengths: Ints = np.diff(self.offsets)
        return lengths

    @property
    def plan(self) -> Plan:
        """The plan for kernels if all steps are valid; made once."""
        if self._plan is None:
            steps = np.arange(self.count, dtype=INT64)
            order = np.argsort(-self.lengths, kind="stable")
            self._plan = Plan(self.offsets, steps, order)
        return self._plan

    @property
    def of_valid(self) -> Rows:
        """The rows without their masked steps; made once.

        Raises:
            ValueError: the mask has more axes than that of the steps.
        """
        if self.valid is None:
            return self
        if self.valid.ndim > 1:
            raise ValueError(
                f"the mask of a Ragged must have shape (steps,) here, not {self.valid.shape}"
            )
        if self._of_valid is None:
            before = np.concatenate([[0], np.cumsum(self.valid, dtype=INT64)])
            self._of_valid = Rows(before[self.offsets])
        return self._of_valid

    @property
    def places(self) -> tuple[Ints, Ints]:
        """The row of each step, and its number within the row."""
        lengths = self.lengths
        rows = np.repeat(np.arange(len(lengths)), lengths)
        return rows, np.arange(self.count) - np.repeat(self.offsets[:-1], lengths)

    @property
    def turned(self) -> Ints:
        """The steps of each row from its last one to its first."""
        ends: Ints = np.repeat(self.offsets[:-1] + self.offsets[1:] - 1, self.lengths)
        return ends - np.arange(self.count)

    def with_valid(self, valid: Bools | None) -> Rows:
        """These rows with another mask."""
        if valid is not None and valid.all():
            valid = None
        return self if valid is self.valid else Rows(self.offsets, valid)

    def are(self, other: Rows) -> bool:
        """Whether the rows begin and end at the same steps."""
        return self is other or np.array_equal(self.offsets, other.offsets)


def offsets_of(lengths: Ints) -> Ints:
    """Where rows of these lengths begin, and where the last one ends."""
    offsets = np.zeros(len(lengths) + 1, INT64)
    np.cumsum(lengths, out=offsets[1:])
    return offsets


def checked_offsets(offsets: ArrayLike, steps: int) -> Ints:
    """Offsets into `steps` values, in memory of their own.

    Raises:
        TypeError: they are not numbers.
        ValueError: they are not whole, not flat, not ascending, or out of range.
    """
    known = integer_array(offsets, "offsets").copy()
    if known.ndim != 1 or not len(known):
        raise ValueError(f"offsets must have shape (batch + 1,), not {known.shape}")
    falling = np.flatnonzero(known[1:] < known[:-1])
    if len(falling):
        b = int(falling[0])
        raise ValueError(
            f"offsets must not descend, but offsets[{b}] is {known[b]} and "
            f"offsets[{b + 1}] {known[b + 1]}"
        )
    if known[0] < 0 or known[-1] > steps:
        worst = known[0] if known[0] < 0 else known[-1]
        raise ValueError(
            f"offsets must be from 0 to {steps}, the number of values, but one is {worst}"
        )
    return known
