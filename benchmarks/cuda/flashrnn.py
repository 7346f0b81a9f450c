"""FlashRNN's fused kernels as a contender (https://github.com/NX-AI/flashrnn), in bf16.

FlashRNN has no input projection, so PyTorch multiplies first, and no mask, so its batches are full.
It compiles for each size at the first call, which takes minutes.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

from benchmarks.cases import Problem
from benchmarks.cuda.cudnn import TorchCall, on_host
from benchmarks.cuda.system import torch_device


def missing() -> str | None:
    """Why FlashRNN is unavailable, or None."""
    if find_spec("flashrnn") is None:
        return "flashrnn is not installed"
    return None if torch_device() == "cuda" else "PyTorch with CUDA is not installed"


class FlashRNN(TorchCall):
    """An LSTM with one head; gates are in Keras's order, i f z o."""

    dtype_name, backend = "bfloat16", "cuda_fused"

    def __init__(self, problem: Problem, training: bool) -> None:
        super().__init__(problem, training, self.dtype_name)
        _, _, features, units = problem.case.shape
        self._shape = (4, 1, units)
        recurrent = problem.recurrent_kernel.reshape(units, 4, units).transpose(1, 2, 0)
        self._weights = {
            "kernel": self.tensor(problem.kernel.reshape(features, 4 * units)),
            "recurrent": self.tensor(recurrent[:, None].copy()),  # (gate, head, unit, unit before)
            "bias": self.tensor(problem.bias.reshape(self._shape)),
        }
        for weight in self._weights.values():
            weight.requires_grad_(training)

    def forward(self, x: Any) -> Any:
        from flashrnn import flashrnn

        projected = (x @ self._weights["kernel"]).unflatten(-1, self._shape)
        recurrent, bias = self._weights["recurrent"], self._weights["bias"]
        states, _ = flashrnn(
            *(projected, recurrent, bias),
            function="lstm",
            backend=self.backend,
            dtype=self.dtype_name,
        )
        return states[0].flatten(-2)

    def parameters(self) -> dict[str, Any]:
        return self._weights

    def results(self) -> Any:
        if not self.training:
            return super().results()
        found = {name: on_host(tensor.grad) for name, tensor in self._weights.items()}
        units = self._shape[-1]
        return {
            "dx": on_host(self.x.grad),
            "dkernel": found["kernel"],
            "drecurrent_kernel": found["recurrent"][:, 0].transpose(2, 0, 1).reshape(units, -1),
            "dbias": found["bias"].reshape(-1),
        }
