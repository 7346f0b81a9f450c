"""Pages name only files, folders and functions that exist; the architecture page, all folders."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
BASES = (ROOT / "kernels" / "fastmask_kernels", ROOT / "src" / "fastmask", ROOT)
PAGES = {
    page.name: page.read_text(encoding="utf-8")
    for page in (*(ROOT / "docs").rglob("*.md"), ROOT / "README.md", ROOT / "CONTRIBUTING.md")
}
PAGE = PAGES["architecture.md"]
FOLDER = r"(?:[\w.]+/)+"
NAMED = re.compile(rf"`({FOLDER}|(?:{FOLDER})?\w+\.(?:py|toml|md)(?::\w+)?)`")


def exists(named: str, page: str) -> bool:
    """Whether a file or folder of this path exists, and contains the name after a colon.

    Pages about a part of the code leave out its parent folders.
    """
    path, _, name = named.partition(":")
    places = [base / path for base in BASES if (base / path).exists()]
    if not places and page != "architecture.md":
        places = [file for base in (*BASES[:2], ROOT / "tests") for file in base.rglob(path)]
    if not places or not name:
        return bool(places)
    text = places[0].read_text(encoding="utf-8")
    return bool(re.search(rf"(?m)^(def|class) {name}\b|^{name}\b.*=", text))


def test_what_is_named_exists() -> None:
    assert len(set(NAMED.findall(PAGE))) > 60
    for page, text in PAGES.items():
        missing = [named for named in NAMED.findall(text) if not exists(named, page)]
        assert not missing, page


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
