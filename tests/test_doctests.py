"""The examples in the docstrings hold."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
from collections.abc import Iterator

import pytest

import fastmask

# Tested beside their frameworks:
OWN_FRAMEWORK = ("fastmask.torch", "fastmask.keras", "fastmask.jax")


def modules() -> Iterator[str]:
    for module in pkgutil.walk_packages(fastmask.__path__, "fastmask."):
        if not module.name.startswith(OWN_FRAMEWORK) and not module.name.endswith("__main__"):
            yield module.name


@pytest.mark.parametrize("name", list(modules()))
def test_examples(name: str) -> None:
    module = importlib.import_module(name)
    options = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    failed, _ = doctest.testmod(module, optionflags=options)
    assert not failed
