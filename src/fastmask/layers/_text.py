"""Texts as UTF-8 bytes, split into tokens as in TensorFlow."""

from __future__ import annotations

import string
from collections.abc import Callable, Iterable, Sequence
from itertools import chain
from typing import Any

import numpy as np

from .._checks import shown
from .._typing import Array
from ..backends.dispatch import as_array

_LOWER = bytes.maketrans(string.ascii_uppercase.encode(), string.ascii_lowercase.encode())
_PUNCTUATION = string.punctuation.encode()
STANDARDS = ("lower_and_strip_punctuation", "lower", "strip_punctuation")
SPLITS = ("whitespace", "character")
Standard = str | Callable[[Array], Any] | None
Split = str | Callable[[Array], Any] | None


def text_array(value: Any, name: str) -> Array:
    """Texts, or nested lists of texts, as an array; lists become arrays of objects.

    An array of `str` would store each text at the length of the longest one.
    """
    if isinstance(value, (str, bytes)) or (type(value) in (list, tuple) and holds_texts(value)):
        return np.array(value, dtype=object)
    return as_array(value, name)


def holds_texts(value: Any) -> bool:
    """Whether it is a list or object array of texts, judging by its first item."""
    while isinstance(value, (list, tuple, np.ndarray)) and len(value):
        if isinstance(value, np.ndarray) and value.dtype.kind != "O":
            return False
        value = value[0]
        if isinstance(value, (str, bytes)):
            return True
    return False


def texts_in(array: Array, name: str) -> list[bytes]:
    """All texts of an array, in order.

    Raises:
        TypeError: an item is not a text.
        ValueError: a text cannot be encoded.
    """
    if array.dtype.kind not in "SUOT" and array.size:
        raise TypeError(f"{name} must hold strings, not dtype {array.dtype}")
    return encoded(array.ravel().tolist() if array.size else [], name)


def encoded(texts: Iterable[Any], name: str) -> list[bytes]:
    """Texts in UTF-8; bytes stay as they are."""
    try:
        return [text.encode() if isinstance(text, str) else _as_bytes(text, name) for text in texts]
    except UnicodeEncodeError as error:
        raise ValueError(f"{name} must hold strings that UTF-8 can hold: {error}") from None


def _as_bytes(text: Any, name: str) -> bytes:
    if not isinstance(text, bytes):
        raise TypeError(f"{name} must hold strings, but one is {shown(text)}")
    return text


def decoded(texts: Iterable[bytes]) -> Array:
    """The texts as an array of `str`, for the user's functions."""
    return np.array([text.decode("utf-8", "replace") for text in texts], dtype=str)


def standardized(texts: list[bytes], how: Standard, shape: tuple[int, ...]) -> list[bytes]:
    """The texts in lower case (ASCII only), without punctuation, or changed by a function."""
    if how is None:
        return texts
    if how == "lower":
        return [text.translate(_LOWER) for text in texts]
    if isinstance(how, str):
        table = None if how == "strip_punctuation" else _LOWER
        return [text.translate(table, _PUNCTUATION) for text in texts]
    given = text_array(how(decoded(texts).reshape(shape)), "what standardize returns")
    if given.size != len(texts):
        raise ValueError(
            f"standardize must return a text for each of {len(texts)}, not shape {given.shape}"
        )
    return texts_in(given, "what standardize returns")


def split_up(texts: list[bytes], how: Split) -> list[Sequence[bytes]]:
    """The tokens of each text."""
    if how == "whitespace":
        return [text.split() for text in texts]
    if how == "character":
        return [[one.encode() for one in text.decode("utf-8", "replace")] for text in texts]
    of_user: Any = how
    rows = list(of_user(decoded(texts)))
    if len(rows) != len(texts) or any(isinstance(row, (str, bytes)) for row in rows):
        raise ValueError(
            f"split must return a list of tokens for each of {len(texts)} texts, "
            f"not {len(rows)} of {type(rows[0]).__name__ if rows else 'nothing'}"
        )
    return [encoded(row, "what split returns") for row in rows]


def with_ngrams(tokens: Sequence[bytes], widths: Sequence[int]) -> list[bytes]:
    """All n-grams of the given widths, joined by spaces, width by width."""
    runs = (
        (b" ".join(tokens[i : i + width]) for i in range(len(tokens) - width + 1))
        for width in widths
    )
    return list(chain.from_iterable(runs))
