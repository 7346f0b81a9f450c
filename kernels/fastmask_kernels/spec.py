"""The kernel table: every kernel's name, arguments, shapes and dtypes, and what it writes.

`fastmask_kernels.reference` and `fastmask_kernels.cpu` export one function for each entry,
under the same name and with the same arguments; tests and signatures are derived from here.

Shapes are words, one letter a size that must be the same wherever it appears in a call:
B sequences, T time steps, F input features, H units, S either T or 0 (no sequence output
wanted), N and P and V whatever fits. Outputs come first; kernels allocate no result.

A plan says which steps of a batch exist (see `plan_steps`):
    offsets (B+1)   row b owns entries offsets[b] to offsets[b + 1] of `steps`
    steps   (P)     flat positions b * T + t of the valid steps, ascending
    order   (B)     rows, most valid steps first
"""

from __future__ import annotations

from dataclasses import dataclass

REAL = "real"  # float32 or float64, the same in all REAL arguments of a call
ANY = "any"  # any fixed-size NumPy dtype, the same in all ANY arguments of a call

_PLAN = (("offsets", "int64", "B+1"), ("steps", "int64", "P"), ("order", "int64", "B"))

ACTIVATIONS = ("linear", "relu", "sigmoid", "hard_sigmoid", "tanh")


@dataclass(frozen=True)
class Argument:
    """One argument: `shape` is None for a plain number or string."""

    name: str
    dtype: str
    shape: tuple[str, ...] | None = None
    output: bool = False


@dataclass(frozen=True)
class Kernel:
    """One row of the table."""

    name: str
    summary: str
    arguments: tuple[Argument, ...]

    @property
    def outputs(self) -> tuple[Argument, ...]:
        """The arguments that the kernel writes."""
        return tuple(a for a in self.arguments if a.output)


def _arguments(rows: tuple[tuple[str, ...], ...], output: bool) -> tuple[Argument, ...]:
    return tuple(
        Argument(row[0], row[1], tuple(row[2].split()) if len(row) > 2 else None, output)
        for row in rows
    )


def _kernel(
    name: str,
    summary: str,
    outputs: tuple[tuple[str, ...], ...],
    inputs: tuple[tuple[str, ...], ...],
) -> Kernel:
    return Kernel(name, summary, _arguments(outputs, True) + _arguments(inputs, False))


KERNELS: dict[str, Kernel] = {
    kernel.name: kernel
    for kernel in (
        _kernel(
            "mask_not_equal",
            "valid = ids != value",
            (("valid", "bool", "B T"),),
            (("ids", ANY, "B T"), ("value", "number")),
        ),
        _kernel(
            "mask_any_not_equal",
            "valid = any(x != value, axis=-1); NaN differs from every value",
            (("valid", "bool", "B T"),),
            (("x", ANY, "B T F"), ("value", "number")),
        ),
        _kernel(
            "mask_from_lengths",
            "The first, or with `pre` the last, lengths[b] steps of row b are valid",
            (("valid", "bool", "B T"),),
            (("lengths", "int64", "B"), ("pre", "flag")),
        ),
        _kernel(
            "plan_steps",
            "The plan of a mask; `steps` has room for B * T, of which offsets[B] are written",
            (("offsets", "int64", "B+1"), ("steps", "int64", "P"), ("order", "int64", "B")),
            (("valid", "bool", "B T"),),
        ),
        _kernel(
            "pad_rows",
            "Row b gets values[offsets[b]:offsets[b+1]], padded with `value` or truncated to T; "
            "`pre_pad` and `pre_truncate` choose the start instead of the end",
            (("out", ANY, "B T F"),),
            (
                ("values", ANY, "N F"),
                ("offsets", "int64", "B+1"),
                ("value", ANY, "1"),
                ("pre_pad", "flag"),
                ("pre_truncate", "flag"),
            ),
        ),
        _kernel(
            "unpad_rows",
            "values[i] = padded.reshape(B * T, F)[steps[i]]",
            (("values", ANY, "P F"),),
            (("padded", ANY, "B T F"), ("steps", "int64", "P")),
        ),
        _kernel(
            "gather_rows",
            "out[i] = table[ids[i]], the embedding look-up",
            (("out", ANY, "N F"),),
            (("table", ANY, "V F"), ("ids", "int64", "N")),
        ),
        _kernel(
            "lstm_pack",
            "Weights in the layout that this column's lstm_fwd reads; gate order i, f, c, o",
            (("packed", REAL, "W"),),
            (
                ("kernel", REAL, "F 4H"),
                ("recurrent_kernel", REAL, "H 4H"),
                ("bias", REAL, "4H"),
            ),
        ),
        _kernel(
            "lstm_fwd",
            "LSTM over the valid steps. Masked steps repeat the previous output (zeros before "
            "the first valid step), or are zeros with `zero_masked`; `reverse` walks the rows "
            "from the end and writes in that order",
            (
                ("out", REAL, "B S H"),
                ("h_last", REAL, "B H"),
                ("c_last", REAL, "B H"),
            ),
            (
                ("x", REAL, "B T F"),
                *_PLAN,
                ("packed", REAL, "W"),
                ("h_first", REAL, "B H"),
                ("c_first", REAL, "B H"),
                ("activation", "activation"),
                ("recurrent_activation", "activation"),
                ("reverse", "flag"),
                ("zero_masked", "flag"),
                ("threads", "number"),
            ),
        ),
    )
}
