"""What tells the kernels of one cell from those of another."""

from __future__ import annotations


class Cell:
    """A cell as its kernels see it.

    Args:
        prefix: what its kernels' names begin with.
        gates: how many blocks of H columns its weights have.
        states: how many states it has.
        width: how many blocks of H columns backward works on at each step.
        bias_rows: 2 where input and state have biases of their own.
        flags: how many of the last settings packing takes too.

    Attributes:
        saved: widths, in H, of what the forward kernel saves for backward.
        keeps_gates: whether it saves gates, beside the states.
    """

    def __init__(
        self,
        prefix: str,
        *,
        gates: int,
        states: int,
        width: int,
        bias_rows: int = 1,
        flags: int = 0,
    ) -> None:
        self.prefix, self.gates, self.states, self.width = prefix, gates, states, width
        self.bias_rows, self.flags = bias_rows, flags
        self.keeps_gates = width > 1
        self.saved = (1,) * states + ((width,) if self.keeps_gates else ())
        self.fwd, self.bwd, self.step = f"{prefix}_fwd", f"{prefix}_bwd", f"{prefix}_step"
        self.pack, self.packed_size = f"{prefix}_pack", f"{prefix}_packed_size"

    def __repr__(self) -> str:
        return f"<Cell {self.prefix!r}>"


LSTM = Cell("lstm", gates=4, states=2, width=4)
GRU = Cell("gru", gates=3, states=1, width=4, bias_rows=2, flags=1)
SIMPLE_RNN = Cell("rnn", gates=1, states=1, width=1)
