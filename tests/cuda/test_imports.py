"""What can be imported without numba-cuda, and the errors of what cannot."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from fastmask_kernels import cpu

from .conftest import on_gpu

HIDDEN = """
import importlib.util as util, sys
found = util.find_spec
util.find_spec = lambda name, *more: None if name == "{}" else found(name, *more)
"""
needs_numba_cuda = pytest.mark.skipif(
    find_spec("numba_cuda") is None, reason="needs numba-cuda: pip install numba-cuda"
)


def run(program: str, simulated: bool = False) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", program]
    environment = {**os.environ, "NUMBA_ENABLE_CUDASIM": str(int(simulated))}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)


def test_without_numba_cuda_the_extra_is_named() -> None:
    told = run(
        HIDDEN.format("numba_cuda")
        + "import fastmask, fastmask_kernels.cpu; import fastmask_kernels.cuda"
    ).stderr
    assert 'ImportError: CUDA kernels need numba-cuda: pip install "numba-cuda[cu13]"' in told
    assert "pip install numba-cuda greenlet" in told


@needs_numba_cuda
def test_the_simulator_names_what_it_needs() -> None:
    program = HIDDEN.format("greenlet") + "import fastmask_kernels.cuda"
    told = run(program, simulated=True).stderr
    assert "greenlet is not installed" in told
    assert "pip install greenlet" in told
    assert not run(program).stderr  # compiled kernels need none


@needs_numba_cuda
def test_a_launch_outside_the_simulator_is_refused() -> None:
    """Importing it is allowed: test files have kernels that are compiled, too."""
    program = "from fastmask_kernels.cuda.simulator import launch"
    done = run(program)
    assert not done.returncode, done.stderr
    told = run(f"{program}; launch(print, 1, 32, shared=4)").stderr
    assert "RuntimeError: the simulator needs NUMBA_ENABLE_CUDASIM=1" in told


ON_A_DEVICE = (
    "lstm_packed_size(2, 4, np.float32)",
    "gru_packed_size(2, 4, np.float32)",
    "rnn_packed_size(2, 4, np.float32)",
    "kernels_of(cells.lstm).packed_size(2, 4, np.float32)",
    "on_device(0).__enter__()",
    "check_indices()",
    "mask_not_equal(On(), On(), 0)",
)
ASKING = """
import numpy as np
from fastmask_kernels import cells
from fastmask_kernels.cuda import *
from fastmask_kernels.cuda import check_indices, kernels_of, on_device, use_weights

class On:
    __cuda_array_interface__ = dict(shape=(1, 1), typestr="<f4", data=(4096, False))

for line in {lines}:
    try:
        with use_weights("tf32"):
            eval(line)
    except RuntimeError as error:
        print(error)
"""


@needs_numba_cuda
@pytest.mark.skipif(on_gpu(), reason="there is a device")
def test_without_a_device_all_that_needs_one_says_so() -> None:
    done = run(ASKING.format(lines=ON_A_DEVICE))
    assert not done.stderr
    told = done.stdout.splitlines()
    assert len(told) == len(ON_A_DEVICE)
    assert all(line.startswith("no CUDA device can be used: ") for line in told), told


def test_fastmask_imports_no_cuda() -> None:
    program = "import sys, fastmask, fastmask.ops; print(*sys.modules)"
    loaded = run(program).stdout.split()
    assert "fastmask" in loaded
    assert not [name for name in loaded if name.startswith(("numba", "fastmask_kernels.cuda"))]


def test_backend_exports_names_of_the_others() -> None:
    """The source is read, not imported, as numba-cuda may be missing."""
    source = Path(cpu.__file__).parents[1] / "cuda" / "__init__.py"
    (names,) = (
        ast.literal_eval(node.value)
        for node in ast.parse(source.read_text()).body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
    )
    assert names == sorted(names)
    assert set(names) <= set(cpu.__all__)


def test_the_help_names_all_that_the_package_exports() -> None:
    """The source is read, see above."""
    tree = ast.parse((Path(cpu.__file__).parents[1] / "cuda" / "__init__.py").read_text())
    imported = [a for node in tree.body if isinstance(node, ast.ImportFrom) for a in node.names]
    others = [a.asname for a in imported if a.asname]
    told = ast.get_docstring(tree) or ""
    assert "use_memory" in others
    assert [name for name in others if f"\n    {name} " not in told] == []


NVTX = """
import sys, types
seen = []

class annotate:
    def __init__(self, name, domain):
        self.name, self.domain = name, domain

    def __call__(self, function):
        from functools import wraps

        @wraps(function)
        def call(*args):
            seen.append(f"{self.domain} {self.name} begins")
            function(*args)
            seen.append("ends")

        return call

sys.modules["nvtx"] = types.SimpleNamespace(annotate=annotate)
import numpy as np
from numba import cuda
from fastmask_kernels import cells, cuda as kernels
valid = cuda.to_device(np.zeros((1, 2), bool))
kernels.mask_from_lengths(valid, cuda.to_device(np.array([1])), False)
assert kernels.kernels_of(cells.lstm).fwd.__name__ == "lstm_fwd"
print(*seen, sep=", ")
"""
WITHOUT_NVTX = "import sys; sys.modules['nvtx'] = None; import fastmask_kernels.cuda"


@needs_numba_cuda
def test_ranges_for_nsight(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FASTMASK_NVTX", "1")
    assert run(NVTX, simulated=True).stdout == "fastmask mask_from_lengths begins, ends\n"
    assert "FASTMASK_NVTX=1 needs nvtx: pip install nvtx" in run(WITHOUT_NVTX, True).stderr
