"""Where Keras has `pad_sequences`."""

from .masks.padding import pad_sequences

__all__ = ["pad_sequences"]
