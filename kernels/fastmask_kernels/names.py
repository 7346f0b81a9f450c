"""The public names of modules, which completion in a notebook or at the prompt shows."""

from __future__ import annotations

import sys


def public_names(module: str) -> list[str]:
    """The names that a module defines for its users; none before it is imported."""
    known = vars(sys.modules.get(module, object))
    own = (name for name, one in known.items() if getattr(one, "__module__", "") == module)
    return [name for name in known.get("__all__", own) if not name.startswith("_")]


def dir_of(module: str, *others: str) -> list[str]:
    """What `dir` returns for a module: its public names, but no imports and private modules.

    Args:
        module: name of the module.
        others: further names, which are left out before the module has them.
    """
    known = vars(sys.modules[module])
    special = (name for name in known if name.startswith("__") and name.endswith("__"))
    return sorted({*special, *public_names(module), *(name for name in others if name in known)})
