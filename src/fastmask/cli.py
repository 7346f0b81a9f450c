"""The command `fastmask`."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ._version import __version__
from .commands import compile as _compile
from .commands import demo as _demo
from .commands import inspect as _inspect
from .commands import predict as _predict
from .commands import system as _system
from .commands.errors import in_plain_words

_COLUMN = (
    "column that the model reads; give one for each input, in the order that inspect shows; "
    "not needed if there is only one column"
)
_CLOSED = 128 + 13  # the exit status of a program that SIGPIPE ends
_REPORT = Path("benchmarks", "report.py")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        arguments: those after the command's name; by default those of the process.

    Returns:
        The exit status: 0 if all went well.

    Examples:
        >>> from fastmask.cli import main
        >>> main(["info"])  # doctest: +ELLIPSIS
        fastmask ...
        0
    """
    try:
        return _run(arguments)
    finally:
        _show(end="")  # what is left, also of --help


def _show(text: str = "", end: str = "\n") -> None:
    """Print at once; end quietly if the reader is gone, as `head` is after a few lines."""
    try:
        print(text, end=end, flush=True)
    except BrokenPipeError:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, sys.stdout.fileno())  # otherwise Python writes the rest when it ends
        os.close(null)
        raise SystemExit(_CLOSED) from None


def _run(arguments: Sequence[str] | None) -> int:
    parser = argparse.ArgumentParser(
        prog="fastmask", description="Recurrent layers that compute only the steps that exist."
    )
    parser.add_argument("--version", action="version", version=f"fastmask {__version__}")
    commands = parser.add_subparsers(
        required=True, metavar="demo | info | inspect | predict | compile | bench"
    )
    commands.add_parser(
        "demo", help="classify real utterances with a model trained in Keras, and time it"
    ).set_defaults(run=_run_demo)
    commands.add_parser(
        "info", help="show versions, SIMD width, threads, cache folder, CUDA devices and compiler"
    ).set_defaults(run=_run_info)
    inspect = commands.add_parser(
        "inspect", help="show the layers in a model file, and whether they are supported"
    )
    inspect.add_argument("model", type=Path, help="a model or weights file of any kind")
    inspect.set_defaults(run=_run_inspect)
    _add_predict(commands)
    _add_compile(commands)
    bench = commands.add_parser(
        "bench",
        help="compare fastmask with other libraries (needs a source checkout)",
        add_help=False,  # the benchmarks have their own options and help
    )
    bench.set_defaults(run=_run_bench)
    known, rest = parser.parse_known_args(arguments)
    if rest and known.run is not _run_bench:
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    try:
        return int(known.run(known, rest))
    except (OSError, ValueError) as error:
        print(f"fastmask: {in_plain_words(error)}", file=sys.stderr)
        return 1


def _add_predict(commands: Any) -> None:
    parser = commands.add_parser(
        "predict",
        help="add a model's predictions to the rows of a file",
        description="Write the rows of a file with one more column: a model's predictions. The "
        "file extensions choose the formats: .parquet, .jsonl, .csv, .npz, or .txt for lines of "
        "text. Lists may differ in length, and are padded only if the model needs it. For a "
        "folder, any number of workers process all Parquet files in it; what is already done is "
        "not done again.",
    )
    parser.add_argument("model", type=Path, help="a model file")
    parser.add_argument("input", type=Path, help="the rows: a file, or a folder of Parquet files")
    parser.add_argument("--column", action="append", metavar="NAME", default=[], help=_COLUMN)
    parser.add_argument("--output", type=Path, required=True, metavar="OUT", help="file or folder")
    parser.add_argument(
        "--name", default="prediction", help="name of the new column (default: prediction)"
    )
    parser.add_argument("--batch-size", type=int, metavar="N", help="the most rows in a batch")
    parser.add_argument(
        "--quantize", choices=("bfloat16", "int8"), help="compute with quantized weights"
    )
    parser.add_argument(
        "--engine",
        choices=("local", "ray", "dask"),
        help="what runs the workers of a folder (default: local)",
    )
    parser.add_argument(
        "--workers", type=int, metavar="N", help="number of worker processes for a folder"
    )
    parser.set_defaults(run=_run_predict)


