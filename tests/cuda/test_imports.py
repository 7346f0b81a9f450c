"""What may be imported without numba-cuda, and what it says otherwise."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

from fastmask_kernels import cpu

HIDDEN = """
import importlib.util as util, sys
found = util.find_spec
util.find_spec = lambda name, *more: None if name == "numba_cuda" else found(name, *more)
"""


def run(program: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", program]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_without_numba_cuda_the_extra_is_named() -> None:
    told = run(
        HIDDEN + "import fastmask, fastmask_kernels.cpu; import fastmask_kernels.cuda"
    ).stderr
    assert 'ImportError: CUDA kernels need numba-cuda: pip install "fastmask-rnn[cuda]"' in told


def test_fastmask_imports_no_cuda() -> None:
    program = "import sys, fastmask, fastmask.ops; print(*sys.modules)"
    loaded = run(program).stdout.split()
    assert "fastmask" in loaded
    assert not [name for name in loaded if name.startswith(("numba", "fastmask_kernels.cuda"))]


def test_column_exports_names_of_the_others() -> None:
    """Read, not imported: numba-cuda need not be there."""
    source = Path(cpu.__file__).parents[1] / "cuda" / "__init__.py"
    (names,) = (
        ast.literal_eval(node.value)
        for node in ast.parse(source.read_text()).body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
    )
    assert names == sorted(names)
    assert set(names) <= set(cpu.__all__)
