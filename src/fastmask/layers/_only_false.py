"""Arguments of Keras for features that do not exist here."""

from __future__ import annotations

from .._checks import flag


def only_false(value: bool, name: str) -> bool:
    """Check an argument of Keras for a feature that does not exist here."""
    if flag(value, name):
        raise ValueError(f"{name} must be False: outputs are arrays")
    return False
