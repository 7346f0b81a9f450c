"""The one-way rule: layers -> ops -> dispatch -> kernels, and what each of them may import."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
JIT = {"numba", "llvmlite"}
FRAMEWORKS = {"torch", "keras", "jax", "tensorflow", "onnx", "onnxruntime", "h5py"}
# `import fastmask` leaves them out:
ADAPTERS = tuple(f"src/fastmask/{name}/" for name in ("torch", "keras", "jax"))
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


def modules(folder: str) -> list[str]:
    """The Python files below a folder of the checkout."""
    return sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / folder).rglob("*.py"))


def imported(node: ast.AST, *, lazily: bool) -> Iterator[str]:
    """The top-level packages that are imported below a node, inside functions only if `lazily`."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in child.names)
        elif isinstance(child, ast.ImportFrom) and child.module and not child.level:
            yield child.module.partition(".")[0]
        elif isinstance(child, ast.If) and ast.unparse(child.test).endswith("TYPE_CHECKING"):
            continue  # never runs
        elif lazily or not isinstance(child, FUNCTIONS):
            yield from imported(child, lazily=lazily)


def imports(path: str, *, lazily: bool = True) -> set[str]:
    """The top-level packages that a module imports."""
    source = (ROOT / path).read_text(encoding="utf-8")
    return set(imported(ast.parse(source, path), lazily=lazily))


def importers(folder: str, packages: set[str], *, lazily: bool = True) -> list[str]:
    """The modules below a folder that import one of the packages; fails if there are no modules."""
    assert modules(folder)
    return [path for path in modules(folder) if imports(path, lazily=lazily) & packages]


def test_kernels_know_nothing_of_layers_and_frameworks() -> None:
    assert not importers("kernels", {"fastmask"} | FRAMEWORKS)


def test_reference_is_plain_numpy() -> None:
    assert not importers("kernels/fastmask_kernels/reference", JIT)


def test_only_kernels_import_numba() -> None:
    assert not importers("src", JIT)


def test_import_fastmask_needs_no_framework() -> None:
    found = importers("src", FRAMEWORKS, lazily=False)
    assert found
    assert all(path.startswith(ADAPTERS) for path in found)
