"""The size limit for the tables that embeddings are folded into."""

from __future__ import annotations

import os

from .._checks import whole_number

_VARIABLE = "FASTMASK_FOLD_LIMIT"
_USUAL = 1 << 26
_chosen: int | None = None


def set_fold_limit(bytes: int) -> None:
    """Set the size of tables up to which embeddings are folded into recurrent layers.

    If only recurrent layers use an `Embedding` in a model, inference needs its rows only in
    products with their kernels. These are computed once for all ids, kept, and looked up. The
    table of a layer has one row of sums for each id, such as 4 H numbers for an LSTM.

    Args:
        bytes: the limit for the tables of one embedding; 0 for no folding.

    Raises:
        TypeError: `bytes` is not an integer.
        ValueError: `bytes` is less than 0.

    Examples:
        >>> import fastmask as fm
        >>> before = fm.get_fold_limit()
        >>> fm.set_fold_limit(0)
        >>> fm.set_fold_limit(before)
    """
    global _chosen
    _chosen = whole_number(bytes, "bytes", 0)


def get_fold_limit() -> int:
    """The size of tables, in bytes, up to which embeddings are folded into recurrent layers.

    Unless `set_fold_limit` was called, this is the environment variable FASTMASK_FOLD_LIMIT, or
    otherwise 64 MiB.

    Returns:
        The number of bytes.

    Raises:
        ValueError: FASTMASK_FOLD_LIMIT is not a number of bytes.

    Examples:
        >>> import fastmask as fm
        >>> fm.get_fold_limit() >= 0
        True
    """
    global _chosen
    if _chosen is None:
        text = os.environ.get(_VARIABLE, "").strip() or str(_USUAL)
        if not (text.isascii() and text.isdigit()):
            raise ValueError(f"{_VARIABLE} must be a number of bytes, not {text!r}")
        _chosen = int(text)
    return _chosen
