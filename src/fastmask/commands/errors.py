"""Errors in plain words."""

from __future__ import annotations


def in_plain_words(error: Exception) -> str:
    """What is wrong; the system's errors name the file first, without numbers and quotes."""
    if isinstance(error, OSError) and error.strerror and error.filename2 is None:
        if error.filename is not None:
            return f"{error.filename}: {error.strerror}"
        return error.strerror
    return str(error)
