"""The programs for CUDA outside the package: their help, and what they say is not installed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def run(module: str, *arguments: str, without: str = "") -> subprocess.CompletedProcess[str]:
    """Run a program, where a module may not be installed."""
    code = (
        f"import runpy, sys; sys.modules[{without!r}] = None; sys.argv[1:] = {[*arguments]}; "
        f"runpy.run_module({module!r}, run_name='__main__', alter_sys=True)"
    )
    command = [sys.executable, "-c", code]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)


def test_help_of_the_benchmarks_needs_no_pytest() -> None:
    ran = run("benchmarks.cuda", "--help", without="pytest")
    assert ran.returncode == 0, ran.stderr
    assert "--dry-run" in ran.stdout


@pytest.mark.parametrize(
    ("module", "without", "message"),
    [
        ("benchmarks.cuda", "pytest", 'pytest is not installed: pip install -e ".[bench-cuda]"'),
        ("benchmarks.cuda.small", "numba_cuda", "numba-cuda is not installed: pip install"),
        ("benchmarks.cuda.host", "numba_cuda", "numba-cuda is not installed: pip install"),
    ],
)
def test_what_is_missing_is_one_line(module: str, without: str, message: str) -> None:
    ran = run(module, without=without)
    assert ran.returncode == 2, ran.stderr
    (line,) = ran.stderr.splitlines()
    assert line.startswith(f"benchmarks.cuda: {message}")


@pytest.mark.parametrize("word", ["--help", "-h"])
def test_help_of_the_stub(word: str) -> None:
    ran = run("tests.cuda.stub", word)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout == "usage: python -m tests.cuda.stub COMMAND [ARGUMENT ...]\n"


@pytest.mark.parametrize("words", [(), ("--devices", "90")])
def test_the_stub_needs_a_command(words: tuple[str, ...]) -> None:
    ran = run("tests.cuda.stub", *words)
    assert ran.returncode == 2
    assert ran.stderr == "usage: python -m tests.cuda.stub COMMAND [ARGUMENT ...]\n"
