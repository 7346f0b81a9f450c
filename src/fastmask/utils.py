"""`pad_sequences`, in the place where Keras has it."""

from .masks.padding import pad_sequences

__all__ = ["pad_sequences"]
