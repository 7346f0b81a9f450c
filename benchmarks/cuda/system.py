"""What is available to measure with: the simulator or a device, and PyTorch."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from typing import Any

SIMULATED = os.environ.get("NUMBA_ENABLE_CUDASIM") == "1"
DRY_RUN = "FASTMASK_DRY_RUN"
QUERY = "name,driver_version,memory.total,clocks.max.sm"


class Unusable(Exception):
    """Nothing can be measured here; the message says why in one line."""


def require_device() -> None:
    """Raise if kernels cannot run here.

    Raises:
        Unusable: there is no numba-cuda, no driver or no device.
    """
    if find_spec("numba_cuda") is None:
        raise Unusable('numba-cuda is not installed: pip install "numba-cuda[cu13]"')
    from numba import cuda

    if not SIMULATED and not cuda.is_available():
        raise Unusable("there is no CUDA device, no driver, or one too old for numba-cuda")


def require_tests() -> None:
    """Raise if the project's tests, which other parts use as well, cannot be imported here.

    Raises:
        Unusable: pytest is missing.
    """
    if find_spec("pytest") is None:
        raise Unusable('pytest is not installed: pip install -e ".[bench-cuda]"')


def status(main: Callable[[], int | None]) -> int:
    """A program's exit status; 2, with one line that says why, if it cannot run here."""
    try:
        return main() or 0
    except Unusable as reason:
        print(f"benchmarks.cuda: {reason}", file=sys.stderr)
        return 2


def is_dry() -> bool:
    """Whether this is a dry run, on a driver that runs no kernel: results are not checked."""
    return os.environ.get(DRY_RUN) == "1"


def enter_simulator() -> None:
    """Let launches have few threads, for the simulator."""
    from fastmask_kernels.cuda.runtime import kernel as _kernel

    _kernel.THREADS = _kernel.LARGE_BLOCK = 32


@cache
def torch_device() -> str | None:
    """PyTorch's device here: "cuda", in the simulator "cpu", or None if there is none."""
    if find_spec("torch") is None:
        return None
    if SIMULATED:
        return "cpu"
    import torch

    return "cuda" if torch.cuda.is_available() else None


def describe() -> dict[str, Any]:
    """The device and the libraries of this process."""
    if SIMULATED:
        return {"device": "simulator", "simulated": True}
    from numba import cuda

    device = cuda.get_current_device()
    name = device.name.decode() if isinstance(device.name, bytes) else str(device.name)
    about: dict[str, Any] = {
        "device": name,
        "simulated": False,
        **({"dry_run": True} if is_dry() else {}),
        "compute_capability": ".".join(map(str, device.compute_capability)),
        "multiprocessors": int(device.MULTIPROCESSOR_COUNT),
    }
    if torch_device() == "cuda":
        import torch

        about["torch_cuda"] = torch.version.cuda
        about["cudnn"] = torch.backends.cudnn.version()
    return about


def queried() -> str | None:
    """nvidia-smi's answer to QUERY for the first device, or None."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return None
    command = [program, f"--query-gpu={QUERY}", "--format=csv,noheader"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return next(iter(answer.stdout.splitlines()), None)
