"""Where Keras has `pad_sequences`."""

from ._padding import pad_sequences

__all__ = ["pad_sequences"]
