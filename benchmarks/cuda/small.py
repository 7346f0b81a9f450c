"""Some small kernel calls for compute-sanitizer: all loops, every kind of mask, checked results.

compute-sanitizer --tool memcheck python -m benchmarks.cuda.small
"""

from __future__ import annotations

from benchmarks.cuda import system

ON_DEVICE = (  # sizes of the tests, which have compiled most of the kernels
    ("lstm", 9, 5, 3, 7),
    ("gru_after", 9, 5, 3, 7),
    ("rnn", 9, 5, 3, 7),
    ("lstm", 6, 4, 3, 160),  # too large for one block
)
SIMULATED = (("lstm", 3, 3, 2, 5),)
KINDS = ("holes", "right", "left", "row_off")


def main() -> None:
    """Forward and backward calls, against the reference column."""
    system.require_device()
    if system.SIMULATED:
        system.enter_simulator()
    from tests.cuda.test_recurrent import check, make

    for cell, batch, time, features, units in SIMULATED if system.SIMULATED else ON_DEVICE:
        for kind in KINDS[: 1 if system.SIMULATED else None]:
            check(make(cell, batch, time, features, units, kind=kind))
            print(f"{cell}, {units} units, {kind}: right", flush=True)


if __name__ == "__main__":
    main()
