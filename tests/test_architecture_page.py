"""The page on the architecture names files, folders and functions that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
BASES = (ROOT / "kernels" / "fastmask_kernels", ROOT / "src" / "fastmask", ROOT)
PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
FOLDER = r"(?:[\w.]+/)+"
NAMED = re.compile(rf"`({FOLDER}|(?:{FOLDER})?\w+\.(?:py|toml|md)(?::\w+)?)`")


def found(path: str) -> Path:
    places = [base / path for base in BASES if (base / path).exists()]
    assert places, f"docs/architecture.md names {path}, which does not exist"
    return places[0]


def test_what_is_named_exists() -> None:
    named = set(NAMED.findall(PAGE))
    assert len(named) > 60
    for path, _, name in (one.partition(":") for one in named):
        place = found(path)
        text = place.read_text(encoding="utf-8") if name else ""
        assert not name or re.search(rf"(?m)^(def|class) {name}\b|^{name}\b.*=", text), (path, name)


def test_every_folder_of_modules_has_a_line() -> None:
    for package in ("src/fastmask", "kernels/fastmask_kernels"):
        for init in (ROOT / package).rglob("__init__.py"):
            folder = init.parent.relative_to(ROOT).as_posix()
            inside = "src/fastmask/backends/cuda"  # one of the backends
            assert f"| `{folder}/` |" in PAGE or folder in (package, inside), folder


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", "mkdocs.yml"])
def test_the_page_is_found(page: str) -> None:
    assert "architecture.md" in (ROOT / page).read_text(encoding="utf-8")


def test_the_command_for_one_simulated_test_selects_tests() -> None:
    file, selection = re.findall(r"CUDASIM=1 pytest (\S+) -k (\w+)", PAGE)[0]
    assert re.search(rf"def test_\w*{selection}", (ROOT / file).read_text(encoding="utf-8"))
