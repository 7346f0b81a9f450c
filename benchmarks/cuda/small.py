"""Some small kernel calls for compute-sanitizer: all loops, every kind of mask, checked results.

compute-sanitizer --tool memcheck python -m benchmarks.cuda.small
"""

from __future__ import annotations

from benchmarks.cuda import system

ON_DEVICE = (
    ((9, 5, 7, 24), (6, 4, 5, 160)),  # one block owns the layer, then a grid of them
    ("lstm", "gru_after", "rnn"),
    ("right", "left", "holes", "row_off"),
)
SIMULATED = (((3, 3, 2, 5),), ("lstm",), ("holes",))


def main() -> None:
    """Forward and backward calls, against the reference column."""
    system.require_device()
    if system.SIMULATED:
        system.enter_simulator()
    from tests.cuda.test_recurrent import check, make

    sizes, cells, kinds = SIMULATED if system.SIMULATED else ON_DEVICE
    for batch, time, features, units in sizes:
        for number, cell in enumerate(cells):
            for kind in kinds:
                check(make(cell, batch, time, features, units, kind=kind, seed=number))
                print(f"{cell}, {units} units, {kind}: right", flush=True)


if __name__ == "__main__":
    main()
