"""Layers that make, carry, use and change masks."""

from ._layer import Layer
from .activation import Activation
from .dense import Dense
from .embedding import Embedding
from .lstm import LSTM
from .masking import Masking

__all__ = ["LSTM", "Activation", "Dense", "Embedding", "Layer", "Masking"]
