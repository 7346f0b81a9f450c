"""The guide's code runs, and shows what came out."""

from __future__ import annotations

import doctest
from pathlib import Path

GUIDE = Path(__file__).parent.parent / "docs" / "guide.md"


def test_guide() -> None:
    text = "\n".join(
        "" if line.startswith("```") else line for line in GUIDE.read_text("utf-8").splitlines()
    )
    examples = doctest.DocTestParser().get_doctest(text, {}, "guide", str(GUIDE), 0)
    assert len(examples.examples) > 40
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    output: list[str] = []
    runner.run(examples, out=output.append)
    assert not runner.summarize(verbose=False).failed, "".join(output)
