"""The reference pages have every public name."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from fastmask_kernels import reference, spec

ROOT = Path(__file__).parents[1]
PAGES = {page.stem: page.read_text("utf-8") for page in (ROOT / "docs" / "reference").glob("*.md")}
OF_LAYERS = [text for name, text in PAGES.items() if name.startswith("layers")]
MEMBERS = r"(?<!_)members: \[([^]]*)\]"


def documented(text: str) -> list[str]:
    """The names whose docstrings a page shows."""
    paths, members = re.findall(r"(?m)^::: (.*)$", text), re.findall(MEMBERS, text)
    return [path.rpartition(".")[2] for path in paths] + re.findall(r"\w+", " ".join(members))


def public(path: str) -> set[str]:
    """`__all__` of a module, which is not imported: it may need a framework."""
    source = (ROOT / "src" / "fastmask" / path).read_text("utf-8")
    _, _, names = source.partition("\n__all__ = ")
    return set(ast.literal_eval(names[: names.index("]") + 1]))


@pytest.mark.parametrize("package", ["torch", "keras", "jax", "cells"])
def test_every_public_name_of_a_package_is_on_its_page(package: str) -> None:
    described = re.findall(r"`(\w+)(?:\(x\))?`", PAGES[package])
    found = {*documented(PAGES[package]), *described}
    assert public(f"{package}/__init__.py") - {"CELLS"} <= found


def test_every_public_name_is_there() -> None:
    found = set(documented("\n".join(PAGES.values())))
    assert public("__init__.py") - {"__version__", "cells"} <= found


def test_every_layer_is_on_one_page() -> None:
    named = [name for text in OF_LAYERS for name in documented(text) if name != "layers"]
    assert sorted(named) == sorted(public("layers/__init__.py"))


def test_helpers_of_kernels_are_there() -> None:
    """The kernels themselves come from their table when the page is made."""
    others = set(reference.__all__) - set(spec.KERNELS)
    assert all(f"`{name}" in PAGES["kernels"] for name in others), others
