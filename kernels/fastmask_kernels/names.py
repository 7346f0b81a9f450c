"""The public names of modules, which completion in a notebook or at the prompt shows."""

from __future__ import annotations

import sys
from collections.abc import Callable


def public_names(module: str) -> list[str]:
    """The names that a module defines for its users; none before it is imported."""
    known = vars(sys.modules.get(module, object))
    own = (name for name, one in known.items() if getattr(one, "__module__", "") == module)
    return [name for name in known.get("__all__", own) if not name.startswith("_")]


def dir_of(module: str, *others: str) -> Callable[[], list[str]]:
    """The `__dir__` of a module, which lists its public names, but no imports and private modules.

    Args:
        module: name of the module.
        others: further names, which are left out before the module has them.
    """

    def listed() -> list[str]:
        known = vars(sys.modules[module])
        special = (name for name in known if name.startswith("__") and name.endswith("__"))
        return sorted({*special, *public_names(module), *(one for one in others if one in known)})

    return listed
