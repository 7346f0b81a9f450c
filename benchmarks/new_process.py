"""A measurement in a process of its own, which shares neither memory nor imports."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any


def measured(module: str, *arguments: str) -> Any:
    """What a module of the benchmarks, run as a program, prints as JSON in its last line."""
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parent.parent,
    )
    if done.returncode:
        raise RuntimeError(f"a process of {module} failed:\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])
