"""fastmask's CUDA kernels as a contender, called only through `fastmask_kernels.cuda`.

Arguments are filled in by their names in the kernel table, so no argument lists are repeated here.
Weights are packed in advance, as for many batches with one layer; so is the plan, as for the second
layer of a model, unless planning is part of the call.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np

from benchmarks.cases import Floats, Problem
from benchmarks.cuda.expected import Results
from benchmarks.cuda.system import torch_device

_SIZE = re.compile(r"(\d*)([A-Z])(\+1)?")
_OPTIONS: dict[str, Any] = {
    "activation": "tanh",
    "recurrent_activation": "sigmoid",
    "reset_after": True,
    "reverse": False,
    "zero_masked": False,
    "gates_saved": True,
    "threads": 1,
}


def missing(weights: str = "float32", torch_products: bool = False) -> str | None:
    """Why this way to call the kernels is unavailable, or None."""
    from fastmask_kernels import cuda

    if weights != "float32" and not hasattr(cuda, "use_weights"):
        return f"fastmask_kernels.cuda has no weights in {weights}"
    if torch_products and not hasattr(cuda, "use_products"):
        return "fastmask_kernels.cuda takes no other library's products"
    if torch_products and torch_device() != "cuda":
        return "PyTorch with CUDA is not installed"
    return None


@contextmanager
def settings(weights: str = "float32", torch_products: bool = False) -> Iterator[None]:
    """The settings of all calls of a contender: stream, form of weights, library for products.

    With weights of fewer bits PyTorch does the products in TF32 if it is available.
    """
    torch_products |= weights != "float32" and missing(torch_products=True) is None
    from fastmask_kernels import cuda

    with ExitStack() as stack:
        if torch_device() == "cuda":
            import torch

            stack.enter_context(cuda.use_stream(torch.cuda.current_stream().cuda_stream))
            torch.backends.cuda.matmul.allow_tf32 = weights != "float32"
        if weights != "float32":
            stack.enter_context(cuda.use_weights(weights))
        if torch_products:
            stack.enter_context(_exact_products(cuda.use_products))
        yield


def _exact_products(use_products: Any) -> Any:
    """PyTorch multiplies; plans have exactly one entry per valid step."""
    known = inspect.signature(use_products).parameters
    return use_products(torch_multiply, **({"exact": True} if "exact" in known else {}))


def torch_multiply(
    out: Any, a: Any, b: Any, transpose_a: bool, transpose_b: bool, accumulate: bool
) -> None:
    """out = a b, or out += a b, by PyTorch."""
    import torch

    out, a, b = (torch.as_tensor(array, device="cuda") for array in (out, a, b))
    a, b = a.T if transpose_a else a, b.T if transpose_b else b
    torch.addmm(out, a, b, beta=int(accumulate), out=out)


class Fastmask:
    """A layer ready to be called; its outputs are full of NaN before the first call."""

    def __init__(self, problem: Problem, training: bool, planning: bool = False) -> None:
        from fastmask_kernels import cuda
        from fastmask_kernels.cuda.runtime.device import to_device
        from fastmask_kernels.spec import KERNELS

        self.problem, self.training, self.planning = problem, training, planning
        self._cuda, self._table, self._put = cuda, KERNELS, to_device
        name = problem.case.cell
        self._forward, self._backward = f"{name}_fwd", f"{name}_bwd"
        batch, time, features, units = problem.case.shape
        steps = batch * time if planning else problem.steps
        saved = steps if training else 0
        packed = getattr(cuda, f"{name}_packed_size")(features, units, np.dtype(np.float32))
        sizes = (batch, time, features, units, steps, packed, time, time, saved, saved)
        self._sizes = dict(zip("BTFHPWSXKL", sizes, strict=True))
        self._values: dict[str, Any] = dict(_OPTIONS)
        self._given: dict[str, Any] = {}  # of the backward kernel, for which some names differ
        self._fill(problem)

    def _fill(self, problem: Problem) -> None:
        for name in ("x", "kernel", "recurrent_kernel", "bias", "valid"):
            self._values[name] = self._put(getattr(problem, name))
        for name in ("h_first", "c_first"):
            self._values[name] = self._array((problem.case.batch, problem.case.units), 0.0)
        self._allocate("plan_steps", self._values)
        self._plan(exactly=not self.planning)
        self._allocate(f"{problem.case.cell}_pack", self._values)
        self._run(f"{problem.case.cell}_pack", self._values)
        self._allocate(self._forward, self._values)
        if self.training:
            states = {name: self._values[name] for name in ("h_first", "c_first")}
            # Gates are overwritten by their gradients; the other outputs are the kernel's own.
            self._given = {
                **self._values,
                "dh_last": states["h_first"],
                "dc_last": states["c_first"],
            }
            self._allocate(self._backward, self._given, keep=("gates",))

    def _plan(self, exactly: bool) -> None:
        """Make the plan: `plan_steps` needs room for all steps, kernels take shorter `steps`."""
        if not exactly:
            self._run("plan_steps", self._values)
            return
        room = {**self._values, "steps": self._array((self.problem.valid.size,), 0, "int64")}
        self._run("plan_steps", room)
        flat = np.flatnonzero(self.problem.valid)
        self._values["steps"] = self._put(flat.astype(np.int64))

    def _array(self, shape: tuple[int, ...], value: float, dtype: str = "float32") -> Any:
        return self._put(np.full(shape, value, dtype))

    def _shape(self, words: tuple[str, ...]) -> tuple[int, ...]:
        """Sizes of an argument: "B T 4H" and the like."""
        found = [_SIZE.fullmatch(word) for word in words]
        return tuple(
            int(m[1] or 1) * self._sizes[m[2]] + bool(m[3]) if m else int(word)
            for m, word in zip(found, words, strict=True)
        )

    def _allocate(self, kernel: str, values: dict[str, Any], keep: tuple[str, ...] = ()) -> None:
        """Allocate a kernel's outputs, full of NaN."""
        for argument in self._table[kernel].outputs:
            if argument.name not in keep:
                dtype = "int64" if argument.dtype == "int64" else "float32"
                value = 0 if dtype == "int64" else np.nan
                shape = self._shape(argument.shape or ())
                values[argument.name] = self._array(shape, value, dtype)

    def _run(self, kernel: str, values: dict[str, Any]) -> None:
        """Run a kernel as layers and torch modules do, without checks of arguments and plan."""
        names = (argument.name for argument in self._table[kernel].arguments)
        getattr(self._cuda, kernel).unchecked(*(values[name] for name in names))

    def load(self, upstream: Floats) -> None:
        """Set the upstream gradient, that of the output."""
        self._given["dout"] = self._put(upstream)

    def call(self) -> None:
        """Run a batch, forward or forward and backward."""
        if self.planning:
            self._run("plan_steps", self._values)
        self._run(self._forward, self._values)
        if self.training:
            self._run(self._backward, self._given)

    def results(self) -> Results:
        """The results of the last call, by the names of `expected`."""
        from fastmask_kernels.cuda.runtime.device import to_host

        if not self.training:
            return {"out": to_host(self._values["out"])}
        names = ("dx", "dkernel", "drecurrent_kernel", "dbias")
        return {name: to_host(self._given[name]) for name in names}
