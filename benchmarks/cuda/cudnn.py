"""cuDNN as a contender, through `torch.nn`; in the simulator PyTorch on the CPU replaces it.

Padded: all steps are computed; with right padding the valid outputs are still right. Packed:
packing and unpacking are part of the call. TF32 is PyTorch's default for cuDNN; here it is off
unless a contender asks for it.
"""

from __future__ import annotations

from typing import Any

from benchmarks.cases import Floats, Problem
from benchmarks.cuda.expected import Results
from benchmarks.cuda.system import torch_device
from benchmarks.peers import pack_run_unpack, torch_module


def missing() -> str | None:
    """Why cuDNN is unavailable, or None."""
    return None if torch_device() else "PyTorch with CUDA is not installed"


class TorchCall:
    """The common part of PyTorch contenders: a forward function and its gradients."""

    def __init__(self, problem: Problem, training: bool, dtype: str) -> None:
        import torch

        self.training = training
        self.dtype, self.device = getattr(torch, dtype), torch_device()
        self.x = self.tensor(problem.x).requires_grad_(training)
        self.output: Any = None
        self.gradient: Any = None

    def tensor(self, array: Any) -> Any:
        """A copy on this contender's device, with its dtype."""
        import torch

        return torch.tensor(array, dtype=self.dtype, device=self.device)

    def forward(self, x: Any) -> Any:
        """The padded output (B, T, H)."""
        raise NotImplementedError

    def parameters(self) -> dict[str, Any]:
        """Weights, by the names and in the layout of torch.nn."""
        raise NotImplementedError

    def load(self, upstream: Floats) -> None:
        """Set the upstream gradient, that of the output."""
        self.gradient = self.tensor(upstream)

    def call(self) -> None:
        """Run a batch, forward or forward and backward."""
        import torch

        if not self.training:
            with torch.inference_mode():
                self.output = self.forward(self.x)
            return
        for tensor in (self.x, *self.parameters().values()):
            tensor.grad = None
        self.forward(self.x).backward(self.gradient)

    def results(self) -> Results:
        """The results of the last call, by the names of `expected`."""
        if not self.training:
            return {"out": on_host(self.output)}
        weights = {name: on_host(tensor.grad) for name, tensor in self.parameters().items()}
        return {
            "dx": on_host(self.x.grad),
            "dkernel": weights["weight_ih_l0"].T,
            "drecurrent_kernel": weights["weight_hh_l0"].T,
            "dbias": weights["bias_ih_l0"],
        }


class CuDNN(TorchCall):
    """A module of torch.nn, padded or packed."""

    def __init__(
        self, problem: Problem, training: bool, packed: bool, dtype: str, tf32: bool
    ) -> None:
        import torch

        super().__init__(problem, training, dtype)
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = tf32
        module = torch_module(problem, torch.get_num_threads()).to(self.device, self.dtype)
        self._module = module.train(training)
        self._packed = pack_run_unpack(problem, module) if packed else None

    def forward(self, x: Any) -> Any:
        return self._packed(x) if self._packed else self._module(x)[0]

    def parameters(self) -> dict[str, Any]:
        return dict(self._module.named_parameters())


def on_host(tensor: Any) -> Any:
    """A float32 NumPy array of a tensor, which may be in half precision."""
    return tensor.detach().float().cpu().numpy()
