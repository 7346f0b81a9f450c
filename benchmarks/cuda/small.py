"""Some small kernel calls for compute-sanitizer: all loops, every kind of mask, checked results.

compute-sanitizer --tool memcheck python -m benchmarks.cuda.small
"""

from __future__ import annotations

import sys
from contextlib import nullcontext
from unittest.mock import patch

from benchmarks.cuda import system

ON_DEVICE = (  # sizes of the tests, which have compiled most of the kernels
    ("lstm", 9, 5, 3, 7),
    ("gru_after", 9, 5, 3, 7),
    ("rnn", 9, 5, 3, 7),
    ("lstm", 6, 4, 3, 160),  # too large for one block
)
SIMULATED = (("lstm", 3, 3, 2, 5),)
KINDS = ("holes", "right", "left", "row_off")
TENSOR_CORES = (  # form of the weights, whether blocks share the layer, cell, sizes
    ("bfloat16", False, "lstm", 9, 3, 3, 7),
    ("tf32", False, "gru_before", 9, 3, 3, 7),
    ("bfloat16", True, "lstm", 9, 2, 2, 9),
    ("tf32", True, "rnn", 3, 2, 2, 17),
)


def main() -> None:
    """Check forward and backward calls against the reference."""
    system.require_device()
    system.require_tests()
    if system.SIMULATED:
        system.enter_simulator()
    from tests.cuda.test_recurrent import check, make

    for cell, batch, time, features, units in SIMULATED if system.SIMULATED else ON_DEVICE:
        for kind in KINDS[: 1 if system.SIMULATED else None]:
            check(make(cell, batch, time, features, units, kind=kind))
            print(f"{cell}, {units} units, {kind}: right", flush=True)
    tensor_cores()


def tensor_cores() -> None:
    """Check rounded weights against loops that round in the same way.

    Layers shared by blocks must be small: among many numbers some would be rounded the other way.
    """
    from tests.cuda.test_tensor_cores import check, make

    from fastmask_kernels.cuda import use_weights
    from fastmask_kernels.cuda.rnn import mma_layout

    for form, shared, cell, *sizes in TENSOR_CORES[: 1 if system.SIMULATED else None]:
        no_block_alone = patch.object(mma_layout, "alone", lambda *_: None)
        with use_weights(form), no_block_alone if shared else nullcontext():
            check(make(cell, *sizes, kind="right", seed=1), form)
        where = "in a grid" if shared else "in a block"
        print(f"{cell}, {form}, {where}: right", flush=True)


if __name__ == "__main__":
    sys.exit(system.status(main))
