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

# What processors that were measured are commonly called, by their numbers of family and model.
GENERATIONS = {"25 1": "Zen 3", "25 17": "Zen 4"}
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
        "command": shlex.join(["python", "-m", program(), *sys.argv[1:]]),
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


def program() -> str:
    """The module that runs; that of the report where another program imported this."""
    main = getattr(sys.modules["__main__"], "__spec__", None)
    name = main.name.removesuffix(".__main__") if main else ""
    return name if name.startswith("benchmarks.") else "benchmarks.report"


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
    """This processor's name, see `processor`."""
    return processor({"cpu": cpu_model(), "family": cpu_family()})


def processor(about: dict[str, Any]) -> str:
    """The processor of a measurement: its name, and what tells apart generations of that name."""
    name, family = about["cpu"], about.get("family", "")
    numbers = ", ".join(map(" ".join, zip(("family", "model"), family.split(), strict=False)))
    generation = GENERATIONS.get(family, numbers) if name.startswith("AMD") else numbers
    return f"{name} ({generation})" if generation else str(name)


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
