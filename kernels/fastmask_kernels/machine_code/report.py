"""Compiling kernels to PTX with NVVM, and to machine code with ptxas."""

from __future__ import annotations

import re
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cache, cached_property
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from .tools import missing, refusal, require_architecture, run, tool

ARCHITECTURES = ("sm_80", "sm_90a")  # what Numba compiles for on an A100 and an H100
_DOUBLE = r"^\s*(?:@!?%\w+ )?((?!ld|st|mov)[a-z][\w.]*\.f64[\w.]*[^;]*);"  # a PTX instruction
_EXTERN = r"^\s*\.extern\s+\.func\s*(?:\([^)]*\))?\s*(\w+)"  # a function that PTX has no code of


class Loop(Counter[str]):
    """How often each machine instruction occurs in a loop, by name.

    Args:
        begin: the address of its first instruction.
        end: the address of its last one.
        names: the names of all of them.
    """

    def __init__(self, begin: int, end: int, names: Iterable[str]) -> None:
        super().__init__(names)
        self.begin, self.end = begin, end

    def has(self, other: Loop) -> bool:
        """Whether another loop is inside this one."""
        return self is not other and self.begin <= other.begin and other.end <= self.end


@dataclass
class Report:
    """What a kernel was compiled to."""

    name: str
    arch: str
    types: str  # of the arguments
    ptx: str = field(repr=False)
    registers: int  # of a thread
    spills: int  # bytes of a thread, stored and loaded
    stack: int  # bytes of a thread
    shared: int  # bytes of a block that are known when compiling
    cubin: bytes = field(repr=False)
    linked: tuple[str, ...] = ()  # functions that are linked with the kernel when it is loaded
    first_double: str = ""  # the first of `stray_doubles` that has a line, and where it is

    @cached_property
    def sass(self) -> str:
        """Machine code as text."""
        program = tool("nvdisasm")
        if program is None:
            raise RuntimeError(f"reading machine code {missing('nvdisasm')}")
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, "kernel.cubin")
            file.write_bytes(self.cubin)
            read = run(program, "-c", str(file))
        if not read.returncode:
            return read.stdout
        raise RuntimeError(
            f"nvdisasm cannot read {self.name} for {self.arch}: {read.stderr[:3000]}"
        )

    @cached_property
    def instructions(self) -> list[tuple[int, str]]:
        """Address and text of each machine instruction, without predicates and final padding."""
        found = re.findall(r"/\*([0-9a-f]{4,6})\*/\s+(?:@!?\w+\s+)?([A-Z][^;]*);", self.sass)
        while found and found[-1][1] == "NOP":
            found.pop()
        return [(int(address, 16), text.strip()) for address, text in found]

    def count(self, *names: str) -> int:
        """How many machine instructions begin with one of the names."""
        return sum(text.startswith(names) for _, text in self.instructions)

    @property
    def doubles(self) -> list[str]:
        """The PTX instructions that compute in float64 or convert to it."""
        return re.findall(_DOUBLE, self.ptx, re.MULTILINE)

    @property
    def stray_doubles(self) -> list[str]:
        """Those of a kernel that takes no float64: a constant without a type makes them."""
        return [] if "float64" in self.types or "complex128" in self.types else self.doubles

    def loops(self) -> list[Loop]:
        """All loops, in the order of their ends."""
        labels, found = dict(_labels(self.sass)), []
        for address, text in self.instructions:
            target = re.search(r"BRA.*?(?:`\((\.L_x_\d+)\)|(0x[0-9a-f]+))", text)
            if target is None:
                continue
            begin = labels.get(target[1]) if target[1] else int(target[2], 16)
            if begin is not None and begin < address:
                body = [t for a, t in self.instructions if begin <= a <= address]
                found.append(Loop(begin, address, (t.split()[0].split(".")[0] for t in body)))
        return found

    @property
    def step(self) -> Loop | None:
        """The largest loop inside another one, which in fastmask's time loops is a step.

        If no loop is inside another, the largest of all; None if there is none. A warp may run
        parts of it more than once, and skip others.
        """
        loops = self.loops()
        inner = [one for one in loops if any(other.has(one) for other in loops)]
        return max(inner or loops, key=Loop.total, default=None)


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
        kernel: a `Kernel`, or a function with its `signature`, with or without `numba.cuda.jit`.
        signature: Numba types of the arguments, in a tuple.
        arch: such as "sm_90a".
        options: of `numba.cuda.jit`; those of a `Kernel` need not be repeated.

    Raises:
        RuntimeError: ptxas refuses the kernel.
        ValueError: ptxas does not know the architecture, or a function came without its signature.
    """
    function = getattr(kernel, "function", kernel)
    name = getattr(kernel, "name", function.__name__)
    signature = getattr(kernel, "argtypes", None) if signature is None else signature
    if signature is None:
        raise ValueError(f"{name} needs its signature, such as (float32[::1], int64)")
    require_architecture(arch)
    options = {**getattr(kernel, "options", {}), **options}
    ptx = _ptx_of(function, signature, arch, options)
    report = _assembled(name, str(signature), ptx, arch)
    if report.stray_doubles:
        lined = _ptx_of(function, signature, arch, {**options, "lineinfo": True})
        report.first_double = _first_double(lined) or report.stray_doubles[0].split()[0]
    return report


def _first_double(ptx: str) -> str:
    """The first instruction in float64 that has a line, and where, from PTX with line numbers.

    Line 0 stands for code that was moved, as out of a loop. Empty if no instruction has a line.
    """
    files = dict(re.findall(r'^\s*\.file\s+(\d+)\s+"([^"]+)"', ptx, re.MULTILINE))
    at = ""
    for line in ptx.splitlines():
        if place := re.match(r"\s*\.loc\s+(\d+)\s+(\d+)", line):
            at = f" at {files.get(place[1], '?')}:{place[2]}" if int(place[2]) else ""
        elif at and (double := re.match(_DOUBLE, line)):
            return double[1].split()[0] + at
    return ""


def _ptx_of(function: Any, signature: Any, arch: str, options: dict[str, Any]) -> str:
    """The PTX for an architecture; Numba translates a function once for all of them."""
    parts = re.fullmatch(r"sm_(\d+)(\d)([af]?)", arch)
    if parts is None:
        raise ValueError(f"arch must be such as sm_90a, not {arch!r}")
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
    """Replace the device that Numba asks for its capability and loads compiled code to."""
    dispatcher, codegen = (
        import_module(f"numba.cuda.{name}") for name in ("dispatcher", "codegen")
    )
    device = SimpleNamespace(compute_capability=capability)
    with ExitStack() as stack:
        for owner, name, value in (
            (dispatcher, "get_current_device", lambda: device),
            (dispatcher._Kernel, "bind", lambda _: None),
            (codegen.CUDACodeLibrary, "_ensure_cc", lambda _, cc=None: cc or capability),
        ):
            stack.callback(setattr, owner, name, getattr(owner, name))
            setattr(owner, name, value)
        yield


def _assembled(name: str, types: str, ptx: str, arch: str) -> Report:
    program = tool("ptxas")
    if program is None:
        raise RuntimeError(f"compiling {missing()}")
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "kernel.ptx"), Path(folder, "kernel.cubin")
        source.write_text(ptx)
        command = program, "-v", f"-arch={arch}", "-O3", str(source), "-o", str(target)
        done, linked = run(*command), ()
        if done.returncode and "Unresolved extern function" in done.stderr:
            done, linked = run(*command, "-c"), tuple(sorted(set(re.findall(_EXTERN, ptx, re.M))))
        if done.returncode:
            why = refusal(program, done.stderr, name)
            raise RuntimeError(f"ptxas refuses {name} for {arch}: {why}")
        told = done.stderr + done.stdout
        cubin = target.read_bytes()

    def numbers(pattern: str) -> int:
        return sum(map(int, re.findall(pattern, told)))

    return Report(
        name,
        arch,
        types,
        ptx,
        registers=max(map(int, re.findall(r"Used (\d+) registers", told))),
        spills=numbers(r"(\d+) bytes spill"),
        stack=numbers(r"(\d+) bytes stack frame"),
        shared=numbers(r"(\d+) bytes smem"),
        cubin=cubin,
        linked=linked,
    )
