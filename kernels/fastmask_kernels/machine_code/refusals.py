"""What Numba's refusals of a kernel mean, where its own words do not say it."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from textwrap import dedent
from types import FunctionType
from typing import Any

_ARRAY = r"Function\(<function (shared|local)\.array "
_NOT_CONSTANT = r">>> array\(.*(?<!class\()\bu?int\d+\b"  # a constant is Literal[int](...)


def explained(kernel: Any, error: Exception) -> str | None:
    """A refusal in plain words; None if Numba's own have to do.

    Args:
        kernel: a function or a `Kernel`.
        error: what Numba raised when it was compiled.
    """
    refused, told = re.search(_ARRAY, str(error)), str(error)
    if refused is None or not re.search(_NOT_CONSTANT, told):
        return None
    kind, function = refused[1], getattr(kernel, "function", kernel)
    at = "".join(f"{line}: " for line in _sized_at_run_time(function, kind))
    known = (
        f"{at}the size of a {kind} array must be a constant, as in cuda.{kind}.array(64, float32)"
    )
    if kind == "local":
        return known
    return (
        f"{known}; for a size that is known at the launch write cuda.shared.array(0, float32), and "
        "give the bytes to the launch"
    )


def _sized_at_run_time(function: FunctionType, kind: str) -> Iterator[str]:
    """The lines at which a function makes an array whose size depends on its variables."""
    variables = set(function.__code__.co_varnames)
    try:
        source = dedent(inspect.getsource(function))
    except OSError:  # it is in no file
        return
    for node in ast.walk(ast.parse(source)):
        if not (isinstance(node, ast.Call) and ast.unparse(node.func).endswith(f"{kind}.array")):
            continue
        sizes = [*node.args[:1], *(word.value for word in node.keywords if word.arg == "shape")]
        names = {one.id for size in sizes for one in ast.walk(size) if isinstance(one, ast.Name)}
        if names & variables:
            line = function.__code__.co_firstlineno + node.lineno - 1
            yield f"{function.__code__.co_filename}:{line}"
