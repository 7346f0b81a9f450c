"""Arguments of Keras's for what is not there here."""

from __future__ import annotations

from .._checks import flag


def only_false(value: bool, name: str) -> bool:
    """An argument that Keras has, for what is not there here."""
    if flag(value, name):
        raise ValueError(f"{name} must be False: outputs are arrays")
    return False
