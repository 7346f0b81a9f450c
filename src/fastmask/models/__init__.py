"""Models: layers put together."""

from ..layers._symbolic import Input
from .functional import Functional
from .model import Model
from .sequential import Sequential

__all__ = ["Functional", "Input", "Model", "Sequential"]
