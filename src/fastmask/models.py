"""Models: layers put together."""

from ._functional import Functional
from ._model import Model
from ._sequential import Sequential
from .layers._symbolic import Input

__all__ = ["Functional", "Input", "Model", "Sequential"]
