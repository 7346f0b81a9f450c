"""The code of pages runs, and shows what came out."""

from __future__ import annotations

import doctest
from pathlib import Path

import pytest

DOCS = Path(__file__).parent.parent / "docs"


def test_guide() -> None:
    assert run_examples("guide") > 40


@pytest.mark.slow
def test_quantization() -> None:
    assert run_examples("quantization") > 5


def run_examples(page: str) -> int:
    """Run the examples of a page; returns how many there are."""
    path = DOCS / f"{page}.md"
    text = "\n".join(
        "" if line.startswith("```") else line for line in path.read_text("utf-8").splitlines()
    )
    examples = doctest.DocTestParser().get_doctest(text, {}, page, str(path), 0)
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    output: list[str] = []
    runner.run(examples, out=output.append)
    assert not runner.summarize(verbose=False).failed, "".join(output)
    return len(examples.examples)
