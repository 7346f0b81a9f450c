"""Training a cell on a framework's memory: by address, with weights packed once a step."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np

from .. import cells
from ..cells import Cell
from .packing import vectors_of
from .rnn.activations import CODES
from .rnn.backward_calls import Call
from .rnn.batch import RAGGED
from .rnn.cells import save_again, trained
from .rnn.gru import gru_weights, in_two_rows
from .rnn.words import Addresses, Matrix
from .simd import lanes

_OF_TABLE = {"lstm": cells.lstm, "rnn": cells.simple_rnn}


class Training:
    """What training a cell needs besides its forward kernel.

    Args:
        cell: the cell.
        two_rows: whether its bias has two rows, like that of the table's GRU.

    Attributes:
        sizes: gives the sizes of the packs from features, units and dtype, see `rnn.packs`.
        sums: how many blocks of H its own bias has.
        ragged: the value to pass as T where rows are concatenated.
    """

    ragged = RAGGED

    def __init__(self, cell: Cell, two_rows: bool) -> None:
        self.cell, self.two_rows = cell, two_rows
        self._packs, self._backward = trained(cell)
        self.sizes, self.sums = self._packs.sizes, len(cell.sums)

    def vector_size(self, units: int, dtype: np.dtype[Any]) -> int:
        """Bytes from one vector to the next in the packs."""
        return vectors_of(units, dtype) * lanes(dtype) * dtype.itemsize

    def bias_of(self, bias: Any) -> Any:
        """The cell's own bias, from one with two rows."""
        return gru_weights(bias, self.cell is cells.gru)[1]

    def split_dbias(self, dbias: Any, rows: Any) -> None:
        """Split the gradient of the cell's own bias into the two rows of another one."""
        in_two_rows(dbias, rows)

    def pack(self, packs: Any, features: int, units: int, weights: Sequence[Matrix]) -> None:
        """Pack kernel, recurrent kernel, the cell's own bias and vectors, see `rnn.packs`."""
        self._packs.pack(packs, features, units, weights)

    def save_again(
        self,
        gates: Any,
        x: Any,
        plan: Any,
        packed: Any,
        first: Sequence[Any],
        activations: Sequence[str],
        *settings: Any,
    ) -> None:
        """Write what forward saves in `gates`, see `rnn.cells`.

        `settings` are reverse, zero_masked and threads.
        """
        names = (*self.cell.activations, "reverse", "zero_masked", "threads")
        chosen = dict(zip(names, (*activations, *settings), strict=True))
        save_again(self.cell, gates, x, plan, packed, first, chosen)

    def backward(
        self,
        sizes: tuple[int, int, int, int],
        dtype: np.dtype[Any],
        plan: Any,
        activations: Sequence[str],
        settings: tuple[bool, bool, int],
        addresses: tuple[Any, ...],
        owners: Any,
    ) -> None:
        """Turn what was saved into gradients, see `rnn.backward_calls`.

        Args:
            sizes: B, T or RAGGED, F, H.
            dtype: of all reals.
            plan: offsets, steps and order.
            activations: those that the cell leaves to the layer.
            settings: reverse, zero_masked and threads.
            addresses: where everything is, see `Addresses`.
            owners: objects that keep this memory alive.
        """
        codes = [CODES[name] for name in activations] or [0]
        call = Call(sizes, dtype, plan, (codes[0], codes[-1]), *settings)
        self._backward.run_at(call, Addresses(*addresses), owners)


@cache
def training_of(cell: Cell | str, reset_after: bool = True) -> Training:
    """`Training` for a cell, or for the one with a name in the table."""
    if cell == "gru":
        return Training(cells.gru if reset_after else cells.gru_reset_before, True)
    return Training(_OF_TABLE[cell] if isinstance(cell, str) else cell, False)
