"""Blocks of pages, written by benchmarks.

<!-- NAME: the command that writes it -->
numbers
<!-- end of NAME -->
"""

from __future__ import annotations

import re
from pathlib import Path

DOCS = Path(__file__).parents[1] / "docs"


def write_block(page: Path, name: str, text: str) -> None:
    """Replace the text between the two comments of a page.

    Args:
        page: a Markdown file.
        name: the name in both comments.
        text: the new text.

    Raises:
        ValueError: the page does not have the two comments.
    """
    end = f"<!-- end of {name} -->"
    block = re.compile(f"(<!-- {re.escape(name)}: [^\n]* -->\n).*?({re.escape(end)})", re.DOTALL)
    replaced, count = block.subn(
        lambda comments: f"{comments[1]}{text}{comments[2]}", page.read_text("utf-8")
    )
    if count != 1:
        raise ValueError(f"{page} must have one block {name} to write to, not {count}")
    page.write_text(replaced, "utf-8")


def show(text: str, page: str, name: str, write: bool) -> None:
    """Print a text and, if `write`, replace the block of a page of the docs by it."""
    print(text)
    if write:
        write_block(DOCS / page, name, text)
