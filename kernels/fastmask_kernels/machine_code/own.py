"""Kernels in a user's file."""

from __future__ import annotations

import sys
from importlib.util import module_from_spec, spec_from_file_location
from inspect import isfunction
from pathlib import Path
from typing import Any, NamedTuple

from numba.cuda import types
from numba.cuda.core.sigutils import normalize_signature
from numba.cuda.dispatcher import CUDADispatcher

from ..cuda.runtime.kernel import FAMILIES, Kernel

_OPTIONS = ("debug", "fastmath", "launch_bounds", "lineinfo", "max_registers", "opt")


class Source(NamedTuple):
    """What `compile_report` takes."""

    kernel: Any  # a `Kernel` or a function
    signature: Any  # of a function
    options: dict[str, Any]  # of `numba.cuda.jit`


class Found(NamedTuple):
    """What a name stands for in a module."""

    module: str
    name: str
    value: Any


def load(path: Path, name: str) -> Found:
    """What a name stands for in a Python file, which is executed.

    Raises:
        OSError: there is no such file.
        ValueError: the file cannot be run, or has no such name.
    """
    module = _run(path)
    value = getattr(module, name, None)
    if value is None:
        raise ValueError(f"{path} has no {name}")
    return Found(module.__name__, name, value)


def kernels_in(of: Found, signature: str | None) -> list[Source]:
    """The kernels that a name stands for.

    Args:
        of: a `Kernel`, a family of kernels (with the parameters that it lists), a kernel that
            `numba.cuda.jit` made, or a function.
        signature: the function's signature as Numba writes it: "float32[::1], int64".

    Raises:
        TypeError: it is something else.
        ValueError: a signature is missing, invalid or not wanted.
    """
    module, name, found = of
    family = FAMILIES.get(f"{module}.{name}")
    if signature is not None and (family or isinstance(found, Kernel)):
        raise ValueError(f"{name} has its signature: leave out --signature {signature!r}")
    if isinstance(found, Kernel):
        return [Source(found, None, {})]
    if family:
        make, examples = family
        return [Source(make(*example), None, {}) for example in examples]
    options: dict[str, Any] = {}
    if isinstance(found, CUDADispatcher):
        given = found.targetoptions
        if given.get("device"):
            raise TypeError(f"{name} must be a kernel, not a device function")
        options = {key: given[key] for key in _OPTIONS if given.get(key) is not None}
        found = found.py_func
    if not isfunction(found):
        kinds = "a kernel, a function or a cell made by fm.cell"
        raise TypeError(f"{name} must be {kinds}, not {type(found).__name__}")
    if signature is None:
        raise ValueError(f'{name} needs its signature, such as --signature "float32[::1], int64"')
    return [Source(found, _types(signature), options)]


def _run(path: Path) -> Any:
    """The module of a file, imported as `python file` would."""
    path = path.resolve()
    name = path.stem if path.stem not in sys.modules else f"own_{path.stem}"
    spec = spec_from_file_location(name, path)
    if not path.is_file() or spec is None or spec.loader is None:
        raise FileNotFoundError(f"there is no Python file {path}")
    module = module_from_spec(spec)
    sys.path.insert(0, str(path.parent))
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise ValueError(f"{path} cannot be run: {type(error).__name__}: {error}") from error
    return module


def _types(signature: str) -> tuple[Any, ...]:
    """Numba types of arguments."""
    whole = signature if signature.startswith("void") else f"void({signature})"
    known = f"a signature such as float32[::1], int64, not {signature!r}"
    try:
        args, returned = normalize_signature(whole)
    except Exception as error:  # Python and Numba raise all kinds
        raise ValueError(f"--signature must be {known}: {error}") from error
    if returned not in (None, types.void):
        raise ValueError(f"a kernel returns nothing: {known}")
    return tuple(args)
