"""Quantized recurrent layers beside float32, and what they cost in accuracy.

    python -m benchmarks.quantized [--threads 2] [--seconds 3] [--cells lstm gru rnn] [--write]
    python -m benchmarks.quantized --accuracy [--write]
    python -m benchmarks.quantized --folded [--write]

Each prints a table, and with --write puts it into docs/quantization.md. The first: how many times
as fast as float32 each form is, of the fastest calls of many turns, and its largest difference from
the result in float64, for weights of standard deviation 1 / sqrt(H). ONNX Runtime's dynamically
quantized layers are a column where it is installed. The second: the accuracy of the demo's model in
each form. The third: what folded embeddings save.
"""

from __future__ import annotations

import argparse
import importlib.util
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import fastmask as fm
from benchmarks.blocks import show
from benchmarks.cases import Case, Problem, make_problem
from benchmarks.machine import this_processor
from benchmarks.markdown import table
from benchmarks.peers import Contender, fastmask_layer, masked_data
from benchmarks.quantized_peers import prepare_onnxruntime_int8
from benchmarks.timing import side_by_side

FORMS = "bfloat16", "int8"
CELLS = "lstm", "gru", "rnn"
SHAPES = (
    *((32, 200, 128, 128), (64, 100, 256, 256), (64, 50, 512, 512), (8, 200, 128, 128)),
    *((1, 1000, 128, 128), (1, 500, 256, 256), (1, 200, 512, 512)),
)
TEXTS = ((32, 100), (64, 200), (1, 200))
DATA = Path(fm.__file__).parent / "data"


def problem_of(case: Case) -> Problem:
    """The arrays of a case, with weights of standard deviation 1 / sqrt(H)."""
    problem = make_problem(case)
    scale = np.float32(((case.features + case.units) / case.units) ** 0.5)
    kernels = problem.kernel * scale, problem.recurrent_kernel * scale
    return replace(problem, kernel=kernels[0], recurrent_kernel=kernels[1])


def contenders_of(problem: Problem, threads: int) -> dict[str, Contender]:
    """The layer in each form, and ONNX Runtime's."""
    found = {}
    mask = fm.Mask(problem.valid)
    for form in ("float32", *FORMS):
        layer = fastmask_layer(problem, threads)
        if form != "float32":
            layer.quantize(form)
        found[form] = Contender(partial(layer, problem.x, mask=mask), masked_data)
    installed = all(importlib.util.find_spec(name) for name in ("onnxruntime", "onnx"))
    if installed and problem.case.cell == "lstm":  # it leaves others as they are
        found["ONNX Runtime int8"] = prepare_onnxruntime_int8(problem, threads)
    return found


def row_of(case: Case, threads: int, seconds: float) -> list[str]:
    """A row of the table of speed and error."""
    problem = problem_of(case)
    contenders = contenders_of(problem, threads)
    times = side_by_side({name: one.call for name, one in contenders.items()}, seconds)
    base = times["float32"].best
    sizes = "x".join(map(str, case.shape[:2])) + f", {case.features} -> {case.units}"
    cells = [f"{case.cell} {sizes}", f"{1e3 * base:.2f} ms"]
    for name, one in contenders.items():
        if name != "float32":
            cells.append(f"{base / times[name].best:.2f} ({one.error(problem):.0e})")
    return cells


def accuracies() -> list[list[str]]:
    """A row for each form: the demo's model on its test utterances."""
    with np.load(DATA / "japanese_vowels.npz") as file:
        values, lengths, labels = file["values"], file["lengths"], file["labels"]
    utterances = np.split(values, np.cumsum(lengths)[:-1])
    rows = []
    exact: Any = None
    for form in ("float32", *FORMS):
        model = fm.load_model(DATA / "japanese_vowels_lstm.keras")
        if form != "float32":
            model.quantize(form)
        found = model.predict(utterances, batch_size=None, verbose=0)
        exact = found if exact is None else exact
        right = float((found.argmax(axis=1) == labels).mean())
        rows.append([form, f"{100 * right:.2f} %", f"{np.abs(found - exact).max():.1e}"])
    return rows


def folded_rows(threads: int, seconds: float) -> list[list[str]]:
    """A row for each size of batch, with a model of an embedding and an LSTM."""
    fm.set_num_threads(threads)
    rows, limit = [], fm.get_fold_limit()
    for batch, time in TEXTS:
        embedding = fm.layers.Embedding(5000, 128, mask_zero=True)
        model = fm.Sequential([embedding, fm.layers.LSTM(128)])
        ids = np.random.default_rng(0).integers(1, 5000, (batch, time))

        def call(size: int, model: Any = model, ids: Any = ids) -> Any:
            fm.set_fold_limit(size)
            return model(ids)

        calls = {"products": partial(call, 0), "folded": partial(call, limit)}
        times = side_by_side(calls, seconds)
        fm.set_fold_limit(limit)
        best = [times[name].best for name in ("products", "folded")]
        speed = f"{best[0] / best[1]:.2f}"
        rows.append([f"{batch}x{time}", *(f"{1e3 * one:.2f} ms" for one in best), speed])
    return rows


def main(arguments: list[str] | None = None) -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.quantized", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=3.0, help="for each row")
    parser.add_argument("--cells", nargs="+", default=CELLS, choices=CELLS)
    parser.add_argument("--accuracy", action="store_true")
    parser.add_argument("--folded", action="store_true")
    parser.add_argument("--write", action="store_true", help="into docs/quantization.md")
    options = parser.parse_args(arguments)
    name = "accuracy" if options.accuracy else "folded" if options.folded else "quantized"
    if options.accuracy:
        found = table(["format", "correct", "largest difference of a probability"], accuracies())
    elif options.folded:
        head = ["batch x steps", "with products", "folded", "times as fast"]
        found = table(head, folded_rows(options.threads, options.seconds))
    else:
        cases = [Case(*shape, cell=cell) for cell in options.cells for shape in SHAPES]
        rows = [row_of(case, options.threads, options.seconds) for case in cases]
        names = ["bfloat16", "int8", "ONNX Runtime int8"]
        width = max(map(len, rows))
        rows = [row + ["-"] * (width - len(row)) for row in rows]
        found = table(["layer, batch x steps, features -> units", "float32", *names][:width], rows)
    threads = f"{options.threads} thread{'s' * (options.threads > 1)}"
    text = f"{found}\n\n{this_processor()}, {threads}.\n"
    show(text, "quantization.md", name, options.write)


if __name__ == "__main__":
    main()
