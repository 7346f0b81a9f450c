"""The code of the pages runs, and gives the output shown."""

from __future__ import annotations

import doctest
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from fastmask_kernels.spec import KERNELS

from . import cuda_page

DOCS = Path(__file__).parent.parent / "docs"


def test_guide() -> None:
    assert run_examples("guide") > 40


def test_kernels() -> None:
    assert run_examples("kernels") > 20
    page = (DOCS / "kernels.md").read_text("utf-8")
    assert all(f"`{name}`" in page for name in KERNELS)


@pytest.mark.slow
def test_a_simulated_call_of_a_kernel() -> None:
    (block,) = re.findall(r"(?ms)^```python\n(.*?)^```", (DOCS / "kernels.md").read_text("utf-8"))
    assert simulated(block) == "[0.269 0.731 0.   ]\n"


@pytest.mark.slow
def test_another_kernel_in_the_simulator() -> None:
    """The page's block asserts what comes out."""
    (block,) = cuda_page.blocks("Writing another kernel")
    assert "assert (out.copy_to_host() == x / 2).all()" in block
    assert not simulated(block)


@pytest.mark.slow
def test_a_test_for_the_simulator_and_a_gpu() -> None:
    """tests/cuda/stub/test_page.py runs it as on a GPU."""
    test, _ = cuda_page.kernel_tested_and_timed()
    assert simulated(f"{test}\ntest_row_sums()\nprint(1)") == "1\n"
    broken = test.replace("(16, 8, 4, 2, 1)", "(16, 8, 4, 2)")
    with pytest.raises(AssertionError, match="Not equal to tolerance"):
        simulated(f"{broken}\ntest_row_sums()")


def simulated(program: str) -> str:
    """The output of a program in the simulator; it must not fail."""
    environment = {**os.environ, "NUMBA_ENABLE_CUDASIM": "1"}
    command = [sys.executable, "-W", "error", "-c", program]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=250)
    assert not run.returncode, run.stderr
    return run.stdout


@pytest.mark.slow
def test_quantization() -> None:
    assert run_examples("quantization") > 5


@pytest.mark.slow
def test_readme(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(DOCS.parent)
    blocks = re.findall(r"(?ms)^```python\n(.*?)^```", Path("README.md").read_text("utf-8"))
    loaded: dict[str, Any] = {}
    by_hand: dict[str, Any] = {}
    exec(blocks[0], loaded)
    assert capsys.readouterr().out.startswith("0.97297")
    assert "int8" in repr(loaded["model"].layers[-1])
    exec(blocks[1], by_hand)
    assert by_hand["vectors"].shape == (3, 32)


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
