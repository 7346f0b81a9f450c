"""The programs of the CUDA toolkit: where they are, what is missing, and what ptxas refuses."""

from __future__ import annotations

import os
import re
import subprocess
import sysconfig
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from shutil import which

_NUMBA_CUDA = '"numba-cuda[cu13]"'
_COMPILERS = "CUDA's compilers, NVVM and NVRTC"
_PACKAGES = {"ptxas": "nvidia-cuda-nvcc"}  # others are named after their program
_ARCHITECTURE = r"'(sm_\d+[a-z]?)'"
_ABORTED = "Ptx assembly aborted due to errors"


def tool(name: str) -> str | None:
    """Where a program of the CUDA toolkit is: in one of NVIDIA's wheels, or on the PATH."""
    found = sorted(_wheels().glob(f"*/bin/{name}"))
    return str(found[-1]) if found else which(name)


def _wheels() -> Path:
    return Path(sysconfig.get_path("purelib")) / "nvidia"


def missing(*programs: str) -> str | None:
    """Why kernels cannot be compiled here, with all that must be installed; None if they can.

    Args:
        programs: programs of the toolkit that are needed besides ptxas, such as "nvdisasm".
    """
    if os.environ.get("NUMBA_ENABLE_CUDASIM", "0") != "0":
        return "does not work in the simulator: unset NUMBA_ENABLE_CUDASIM"
    packages: dict[str, str] = {}  # by what is missing
    if find_spec("numba_cuda") is None:
        packages["numba-cuda"] = _NUMBA_CUDA  # which brings the compilers
    elif not _has_compiler():
        packages[_COMPILERS] = _NUMBA_CUDA
    packages |= {name: _package(name) for name in ("ptxas", *programs) if tool(name) is None}
    if not packages:
        return None
    toolkit = ", or set CUDA_HOME to a toolkit" if _COMPILERS in packages else ""
    return f"needs {', '.join(packages)}: pip install {' '.join(packages.values())}{toolkit}"


def _package(name: str) -> str:
    return _PACKAGES.get(name, f"nvidia-cuda-{name}")


def _has_compiler() -> bool:
    try:
        import_module("numba.cuda.cuda_paths").get_cuda_paths()
        import_module("numba.cuda.cudadrv.nvvm").NVVM().get_version()
    except Exception:  # its kind depends on which part of the toolkit is missing
        return False
    return True


def run(*command: str) -> subprocess.CompletedProcess[str]:
    """Run a program of the toolkit, and keep what it prints."""
    return subprocess.run(command, capture_output=True, text=True, check=False)


def require_architecture(arch: str) -> None:
    """Raise unless ptxas compiles for an architecture, such as "sm_90a".

    Raises:
        ValueError: it does not, or there is no such architecture.
    """
    program = tool("ptxas")
    known = _architectures(program) if program else ()
    if known and arch not in known:
        raise ValueError(
            f"arch must be one of {', '.join(known)}, which {program} compiles for, not {arch!r}"
        )


@cache
def _architectures(ptxas: str) -> tuple[str, ...]:
    """Those that a ptxas compiles for, by number; empty if its help does not list them."""
    found = set(re.findall(_ARCHITECTURE, run(ptxas, "--help").stdout))
    return tuple(sorted(found, key=lambda name: (int(re.sub(r"\D", "", name)), name)))


def refusal(ptxas: str, told: str, name: str) -> str:
    """What a ptxas says is wrong, with the kernel's own name; all it says if it does not say.

    Args:
        ptxas: the program.
        told: what it printed.
        name: of the kernel.
    """
    lines = re.findall(r"^ptxas.*?\b(?:error|fatal)\s*: *(.*)", told, re.MULTILINE)
    lines = [_decimal(line) for line in lines if line != _ABORTED or len(lines) == 1]
    known = re.sub(r"'_Z\w+'", name, "; ".join(lines))[:1000] or told[:3000].strip()
    if "Unsupported .version" not in told:
        return known
    package = f"pip install --upgrade {_package('ptxas')}"
    return f"{known}: {ptxas} is older than NVVM, which wrote the PTX: {package}"


def _decimal(line: str) -> str:
    """A line of ptxas with its sizes in decimal."""
    return re.sub(r"0x[0-9a-f]+(?= bytes| max)", lambda found: str(int(found[0], 16)), line)
