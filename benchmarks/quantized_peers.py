"""The contenders of the quantised benchmark: weights and products of 16 or 8 bits, and float32.

Everything is made once, in advance, as in `peers`: weights are quantised, graphs are compiled. A
library quantises what it can: ONNX Runtime has no GRU of 8 bits, so its GRU does not take part.
"""

from __future__ import annotations

import platform
import tempfile
import warnings
from functools import partial
from pathlib import Path

from benchmarks.cases import Case, Problem
from benchmarks.peers import (
    FASTMASK,
    ONNX_RUNTIME,
    Contender,
    Peer,
    fastmask_layer,
    masked_data,
    onnx_model,
    prepare_openvino,
    run_onnxruntime,
    run_torch_padded,
    torch_module,
)

BFLOAT16_TOLERANCE, INT8_TOLERANCE = 0.03, 0.2  # beyond these a result is wrong, not rounded


class LstmPeer(Peer):
    """A library that quantises LSTMs alone."""

    def takes(self, case: Case) -> bool:
        return case.cell == "lstm" and super().takes(case)


def prepare_fastmask(problem: Problem, threads: int, mode: str) -> Contender:
    """A new bool array with every call, so that planning is part of the time."""
    layer = fastmask_layer(problem, threads)
    layer.quantize(mode)
    return Contender(lambda: layer(problem.x, mask=problem.valid.copy()), masked_data)


def without_vnni() -> bool:
    """Whether ONNX Runtime's products of bytes saturate, unless weights have 7 bits."""
    from llvmlite.binding import get_host_cpu_features

    features = get_host_cpu_features()
    x86 = platform.machine().lower() in ("x86_64", "amd64")
    return x86 and not (features.get("avx512vnni") or features.get("avxvnni"))


def prepare_onnxruntime_int8(problem: Problem, threads: int) -> Contender:
    """The node that ONNX Runtime's own dynamic quantisation makes, scales by column."""
    from onnx import load_from_string
    from onnxruntime.quantization import QuantType, quantize_dynamic

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.onnx")
        model = load_from_string(onnx_model(problem))
        quantize_dynamic(
            model,
            path,
            per_channel=True,
            reduce_range=without_vnni(),
            weight_type=QuantType.QInt8,
        )
        return run_onnxruntime(path.read_bytes(), problem, threads)


def prepare_torch_int8(problem: Problem, threads: int) -> Contender:
    """PyTorch's own dynamic quantisation of a padded batch."""
    import torch

    whole = torch.nn.Sequential(torch_module(problem, threads).eval())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it is deprecated, but it is PyTorch's own
        kinds = {torch.nn.LSTM, torch.nn.GRU}
        module = torch.ao.quantization.quantize_dynamic(whole, kinds, dtype=torch.qint8)[0]
    return run_torch_padded(module, problem)


MODES = {"bfloat16": BFLOAT16_TOLERANCE, "int8": INT8_TOLERANCE}
OURS = tuple(
    Peer(f"fastmask {mode}", ("fastmask",), True, partial(prepare_fastmask, mode=mode), tolerance)
    for mode, tolerance in MODES.items()
)
RIVALS = (
    LstmPeer(
        "ONNX Runtime int8",
        ("onnxruntime", "onnx"),
        False,
        prepare_onnxruntime_int8,
        INT8_TOLERANCE,
    ),
    Peer(
        "OpenVINO bfloat16",
        ("openvino", "onnx"),
        False,
        partial(prepare_openvino, precision="bf16"),
        BFLOAT16_TOLERANCE,
    ),
    Peer("PyTorch int8", ("torch",), False, prepare_torch_int8, INT8_TOLERANCE),
)
QUANTIZED = (FASTMASK, *OURS, ONNX_RUNTIME, *RIVALS)
