"""Kernels to PTX, and by ptxas to machine code, with no driver and no GPU.

report = compile_report(kernel, arch="sm_90a")     # a fastmask_kernels.cuda.runtime.kernel.Kernel
report = compile_report(function, (pointer(float32), int32), "sm_90a", launch_bounds=(256, 1))
report.registers, report.spills, report.shared    # a thread, bytes a thread, bytes a block
report.ptx, report.sass                           # texts
report.count("HMMA", "FFMA")                      # machine instructions that begin so
report.loops()                                    # machine instructions of each loop
"""

from __future__ import annotations

import re
import subprocess
import sysconfig
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache, cached_property
from importlib.util import find_spec
from pathlib import Path
from shutil import which
from typing import Any
from unittest import mock

ARCHITECTURES = ("sm_80", "sm_90a")  # what Numba compiles for on an A100 and an H100


def tool(name: str) -> str | None:
    """Where a program of the CUDA toolkit is: in a wheel of NVIDIA's, or on the PATH."""
    folder = Path(sysconfig.get_path("purelib")) / "nvidia"
    found = sorted(folder.glob(f"*/bin/{name}"))
    return str(found[-1]) if found else which(name)


def missing() -> str | None:
    """Why kernels cannot be compiled here; None where they can."""
    if find_spec("numba_cuda") is None:
        return 'needs numba-cuda: pip install "fastmask-rnn[cuda]"'
    if not list((Path(sysconfig.get_path("purelib")) / "nvidia").glob("**/libnvvm*")):
        return 'needs NVVM: pip install "fastmask-rnn[cuda]"'
    if tool("ptxas") is None:
        return "needs ptxas: pip install nvidia-cuda-nvcc"
    return None


@dataclass
class Report:
    """What became of a kernel."""

    name: str
    arch: str
    ptx: str = field(repr=False)
    registers: int  # of a thread
    spills: int  # bytes of a thread, stored and loaded
    stack: int  # bytes of a thread
    shared: int  # bytes of a block that are known when compiling
    cubin: bytes = field(repr=False)

    @cached_property
    def sass(self) -> str:
        """Machine code as text."""
        program = tool("nvdisasm")
        assert program is not None, "needs nvdisasm: pip install nvidia-cuda-nvdisasm"
        with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
            file.write(self.cubin)
            file.flush()
            command = [program, "-c", "-plr", file.name]
            run = subprocess.run(command, capture_output=True, text=True, check=False)
            if run.returncode:
                run = subprocess.run(
                    [program, "-c", file.name], capture_output=True, text=True, check=True
                )
        return run.stdout

    @cached_property
    def instructions(self) -> list[tuple[int, str]]:
        """Address and text of each machine instruction, without its predicate."""
        found = re.findall(r"/\*([0-9a-f]{4,6})\*/\s+(?:@!?\w+\s+)?([A-Z][^;]*);", self.sass)
        return [(int(address, 16), text.strip()) for address, text in found]

    def count(self, *names: str) -> int:
        """How many machine instructions begin with one of the names."""
        return sum(text.startswith(names) for _, text in self.instructions)

    def loops(self) -> list[Counter[str]]:
        """The instructions of each loop by name, in the order of the loops' ends."""
        labels = dict(_labels(self.sass))
        loops = []
        for address, text in self.instructions:
            target = re.search(r"BRA.*?(?:`\((\.L_x_\d+)\)|(0x[0-9a-f]+))", text)
            if target is None:
                continue
            start = labels.get(target[1]) if target[1] else int(target[2], 16)
            if start is not None and start < address:
                body = [t for a, t in self.instructions if start <= a <= address]
                loops.append(Counter(t.split()[0].split(".")[0] for t in body))
        return loops


def _labels(sass: str) -> Iterator[tuple[str, int]]:
    waiting: list[str] = []
    for line in sass.splitlines():
        if label := re.match(r"\s*(\.L_x_\d+):", line):
            waiting.append(label[1])
        elif address := re.search(r"/\*([0-9a-f]{4,6})\*/", line):
            yield from ((name, int(address[1], 16)) for name in waiting)
            waiting = []


def compile_report(
    kernel: Any, signature: Any = None, arch: str = "sm_90a", **options: Any
) -> Report:
    """Compile a kernel, which must not run in the simulator.

    Args:
        kernel: a `Kernel`, or a Python function with its `signature`.
        signature: Numba types of the arguments.
        arch: such as "sm_90a".
        options: of `numba.cuda.jit`; those of a `Kernel` need not be repeated.
    """
    function = getattr(kernel, "function", kernel)
    signature = kernel.argtypes if signature is None else signature
    options = {**getattr(kernel, "options", {}), **options}
    name = getattr(kernel, "name", function.__name__)
    ptx = _ptx_of(function, signature, arch, options)
    return _assembled(name, ptx, arch)


def _ptx_of(function: Any, signature: Any, arch: str, options: dict[str, Any]) -> str:
    """Numba looks at a function once for all architectures."""
    parts = re.fullmatch(r"sm_(\d+)(\d)([af]?)", arch)
    assert parts is not None, arch
    capability = (int(parts[1]), int(parts[2]), *filter(None, parts[3]))
    with _device_of(capability):
        library = _library_of(function, signature, tuple(sorted(options.items())))
        return str(library.get_asm_str(cc=capability))


@cache
def _library_of(function: Any, signature: Any, options: tuple[tuple[str, Any], ...]) -> Any:
    from numba import cuda

    return cuda.jit(lto=False, **dict(options))(function).compile(signature).library


@contextmanager
def _device_of(capability: tuple[Any, ...]) -> Iterator[None]:
    """Numba asks the current device for its capability, and loads what it has compiled."""
    device = mock.Mock(compute_capability=capability)
    with (
        mock.patch("numba.cuda.dispatcher.get_current_device", return_value=device),
        mock.patch("numba.cuda.dispatcher._Kernel.bind"),
        mock.patch(
            "numba.cuda.codegen.CUDACodeLibrary._ensure_cc", lambda self, cc=None: cc or capability
        ),
    ):
        yield


def _assembled(name: str, ptx: str, arch: str) -> Report:
    program = tool("ptxas")
    assert program is not None
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "kernel.ptx"), Path(folder, "kernel.cubin")
        source.write_text(ptx)
        command = [program, "-v", f"-arch={arch}", "-O3", str(source), "-o", str(target)]
        run = subprocess.run(command, capture_output=True, text=True, check=False)
        if run.returncode:
            raise AssertionError(f"{name} for {arch}: {run.stderr[:3000]}")
        told = run.stderr + run.stdout
        cubin = target.read_bytes()

    def numbers(pattern: str) -> int:
        return sum(map(int, re.findall(pattern, told)))

    return Report(
        name,
        arch,
        ptx,
        registers=max(map(int, re.findall(r"Used (\d+) registers", told))),
        spills=numbers(r"(\d+) bytes spill"),
        stack=numbers(r"(\d+) bytes stack frame"),
        shared=numbers(r"(\d+) bytes smem"),
        cubin=cubin,
    )


def doubles(report: Report) -> list[str]:
    """The instructions of PTX that compute with float64."""
    pattern = r"^\s*(?:@!?%\w+ )?((?!ld|st|mov)[a-z][\w.]*\.f64[\w.]*[^;]*);"
    return re.findall(pattern, report.ptx, re.MULTILINE)
