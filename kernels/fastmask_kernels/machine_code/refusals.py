"""What Numba's refusals of a kernel mean, where its own words do not say it."""

from __future__ import annotations

import ast
import linecache
import re
from collections.abc import Iterator
from traceback import walk_tb
from typing import Any

_ARRAY = r"Function\(<function (shared|local)\.array "
_CONSTANT = r"Literal\[int\]\(-?\d+\)"
_SHAPE = (  # its type: of a tuple, with the types of its sizes, or of a number
    r">>> array\((?:dtype=.*shape=|shape=)?"
    rf"(?:(?:Uni)?Tuple\((?P<sizes>(?:{_CONSTANT}|[^()])+)\)|(?P<size>\w+)(?=[,)]))"
)
_AT_THE_LAUNCH = (
    "; for a size that is known only at the launch write cuda.shared.array(0, float32), and give "
    "the launch the number of bytes"
)


def explained(error: Exception) -> str | None:
    """An error of Numba's in plain words; None if it is not one that is explained here.

    Args:
        error: what Numba raised when it compiled a kernel.
    """
    array, shape = re.search(_ARRAY, str(error)), re.search(_SHAPE, str(error))
    varying = _varying(shape["sizes"] or shape["size"]) if shape else []
    if array is None or shape is None or not varying:
        return None
    kind, place = array[1], _place(error)
    at = f"{place.filename}:{place.line}: " if place else ""
    named = {_names(node, varying, bool(shape["sizes"])) for node in _shapes(place)}
    those = f", not {named.pop()}" if len(named) == 1 else ""  # else it is unknown which array
    return (
        f"{at}the size of a {kind} array must be a constant integer, as in "
        f"cuda.{kind}.array(64, float32){those}: an expression such as 3 * N is not a constant "
        "inside a kernel, so assign it to a name outside the kernel"
        f"{_AT_THE_LAUNCH if kind == 'shared' else ''}"
    )


def _varying(types: str) -> list[int]:
    """The indices of the sizes that are not constants, by their types."""
    sizes: list[str] = []
    for word in types.split(", "):
        kind, _, many = word.partition(" x ")  # a tuple of equal types is int64 x 2
        sizes += [kind] * int(many or 1)
    return [i for i, kind in enumerate(sizes) if not re.fullmatch(_CONSTANT, kind)]


def _place(error: Exception) -> Any:
    """The place in the source of the call that Numba could not compile, or None."""
    frames = (frame for frame, _ in walk_tb(error.__traceback__))
    places = [getattr(frame.f_locals.get("self"), "loc", None) for frame in frames]
    return next(filter(None, reversed(places)), None)  # the innermost: in a device function


def _shapes(place: Any) -> Iterator[ast.expr]:
    """The shapes of the arrays that are made at a place."""
    try:
        tree = ast.parse("".join(linecache.getlines(place.filename)))
    except (AttributeError, SyntaxError):  # no place, or not a Python file
        return
    for node in ast.walk(tree):
        if not (isinstance(node, ast.Call) and node.lineno == place.line):
            continue
        if ast.unparse(node.func).endswith(".array"):
            yield from node.args[:1]
            yield from (word.value for word in node.keywords if word.arg == "shape")


def _names(shape: ast.expr, indices: list[int], several: bool) -> str:
    """How a kernel writes some sizes of a shape, which are one number or several."""
    if isinstance(shape, ast.Tuple):
        sizes = [ast.unparse(shape.elts[i]) for i in indices if i < len(shape.elts)]
    else:
        sizes = [f"{ast.unparse(shape)}{f'[{i}]' if several else ''}" for i in indices]
    return " and ".join(sizes)
