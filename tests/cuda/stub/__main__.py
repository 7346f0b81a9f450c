"""Run a command on the driver stub: python -m tests.cuda.stub pytest tests/cuda/stub ..."""

from __future__ import annotations

import os
import subprocess
import sys

from . import environment, missing

USAGE = "usage: python -m tests.cuda.stub COMMAND [ARGUMENT ...]"


def main(command: list[str]) -> int:
    """The command's exit status."""
    if command[:1] in (["-h"], ["--help"]):
        print(USAGE)
        return 0
    if not command or command[0].startswith("-"):
        print(USAGE, file=sys.stderr)
        return 2
    if reason := missing():
        print(f"there is no stub here: {reason}", file=sys.stderr)
        return 1
    try:
        return subprocess.run(command, env={**os.environ, **environment()}, check=False).returncode
    except OSError as error:
        print(f"tests.cuda.stub: {error}", file=sys.stderr)
        return 127


sys.exit(main(sys.argv[1:]))