def _add_compile(commands: Any) -> None:
    parser = commands.add_parser(
        "compile",
        help="show what a CUDA kernel compiles to, without a GPU",
        description="Compile a CUDA kernel with no driver and no GPU: registers, spills, shared "
        "memory and machine instructions.",
    )
    parser.add_argument(
        "kernel",
        metavar="KERNEL",
        help="lstm_fwd or another kernel of the table, or path.py:name of your kernel or cell",
    )
    parser.add_argument(
        "--arch",
        default="sm_90a",
        help="architecture: sm_80, sm_86, sm_89, sm_90, sm_90a, sm_100, sm_100a, sm_120 or "
        "sm_120a; for a kernel in a file any that ptxas knows (default: sm_90a)",
    )
    parser.add_argument(
        "--signature", help='of a function in a file, in Numba\'s notation: "float32[::1], int64"'
    )
    sizes = ("batch", 64), ("time", 256), ("features", 32), ("units", 64)
    for name, size in sizes:
        parser.add_argument(f"--{name}", type=_positive, default=size, help=f"(default: {size})")
    parser.add_argument("--dtype", choices=("float32", "float64"), default="float32")
    parser.add_argument("--weights", choices=("float32", "tf32", "bfloat16"), default="float32")
    parser.add_argument("--output", type=Path, metavar="FOLDER", help="write PTX and SASS here")
    parser.set_defaults(run=_run_compile)


def _positive(word: str) -> int:
    number = int(word)
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be 1 or more, not {number}")
    return number


def _run_compile(known: argparse.Namespace, _rest: list[str]) -> int:
    sizes = {name[0].upper(): getattr(known, name) for name in ("batch", "time", "features")}
    options = _compile.Options(
        *(known.kernel, known.arch, known.signature, sizes | {"H": known.units}),
        *(known.dtype, known.weights, known.output),
    )
    return _telling(lambda: _show(_compile.run(options)))


def _run_inspect(known: argparse.Namespace, _rest: list[str]) -> int:
    reports: list[_inspect.Report] = []
    status = _telling(lambda: reports.append(_inspect.report(known.model)))
    for one in reports:
        _show(one.text)
    return status or int(not all(one.supported for one in reports))


def _run_predict(known: argparse.Namespace, _rest: list[str]) -> int:
    options = _predict.Options(
        known.model,
        known.input,
        known.output,
        tuple(known.column),
        known.name,
        known.batch_size,
        known.quantize,
    )
    if known.input.is_dir():
        from .commands import folder  # which imports what processes need

        engine, interrupted = known.engine or "local", "interrupted: start again to continue"
        return _written(lambda: folder.run(options, engine, known.workers), options, interrupted)
    if known.engine or known.workers is not None:
        option = "--engine" if known.engine else "--workers"
        print(f"fastmask: {option} is for a folder, which {known.input} is not", file=sys.stderr)
        return 2
    return _written(lambda: _predict.run(options), options, "interrupted, nothing is written")


def _written(work: Callable[[], int], options: _predict.Options, interrupted: str) -> int:
    """Write predictions, and say how many rows there are."""
    rows: list[int] = []
    status = _telling(lambda: rows.append(work()), interrupted)
    for count in rows:
        print(f"fastmask: {count:,} rows written to {options.output}", file=sys.stderr)
    return status


def _telling(
    work: Callable[[], object], interrupted: str = "interrupted, nothing is written"
) -> int:
    """Do something with files; an error becomes one line, and exit status 2."""
    try:
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")  # a layer that loses a mask says so once
            work()
        for text in dict.fromkeys(str(one.message) for one in told):  # each worker has its own
            print(f"fastmask: warning: {text}", file=sys.stderr)
    except (OSError, TypeError, ValueError) as error:
        print(f"fastmask: {in_plain_words(error)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"fastmask: {interrupted}", file=sys.stderr)
        return 130
    return 0


def _run_demo(_known: argparse.Namespace, _rest: list[str]) -> int:
    result = _demo.run(lambda line: print(line, file=sys.stderr, flush=True))
    _show("\n".join(_demo.report(result)))
    for fault in result.faults:
        print(f"fastmask: {fault}", file=sys.stderr)
    return 1 if result.faults else 0


def _run_info(_known: argparse.Namespace, _rest: list[str]) -> int:
    _show("\n".join(f"{name:<14}{value}" for name, value in _system.describe()))
    return 0


def _run_bench(_known: argparse.Namespace, rest: list[str]) -> int:
    checkout = _checkout()
    if checkout is None:
        print(
            "fastmask: the benchmarks are in the source checkout, not in the installed package:\n"
            "in a checkout of fastmask-rnn, or its unpacked source archive, run\n"
            '    pip install -e ".[bench]" && fastmask bench',
            file=sys.stderr,
        )
        return 1
    command = [sys.executable, "-m", "benchmarks.report", *rest]
    return subprocess.run(command, cwd=checkout, check=False).returncode


def _checkout() -> Path | None:
    """The source checkout that this file is in, or else the current folder."""
    own = Path(__file__).resolve().parents[2]
    if (own / _REPORT).is_file():
        return own
    for folder in (Path.cwd(), *Path.cwd().parents):
        project = folder / "pyproject.toml"
        if (folder / _REPORT).is_file() and project.is_file():
            return folder if 'name = "fastmask-rnn"' in project.read_text("utf-8") else None
    return None
