"""A GPU for tests of fastmask.torch: a real one, or a stand-in.

The fixture `gpu` gives the device for tensors, and records the launches:

    with a GPU         kernels run on it
    in the simulator   kernels run in Numba's simulator (NUMBA_ENABLE_CUDASIM=1)
    else               the reference computes instead

Without a GPU tensors are on the CPU, whose device type poses as CUDA; they have a
`__cuda_array_interface__` like torch's tensors on a GPU, and torch.cuda has streams that are mere
numbers.
"""

from __future__ import annotations

import contextlib
import contextvars
import os
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from fastmask.backends.cuda import torch as owner
from fastmask.torch import _cuda, _device
from fastmask_kernels.cells import Cell
from fastmask_kernels.cells.table import CellKernels

SIMULATED = os.environ.get("NUMBA_ENABLE_CUDASIM") == "1"
ON_GPU = not SIMULATED and torch.cuda.is_available()


class Stream:
    """A stream that is a mere number."""

    def __init__(self, handle: int) -> None:
        self.cuda_stream = handle
        self.waited: list[Event] = []

    def wait_event(self, event: Event) -> None:
        self.waited.append(event)


class Event:
    """An event on a stream."""

    stream: Stream

    def record(self, stream: Stream) -> None:
        self.stream = stream


class GPU:
    """The device for tests, and what was launched on it."""

    def __init__(self) -> None:
        self.device = torch.device("cuda", 0) if ON_GPU else torch.device("cpu")
        self.launches: list[tuple[str, int]] = []  # names and streams
        self.forms: list[tuple[str, str]] = []  # names, and what `use_weights` chose
        self.stream = Stream(7)
        self.capturing = False
        self.recorded: list[tuple[Any, Stream]] = []  # tensors that another stream reads

    def count(self, name: str) -> int:
        """Number of launches of a kernel."""
        return sum(launched == name for launched, _ in self.launches)


class Watched:
    """The kernels, with their calls and streams recorded."""

    def __init__(self, kernels: Any, gpu: GPU) -> None:
        self._kernels, self._gpu, self._stream = kernels, gpu, 0

    @contextlib.contextmanager
    def use_stream(self, handle: int) -> Iterator[None]:
        self._stream = handle
        # The simulator has one stream, which has the number 0.
        with self._kernels.use_stream(handle) if ON_GPU else contextlib.nullcontext():
            yield
        self._stream = 0

    def __getattr__(self, name: str) -> Any:
        if name in _CHOICES and not (ON_GPU or SIMULATED):
            return _CHOICES[name]
        function = getattr(self._kernels, name)
        return function if name.endswith("_size") else self._watched(name, function)

    def kernels_of(self, cell: Cell) -> CellKernels:
        """The kernels of a cell of a formula."""
        size, *functions = self._kernels.kernels_of(cell)
        return CellKernels(size, *(self._watched(f.__name__, f) for f in functions))

    def _watched(self, name: str, function: Any) -> Any:
        if not hasattr(function, "unchecked"):
            return function

        def call(*args: Any) -> None:
            self._gpu.launches.append((name, self._stream))
            self._gpu.forms.append((name, self.chosen_weights()))
            function(*(args if ON_GPU or SIMULATED else map(as_host_array, args)))

        return call


@contextlib.contextmanager
def _lend(function: Any, exact: bool = False) -> Iterator[None]:
    assert callable(function)
    assert isinstance(exact, bool)
    yield


_form = contextvars.ContextVar("form", default="float32")


@contextlib.contextmanager
def _use_weights(name: str) -> Iterator[None]:
    token = _form.set(name)
    yield
    _form.reset(token)


# What the reference does not have.
_CHOICES = {
    "use_products": _lend,
    "use_memory": _lend,
    "on_device": contextlib.nullcontext,
    "use_weights": _use_weights,
    "chosen_weights": _form.get,
}


class _Memory:
    def __init__(self, interface: dict[str, Any]) -> None:
        self.__array_interface__ = {**interface, "version": 3}


def as_host_array(value: Any) -> Any:
    """A NumPy array over the host memory that a `__cuda_array_interface__` describes."""
    if isinstance(value, np.ndarray):
        raise TypeError("an array of the host on its way to a GPU")
    interface = getattr(value, "__cuda_array_interface__", None)
    if interface is None:
        return value
    if 0 in interface["shape"]:
        return np.empty(interface["shape"], interface["typestr"])
    return np.asarray(_Memory(interface))


def _interface(tensor: Any) -> dict[str, Any]:
    """The array interface as torch has it, for CPU tensors."""
    if tensor.requires_grad:
        raise RuntimeError("Can't get __cuda_array_interface__ on Variable that requires grad")
    array = tensor.numpy()
    found = dict(array.__array_interface__)
    strides = None if tensor.is_contiguous() else array.strides
    address = array.ctypes.data if array.size else 0
    return {**found, "data": (address, False), "strides": strides, "version": 2}


def _kernels() -> Any:
    if ON_GPU or SIMULATED:
        from fastmask_kernels import cuda

        return cuda
    from fastmask_kernels import reference

    return reference


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[GPU]:
    gpu = GPU()
    if not ON_GPU:
        monkeypatch.setattr(_device, "CUDA", "cpu")
        monkeypatch.setattr(torch.Tensor, "__cuda_array_interface__", property(_interface))
        monkeypatch.setattr(
            torch.Tensor, "record_stream", lambda tensor, s: gpu.recorded.append((tensor, s))
        )
        monkeypatch.setattr(torch.cuda, "current_stream", lambda _: gpu.stream)
        monkeypatch.setattr(torch.cuda, "Event", Event)
        monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: gpu.capturing)
        monkeypatch.setattr(owner, "as_tensor", lambda view: torch.from_numpy(as_host_array(view)))
    _forget()
    monkeypatch.setattr(_cuda, "import_module", lambda _: Watched(_kernels(), gpu))
    yield gpu
    _forget()


def _forget() -> None:
    _cuda.Cuda.only.cache_clear()
    _cuda._full_plan.cache_clear()
    _cuda._why_not.cache_clear()
    _cuda._why_no_kernels.cache_clear()
