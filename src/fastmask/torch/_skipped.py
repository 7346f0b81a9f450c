"""Keep torch.compile out of what fastmask computes with NumPy and Numba.

torch.compile traces NumPy's arrays as tensors, which neither a mask's read-only array nor a
kernel's argument can be. With the rules added here, a call of these modules breaks the graph: they
are not traced, and run as without torch.compile.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from pkgutil import iter_modules
from types import ModuleType
from typing import Any

_TRACED = ("keras", "torch")  # compiled programs consist of these layers
_COMPILERS = ("fastmask_kernels", "numba", "llvmlite")  # run at the first call of a kernel
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
            sys.meta_path.remove(self)
            _add_to(module)

        loader.exec_module = run_and_add
        return spec


def skip_numpy() -> None:
    """Let calls of other parts of fastmask break the graph of torch.compile."""
    rules = sys.modules.get(_RULES)
    if rules is None:
        sys.meta_path.insert(0, _Waiting())
    else:
        _add_to(rules)


def _add_to(rules: ModuleType) -> None:
    add = getattr(rules, "add", None)  # not public: torch may remove it
    if add is not None:
        own = [module.name for module in iter_modules([str(Path(__file__).parents[1])])]
        for name in (*(f"fastmask.{one}" for one in own if one not in _TRACED), *_COMPILERS):
            add(name)
