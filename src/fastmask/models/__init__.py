"""Models: layers put together."""

from typing import TYPE_CHECKING, NoReturn

from ..layers._symbolic import Input
from .functional import Functional
from .model import Model
from .sequential import Sequential

__all__ = ["Functional", "Input", "Model", "Sequential"]

if not TYPE_CHECKING:  # type checkers would allow every name otherwise

    def __getattr__(name: str) -> NoReturn:
        """Say where functions are that Keras has here."""
        hint = f": it is fastmask.{name}" if name in ("load_model", "save_model") else ""
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}{hint}")
