"""The code of docs/cuda.md."""

from __future__ import annotations

from pathlib import Path

PAGE = Path(__file__).parents[1] / "docs" / "cuda.md"


def section(title: str) -> str:
    """The text below a title."""
    return PAGE.read_text("utf-8").split(f"\n## {title}\n")[1].split("\n## ")[0]


def blocks(title: str) -> list[str]:
    """The Python code of a section."""
    return [text.split("```")[0] for text in section(title).split("```python\n")[1:]]


def kernel_tested_and_timed() -> tuple[str, str]:
    """The page's kernel with its test for the simulator and a GPU, and what times it on a GPU."""
    (simulated,) = (b for b in blocks("Run a kernel in the simulator") if "def row_sums" in b)
    test, timing = blocks("Test and time a kernel on a GPU")
    return simulated.split("\n\nx = ")[0] + "\n\n" + test, timing
