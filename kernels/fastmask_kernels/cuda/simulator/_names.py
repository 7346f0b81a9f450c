"""The names that stand for something else while a kernel runs: `cuda`, `math`, `max` and `min`."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

from numba import cuda
from numba.cuda.simulator import kernel as simulated

from ._math import BUILTINS, MATH

_OF_MATH = {
    id(own): made for name, made in vars(MATH).items() if made is not (own := getattr(math, name))
}
_CHANGED = {"math", *BUILTINS}
_with_inlined: set[str] = set()  # modules


def called_by_kernels(function: Callable[..., Any]) -> Callable[..., Any]:
    """Let a plain function see in every launch what the kernel sees; returns the function."""
    if not _CHANGED.isdisjoint(function.__code__.co_names):
        _with_inlined.add(function.__module__)
    return function


@contextmanager
def names_of(kernel: Callable[..., None], module: Any) -> Iterator[None]:
    """Change the global names of a kernel, and of the device functions that it calls.

    Args:
        kernel: the function of a launch.
        module: what `cuda` stands for.
    """
    changed: dict[int, tuple[dict[str, Any], dict[str, Any]]] = {}
    stand_ins = {**_OF_MATH, id(math): MATH, id(cuda): module}

    def change(names: dict[str, Any]) -> None:
        if id(names) in changed:
            return
        new = {k: stand_ins[id(v)] for k, v in [*names.items()] if id(v) in stand_ins}
        new |= {name: made for name, made in BUILTINS.items() if name not in names}
        changed[id(names)] = names, {name: names[name] for name in new if name in names}
        names.update(new)

    def of_device_function(function: Any, _: Any) -> AbstractContextManager[None]:
        change(function.__globals__)
        return nullcontext()

    before = simulated.swapped_cuda_module
    simulated.swapped_cuda_module = of_device_function
    try:
        for names in (kernel.__globals__, *(vars(sys.modules[one]) for one in _with_inlined)):
            change(names)
        yield
    finally:
        simulated.swapped_cuda_module = before
        for names, own in changed.values():
            for name in BUILTINS.keys() - own.keys():
                names.pop(name, None)
            names.update(own)
