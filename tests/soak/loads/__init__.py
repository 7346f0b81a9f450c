"""The loads: functions that `find` registers in `problem.LOADS`."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec

FILES = ("cells", "files", "kernels", "layers", "models", "operators", "pieces", "weights")
TORCH_FILES = ("torch_modules", "torch_training")


def find(torch: bool) -> None:
    """Import the loads; those of torch, which takes long, only if `torch` is set."""
    wanted = TORCH_FILES if torch and find_spec("torch") is not None else ()
    for name in (*FILES, *wanted):
        import_module(f".{name}", __name__)
