"""The contenders of the forward benchmarks: fastmask and its peers.

Each adapter turns a `Problem` into a `Contender`: everything a user would do once (build the
layer, convert the weights, lay out the input) is done in advance, and `call` is what a user does
for every batch. `result` brings what `call` returned into the shape (B, T, H), so that it can be
checked before it is timed. Libraries that are not installed are left out.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.cases import Case, Problem

TOLERANCE = 1e-4


@dataclass(frozen=True)
class Contender:
    """A call to time, and how its result is turned into what is checked, here (B, T, H)."""

    call: Callable[[], Any]
    result: Callable[[Any], Any]

    def error(self, problem: Problem) -> float:
        """Largest difference from the float64 reference over the valid steps."""
        valid = problem.valid
        difference = self.result(self.call())[valid] - problem.expected[valid]
        return float(np.abs(difference).max(initial=0.0))


@dataclass(frozen=True)
class Peer:
    """A library, or one way to use it."""

    name: str
    modules: tuple[str, ...]
    any_mask: bool  # False: right padding only
    prepare: Callable[[Problem, int], Contender]
    tolerance: float = TOLERANCE  # a result that is further off must not be timed

    def missing(self) -> list[str]:
        """The modules it needs that are not installed."""
        return [name for name in self.modules if importlib.util.find_spec(name) is None]

    def takes(self, case: Case) -> bool:
        return self.any_mask or case.kind == "right"


def fastmask_layer(problem: Problem, threads: int) -> Any:
    """A built layer of fastmask that holds the problem's weights."""
    import fastmask as fm

    fm.set_num_threads(threads)
    layer = getattr(fm.layers, problem.cell.layer)(problem.case.units, return_sequences=True)
    layer.build(problem.x.shape)
    layer.set_weights([problem.kernel, problem.recurrent_kernel, problem.bias])
    return layer


def masked_data(output: Any) -> npt.NDArray[Any]:
    """The array of a layer's output, which carries a mask."""
    return np.asarray(output.data)


def prepare_fastmask(problem: Problem, threads: int) -> Contender:
    """A new bool array with every call, so that planning is part of the time."""
    layer = fastmask_layer(problem, threads)
    return Contender(lambda: layer(problem.x, mask=problem.valid.copy()), masked_data)


def prepare_fastmask_planned(problem: Problem, threads: int) -> Contender:
    """A `Mask` that was planned before, as between the layers of one model."""
    import fastmask as fm

    layer = fastmask_layer(problem, threads)
    mask = fm.Mask(problem.valid)
    return Contender(lambda: layer(problem.x, mask=mask), masked_data)


def prepare_onnxruntime(problem: Problem, threads: int) -> Contender:
    """One ONNX node with `sequence_lens`."""
    return run_onnxruntime(onnx_model(problem), problem, threads)


def run_onnxruntime(model: bytes, problem: Problem, threads: int) -> Contender:
    """A graph as `onnx_model` makes it."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    feed = onnx_feed(problem)
    return Contender(lambda: session.run(["Y"], feed), lambda outputs: onnx_output(outputs[0]))


def prepare_openvino(problem: Problem, threads: int, precision: str = "f32") -> Contender:
    """The same graph; by default OpenVINO would use bfloat16 where the processor has it."""
    import openvino

    core = openvino.Core()
    options = {
        "INFERENCE_PRECISION_HINT": precision,
        "INFERENCE_NUM_THREADS": threads,
        "PERFORMANCE_HINT": "LATENCY",
    }
    model = core.compile_model(core.read_model(onnx_model(problem)), "CPU", options)
    request, feed = model.create_infer_request(), onnx_feed(problem)
    return Contender(
        lambda: request.infer(feed, share_inputs=True, share_outputs=True),
        lambda outputs: onnx_output(outputs[0]),
    )


def onnx_feed(problem: Problem) -> dict[str, npt.NDArray[Any]]:
    """The inputs of the graph; x is (T, B, F), laid out in advance."""
    return {
        "X": np.ascontiguousarray(problem.x.transpose(1, 0, 2)),
        "lengths": problem.lengths.astype(np.int32),
    }


def onnx_output(output: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """(B, T, H) from (T, 1, B, H)."""
    return output[:, 0].transpose(1, 0, 2)


def onnx_model(problem: Problem) -> bytes:
    """A graph of one node that holds the problem's weights."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    cell = problem.cell
    batch, time, features, units = problem.case.shape
    kernel, recurrent_kernel, *biases = (
        cell.reordered(weights, cell.onnx_gates)[None]
        for weights in (
            *(problem.kernel.T, problem.recurrent_kernel.T),
            *cell.biases(problem.bias),
        )
    )
    options: Any = {"linear_before_reset": 1} if cell.name == "gru" else {}
    node = helper.make_node(
        cell.onnx, ["X", "W", "R", "B", "lengths"], ["Y"], hidden_size=units, **options
    )
    graph = helper.make_graph(
        [node],
        cell.name,
        [
            helper.make_tensor_value_info("X", TensorProto.FLOAT, [time, batch, features]),
            helper.make_tensor_value_info("lengths", TensorProto.INT32, [batch]),
        ],
        [helper.make_tensor_value_info("Y", TensorProto.FLOAT, [time, 1, batch, units])],
        [
            numpy_helper.from_array(kernel, "W"),
            numpy_helper.from_array(recurrent_kernel, "R"),
            numpy_helper.from_array(np.concatenate(biases, axis=1), "B"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 14)], ir_version=8)
    serialized: bytes = model.SerializeToString()
    return serialized


