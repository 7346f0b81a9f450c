"""What a measurement was made on and with."""

from __future__ import annotations

import os
import platform
import re
import shlex
import subprocess
import sys
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

PACKAGES = (
    "fastmask-rnn",
    "numba",
    "llvmlite",
    "numpy",
    "onnxruntime",
    "openvino",
    "torch",
    "keras",
    "threadpoolctl",
)


def describe(threads: int, quick: bool) -> dict[str, Any]:
    """The header of a section of the report."""
    return {
        "date": datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "command": " ".join(["python -m benchmarks.report", *map(shlex.quote, sys.argv[1:])]),
        "quick": quick,
        "threads": threads,
        "cpu": cpu_model(),
        "family": cpu_family(),
        "cores": usable_cores(),
        "simd": simd_extensions(),
        "system": f"{platform.system()} {platform.machine()}",
        "load": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        "python": platform.python_version(),
        "versions": {name: installed_version(name) for name in PACKAGES},
    }


def machine_name() -> str:
    """This machine's name in benchmarks/results: the processor's, and its family where known."""
    return "-".join(re.findall("[a-z0-9]+", f"{cpu_model()} {cpu_family()}".lower()))


def installed_version(package: str) -> str | None:
    """The version of `package`, None where it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def usable_cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def this_processor() -> str:
    """This processor, see `named`."""
    return named(cpu_model(), cpu_family())


def named(cpu: str, family: str) -> str:
    """A processor's name, with the numbers that tell apart generations of one name.

    Args:
        cpu: its name.
        family: its numbers, as `cpu_family` returns them.
    """
    numbers = ", ".join(map(" ".join, zip(("family", "model"), family.split(), strict=False)))
    return f"{cpu} ({numbers})" if numbers else cpu


def cpu_model() -> str:
    """The processor's name as the system gives it."""
    if name := linux_cpu("model name"):
        return name
    if sys.platform == "darwin":
        command = ["sysctl", "-n", "machdep.cpu.brand_string"]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    return platform.processor() or platform.machine()


def cpu_family() -> str:
    """Its numbers of family and model, with a space between; "" if unknown."""
    return " ".join(filter(None, map(linux_cpu, ("cpu family", "model"))))


def linux_cpu(field: str) -> str:
    """A field of the first processor in /proc/cpuinfo; "" where there is none."""
    cpuinfo = Path("/proc/cpuinfo")
    for line in cpuinfo.read_text().splitlines() if cpuinfo.exists() else ():
        name, _, value = line.partition(":")
        if name.strip() == field:
            return value.strip()
    return ""


def simd_extensions() -> list[str]:
    """The vector extensions that NumPy found, simplest first."""
    found: Any = np.show_config(mode="dicts")["SIMD Extensions"]
    return [*found.get("baseline", []), *found.get("found", [])]
