"""`fastmask compile`: what a CUDA kernel compiles to, with no driver and no GPU."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

from .table import table

_LAUNCHED = "blocks", "at once", "threads"  # known of the kernels of the table
_HEADINGS = "registers", "spills", "local memory", "shared memory", "instructions", "inner loop"
_NOTE = (
    "registers of a thread; bytes that a thread spills; bytes of local memory of a thread, for its",
    "arrays and what it spills; bytes of shared memory of a block; machine instructions; and those",
    "in the largest inner loop, including the loops inside it (in the largest loop, if no loop is",
    "inside another)",
)
_OF_A_CALL = (
    "the inner loop of time_loop and gradient_loop is one step of a group of sequences",
    "at once: blocks that one multiprocessor holds, computed from registers, shared memory and",
    "threads, and from what the architecture has",
)
_NO_LOOP = "no loop"
_LOOPS = "time_loop", "gradient_loop"


class Options(NamedTuple):
    """Options of the command."""

    kernel: str  # of the table, or path.py:name
    arch: str
    signature: str | None  # of a function in a file
    sizes: dict[str, int]  # B, T, F and H, see `fastmask_kernels.spec`
    dtype: str
    weights: str
    output: Path | None  # folder for PTX and SASS


class _Row(NamedTuple):
    """A kernel, and how it is launched."""

    report: Any
    launched: tuple[str, ...] = ()  # see `_LAUNCHED`
    shared: int = 0  # bytes of a block, also those known only at the launch

    def cells(self) -> Sequence[str]:
        """The cells of the table."""
        report, step = self.report, self.report.step
        name = short(report.name) if self.launched else report.name
        return (
            *(name, *self.launched, str(report.registers), str(report.spills), str(report.stack)),
            *(str(self.shared), str(len(report.instructions))),
            str(step.total()) if step else _NO_LOOP,
        )


def run(options: Options) -> str:
    """Compile, write files if they are wanted, and return the report.

    Raises:
        OSError: a file cannot be read or written.
        TypeError: the name is not that of a kernel.
        ValueError: there is no such kernel or architecture, something is not installed, or the
            kernel does not compile.
    """
    code = import_module("fastmask_kernels.machine_code")
    if reason := code.missing("nvdisasm"):
        raise ValueError(f"compiling {reason}")
    path, _, name = options.kernel.rpartition(":")
    rows = list(_of_file(Path(path), name, options) if path else _of_table(options))
    if options.output is not None:
        _write(options.output, rows)
    return "\n".join(_told(options, rows))


def short(name: str) -> str:
    """A kernel's name without what it was specialized for."""
    return name.partition("(")[0].strip("_")


def _of_table(options: Options) -> Iterator[_Row]:
    """What a kernel of the table launches."""
    launches = import_module("fastmask_kernels.machine_code.launches")
    if options.kernel not in launches.NAMES:
        known = ", ".join(launches.NAMES)
        raise ValueError(f"KERNEL must be path.py:name, or one of {known}, not {options.kernel!r}")
    yield from _launched(options, lambda: launches.call(options.kernel, *_sizes(options)))


def _of_file(path: Path, name: str, options: Options) -> Iterator[_Row]:
    """The kernels of a user's file: those of a name, or those that a cell of the name launches."""
    own = import_module("fastmask_kernels.machine_code.own")
    import_module("fastmask_kernels.machine_code").require_architecture(options.arch)
    launches = import_module("fastmask_kernels.machine_code.launches")
    found = own.load(path, name)
    if isinstance(found.value, import_module("fastmask_kernels.cells").Cell):
        yield from _launched(options, lambda: launches.call_cell(found.value, *_sizes(options)))
        return
    for kernel, signature, given in own.kernels_in(found, options.signature):
        report = _compiled(options, kernel, signature, **given)
        yield _Row(report, shared=report.shared)


def _sizes(options: Options) -> tuple[dict[str, int], str]:
    return options.sizes, options.dtype


