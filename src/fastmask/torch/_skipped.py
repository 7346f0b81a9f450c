"""Keep torch.compile out of what fastmask computes with NumPy and Numba.

torch.compile traces NumPy's arrays as tensors, which neither a mask's read-only array nor a
kernel's argument can be. With the rules added here, a call of these modules breaks the graph: they
are not traced, and run as without torch.compile.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from pkgutil import iter_modules
from types import ModuleType
from typing import Any

_TRACED = ("keras", "torch")  # compiled programs consist of these layers
# The kernels, and what compiles them at their first call. Not even their cells are traced, though
# `_formula` calls them with tensors: the reference calls them with arrays.
_COMPILERS = ("fastmask_kernels", "numba", "llvmlite")
_RULES = "torch._dynamo.trace_rules"


class _Waiting:
    """Adds to torch's rules when a program imports them: importing them here would take 2 s."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        spec = PathFinder.find_spec(name, path, target) if name == _RULES else None
        if spec is None or spec.loader is None:
            return None
        loader: Any = spec.loader
        run = loader.exec_module

        def run_and_add(module: ModuleType) -> None:
            run(module)
            with suppress(ValueError):  # a program has taken it out
                sys.meta_path.remove(self)
            _add_to(module)

        loader.exec_module = run_and_add
        return spec


def skip_numpy() -> None:
    """Let calls of other parts of fastmask break the graph of torch.compile."""
    if sys.modules.get(_RULES):
        _add_to(import_module(_RULES))  # waits for a thread that is still importing them
    else:
        sys.meta_path.insert(0, _Waiting())


def _add_to(rules: ModuleType) -> None:
    add = getattr(rules, "add", None)  # not public: torch may remove it
    if add is not None:
        own = [module.name for module in iter_modules([str(Path(__file__).parents[1])])]
        for name in (*(f"fastmask.{one}" for one in own if one not in _TRACED), *_COMPILERS):
            with suppress(Exception):  # such as numba, mocked: import torch must not fail for it
                add(name)
