"""Models: layers put together."""

from typing import TYPE_CHECKING, NoReturn

from fastmask_kernels.names import dir_of

from .._names import no_such_name
from ..layers._symbolic import Input
from .functional import Functional
from .model import Model
from .sequential import Sequential

__all__ = ["Functional", "Input", "Model", "Sequential"]

__dir__ = dir_of(__name__)

if not TYPE_CHECKING:  # type checkers would allow every name otherwise

    def __getattr__(name: str) -> NoReturn:
        """Say where functions are that Keras has here."""
        no_such_name(__name__, name)