def _launched(options: Options, call: Callable[[], None]) -> Iterator[_Row]:
    """What a call launches on a device of the architecture."""
    launches = import_module("fastmask_kernels.machine_code.launches")
    occupancy = import_module("fastmask_kernels.machine_code.occupancy")
    cuda = import_module("fastmask_kernels.cuda")
    if options.signature is not None:
        raise ValueError(
            f"--signature is for functions in a file: {options.kernel} takes --units, --dtype "
            "and other sizes"
        )
    if options.arch not in launches.DEVICES:
        raise ValueError(
            f"--arch must be one of {', '.join(launches.DEVICES)}, not {options.arch!r}: kernels "
            "are laid out for what a device has"
        )
    with ExitStack() as stack:
        found = stack.enter_context(launches.recorded(launches.DEVICES[options.arch]))
        stack.enter_context(cuda.use_weights(options.weights))
        call()
    for launch in {(one.kernel, one.threads, one.shared): one for one in found}.values():
        report = _compiled(options, launch.kernel)
        shared = report.shared + launch.shared
        many = occupancy.blocks_at_once(options.arch, launch.threads, report.registers, shared)
        launched = _by(launch.grid), str(many), _by(launch.threads)
        yield _Row(report, launched, shared)


def _compiled(options: Options, *args: Any, **given: Any) -> Any:
    code = import_module("fastmask_kernels.machine_code")
    try:
        return code.compile_report(*args, arch=options.arch, **given)
    except Exception as error:  # from Numba, NVVM or ptxas
        why = code.explained(error) or _in_short(error)
        raise ValueError(f"{options.kernel} does not compile: {why}") from error


def _in_short(error: Exception) -> str:
    """The beginning of an error, and what it says that others led to it, as Numba's do."""
    lines = [line for line in str(error).splitlines() if line.strip()]
    causes = [line for line in lines[8:] if re.match(r"\s*\w+Error: ", line)]
    return " ".join([*lines[:8], *dict.fromkeys(causes)])


def _by(sizes: int | tuple[int, ...]) -> str:
    return " x ".join(map(str, sizes if isinstance(sizes, tuple) else (sizes,)))


def _told(options: Options, rows: list[_Row]) -> Iterator[str]:
    sizes = ", ".join(f"{name} = {size}" for name, size in options.sizes.items())
    of_call = f": {sizes}, {options.dtype}, weights in {options.weights}"
    launched = bool(rows[0].launched)
    yield f"{options.kernel} for {options.arch}{of_call if launched else ''}"
    headings = ("kernel", *(_LAUNCHED if launched else ()), *_HEADINGS)
    yield table(headings, [row.cells() for row in rows], right=range(1, len(headings)))
    yield from _NOTE
    if launched:
        yield from _OF_A_CALL
        yield from _steps(rows)
    for report in (row.report for row in rows if row.report.stray_doubles):
        yield (
            f"{report.name} computes in float64, with {len(report.stray_doubles)} instructions, "
            f"such as {report.first_double}, though it takes no float64: give constants a type, "
            "float32(0.1), and integers that are divided or multiplied with float32, float32(n)"
        )
    for report in (row.report for row in rows if row.report.linked):
        yield (
            f"{report.name} calls {', '.join(report.linked)}, which Numba links with it before the "
            "launch (those of cooperative groups are in cudadevrt): what they need is not counted"
        )


def _steps(rows: list[_Row]) -> Iterator[str]:
    """The machine instructions in a step of the time loops."""
    for report in (row.report for row in rows if short(row.report.name) in _LOOPS):
        names = ", ".join(f"{name} {many}" for name, many in report.step.most_common())
        yield f"a step of {short(report.name)}: {names}"


def _write(folder: Path, rows: list[_Row]) -> None:
    """PTX and machine code, a file each, numbered as the rows."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, row in enumerate(rows, 1):
        name = re.sub(r"\W+", "-", short(row.report.name))
        for ending in ("ptx", "sass"):
            file = folder / f"{number:02}-{name}.{ending}"
            file.write_text(getattr(row.report, ending), "utf-8")