def torch_weights(problem: Problem) -> dict[str, Any]:
    """The problem's weights as tensors, by the names that torch.nn's modules give them."""
    import torch

    cell = problem.cell
    bias, recurrent_bias = cell.biases(problem.bias)
    weights = {
        "weight_ih_l0": problem.kernel.T,
        "weight_hh_l0": problem.recurrent_kernel.T,
        "bias_ih_l0": bias,
        "bias_hh_l0": recurrent_bias,
    }
    return {
        name: torch.tensor(cell.reordered(array, cell.torch_gates))
        for name, array in weights.items()
    }


def torch_module(problem: Problem, threads: int, library: Any = None) -> Any:
    """A recurrent module of `library`, torch.nn by default, with the problem's weights.

    Layers above the first have the values that PyTorch draws from a seed, whatever the library.
    """
    import torch

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    case = problem.case
    make = getattr(library or torch.nn, problem.cell.torch)
    module = make(case.features, case.units, case.layers, batch_first=True)
    module.load_state_dict({**module.state_dict(), **torch_weights(problem)})
    return module


def prepare_torch_padded(problem: Problem, threads: int) -> Contender:
    """No mask: every step is computed; right padding leaves the valid outputs right."""
    return run_torch_padded(torch_module(problem, threads).eval(), problem)


def run_torch_padded(module: Any, problem: Problem) -> Contender:
    """A recurrent module over the padded batch."""
    import torch

    x = torch.from_numpy(problem.x)

    @torch.inference_mode()
    def call() -> Any:
        return module(x)[0]

    return Contender(call, lambda output: output.numpy())


def pack_run_unpack(problem: Problem, module: Any) -> Callable[[Any], Any]:
    """From padded x to padded output: the documented way to skip padding."""
    import torch
    from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

    lengths = torch.from_numpy(problem.lengths)

    def forward(x: Any) -> Any:
        packed = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
        output, _ = module(packed)
        return pad_packed_sequence(output, batch_first=True, total_length=problem.case.time)[0]

    return forward


def prepare_torch_packed(problem: Problem, threads: int) -> Contender:
    """Pack, run, unpack."""
    import torch

    forward = pack_run_unpack(problem, torch_module(problem, threads).eval())
    x = torch.from_numpy(problem.x)

    @torch.inference_mode()
    def call() -> Any:
        return forward(x)

    return Contender(call, lambda output: output.numpy())


FASTMASK = Peer("fastmask", ("fastmask",), True, prepare_fastmask)
FASTMASK_PLANNED = Peer("fastmask planned", ("fastmask",), True, prepare_fastmask_planned)
ONNX_RUNTIME = Peer("ONNX Runtime", ("onnxruntime", "onnx"), False, prepare_onnxruntime)
RIVALS = (
    ONNX_RUNTIME,
    Peer("OpenVINO", ("openvino", "onnx"), False, prepare_openvino),
    Peer("PyTorch padded", ("torch",), False, prepare_torch_padded),
    Peer("PyTorch packed", ("torch",), False, prepare_torch_packed),
)
PEERS = (FASTMASK, FASTMASK_PLANNED, *RIVALS)


def contenders(
    problem: Problem, threads: int, peers: tuple[Peer, ...] = PEERS
) -> dict[str, Contender]:
    """Those of `peers` that are installed and can do the problem's mask, ready to run."""
    return {
        peer.name: peer.prepare(problem, threads)
        for peer in peers
        if not peer.missing() and peer.takes(problem.case)
    }


def checked_error(
    name: str, contender: Contender, problem: Problem, tolerance: float = TOLERANCE
) -> float:
    """The contender's error; raises if it is beyond the tolerance, so that it is not timed."""
    error = contender.error(problem)
    if not error <= tolerance:
        raise AssertionError(f"{name} is off by {error:.2g} on {problem.case.name}")
    return error
