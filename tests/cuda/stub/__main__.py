"""Run a command on the driver stub: python -m tests.cuda.stub pytest tests/cuda/stub ..."""

from __future__ import annotations

import os
import subprocess
import sys

from . import environment, missing

reason = missing()
if reason is not None:
    sys.exit(f"there is no stub here: {reason}")
sys.exit(subprocess.run(sys.argv[1:], env={**os.environ, **environment()}, check=False).returncode)
