"""What the subscripts of an einsum in a loaded model say: how much it computes, and of which rows.

"bth,bsh->bts" has a term for each operand, and one for the result; `...` stands for any axes.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

import numpy as np

from .._checks import shown
from .._typing import Array

_TERM = r"[A-Za-z]*(\.\.\.)?[A-Za-z]*"
_FORM = re.compile(rf"{_TERM}(,{_TERM})*(->{_TERM})?")
_LONGEST = 256  # characters


def einsum_steps(subscripts: object, arrays: Sequence[Array]) -> int:
    """How many products it sums, which is at least the size of any intermediate result.

    Raises:
        ValueError: the subscripts have another form, or the arrays do not fit them.
    """
    terms, _ = _terms(subscripts)
    if len(terms) != len(arrays):
        count = len(arrays)
        raise ValueError(f"subscripts {subscripts!r} are for {len(terms)} arrays, not {count}")
    sizes: dict[str, int] = {}
    dots: list[tuple[int, ...]] = []
    for term, array in zip(terms, arrays, strict=True):
        first, found, last = term.partition("...")
        end = array.ndim - len(last)
        if end < len(first) or (not found and end > len(first)):
            raise ValueError(f"subscripts {term!r} do not fit an array of shape {array.shape}")
        dots.append(array.shape[len(first) : end])
        axes = *array.shape[: len(first)], *array.shape[end:]
        for letter, size in zip(first + last, axes, strict=True):
            sizes[letter] = max(size, sizes.get(letter, 1))
    return math.prod(sizes.values()) * math.prod(np.broadcast_shapes(*dots))


def einsum_mixes_rows(subscripts: object, operands: Sequence[int]) -> bool:
    """Whether a result combines rows, the first axis of operands, or does not have them first.

    Args:
        subscripts: what it computes.
        operands: the number of axes of each operand that has rows; 0 for others.
    """
    terms, result = _terms(subscripts)
    pairs = [*zip(terms, operands, strict=True)]
    with_rows = [(term, ndim) for term, ndim in pairs if ndim]
    heads = {term[:3] if term.startswith("...") else term[:1] for term, _ in with_rows}
    row = heads.pop()
    if heads or not row or not result.startswith(row):
        return True
    if row == "...":
        axes = {ndim - len(term) + 3 for term, ndim in with_rows}
        return len(axes) > 1 or axes == {0} or any(row in term for term, ndim in pairs if not ndim)
    return any(term.count(row) != (ndim > 0) for term, ndim in pairs)


def _terms(subscripts: object) -> tuple[list[str], str]:
    """The terms of the operands, and that of the result."""
    if not isinstance(subscripts, str) or len(subscripts) > _LONGEST:
        raise ValueError(f"subscripts must be a short string, not {shown(subscripts)}")
    text = subscripts.replace(" ", "")
    if not _FORM.fullmatch(text):
        raise ValueError(f"subscripts must be like 'btf,bsf->bts', not {shown(subscripts)}")
    before, arrow, result = text.partition("->")
    if not arrow:
        letters = sorted({one for one in before if one.isalpha() and before.count(one) == 1})
        result = ("..." if "..." in before else "") + "".join(letters)
    return before.split(","), result
