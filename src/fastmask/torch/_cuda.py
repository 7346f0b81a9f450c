"""The kernels for CUDA tensors, on the stream that torch computes on, with torch's products."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from functools import cache, partial
from importlib import import_module
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.weak import WeakIdKeyDictionary

from ..backends.base import KernelInput
from ..backends.cell import Cell, KernelName, kernel_in
from ..backends.cuda.arrays import MOST_KEPT
from ..backends.cuda.torch import TorchLibrary
from ..backends.plan import Plan, full_plans
from ..backends.recurrent import pack
from ..masks.mask import Mask
from . import _device
from ._cells import TorchCell, Weights
from ._masks import check_tensor, count_misread
from ._parts import Part, whole
from ._passes import Pass, copies_to_train, run_by_table
from ._streams import Shared, Stamp, capturing, countable

_DTYPES: dict[Any, np.dtype[Any]] = {
    torch.float32: np.dtype(np.float32),
    torch.float64: np.dtype(np.float64),
}
_THREADS = 1  # the last argument of the kernels, which matters only on the CPU


class Cuda:
    """See `TensorBackend`. The host waits for a device only to learn how many steps are valid."""

    def __init__(self) -> None:
        self._kernels = import_module("fastmask_kernels.cuda")
        self._library = TorchLibrary()
        self._plans: Any = WeakIdKeyDictionary()  # by the mask that the user passed

    @staticmethod
    @cache
    def only() -> Cuda:
        """The only instance."""
        return Cuda()

    sees_arrays = steps_in_place = False

    def run(
        self, kernel: KernelName, outputs: Sequence[Tensor], inputs: Sequence[KernelInput]
    ) -> None:
        made = [_room_for(out) for out in outputs]
        self.call(kernel, made, (*inputs, _THREADS))
        for out, found in zip(outputs, made, strict=True):
            if found is not out:
                out.copy_(found)

    def call(
        self,
        kernel: KernelName,
        outputs: Sequence[Tensor],
        inputs: Sequence[KernelInput],
        like: Tensor | None = None,
    ) -> None:
        with self._lending(outputs[0] if like is None else like):
            kernel_in(self._kernels, kernel)(*outputs, *map(_as_kernels_take, inputs))

    @contextmanager
    def _lending(self, like: Tensor) -> Iterator[None]:
        """Let kernels use torch's stream on the device of `like`, its products and its memory."""

        def allocate(size: int, _device: int) -> Tensor:
            return like.new_empty(size, dtype=torch.uint8)

        table = self._kernels
        with (
            table.use_stream(self._library.stream(like.device.index)),
            # Plans are cut to the valid steps, which saves copies.
            table.use_products(self._library.multiply, exact=True),
            table.use_memory(allocate),
        ):
            yield

    def views(self, *tensors: Tensor) -> Sequence[Tensor]:
        return list(map(self.view, tensors))

    def outputs(
        self, cell: Cell, like: Tensor, shape: tuple[int, int, int]
    ) -> tuple[Tensor, list[Tensor], Sequence[Tensor]]:
        batch, _, units = shape
        out, *last = (like.new_empty(one) for one in (shape, *[(batch, units)] * cell.states))
        return out, last, [like.new_empty(0, width * units) for width in cell.saved]

    def full_bias(self, bias: Tensor | None, shape: tuple[int, ...], like: Tensor) -> Tensor:
        full: Tensor = like.new_zeros(shape)
        if bias is not None:
            full[: 1 if bias.dim() < len(shape) else None] = bias
        return full

    def view(self, tensor: Tensor) -> Tensor:
        return tensor.detach().resolve_neg().contiguous()

    def weights(self, weights: Weights) -> list[Tensor]:
        kernel, recurrent_kernel, *others = weights
        return [kernel.t(), recurrent_kernel.t(), *others]

    def packed_room(
        self,
        cell: Cell,
        kernel: Tensor,
        recurrent_kernel: Tensor,
        kept: bool,
    ) -> Tensor:
        with self._kernels.on_device(kernel.device.index or 0):  # the size depends on the device
            size = self.size_of(cell)(len(kernel), len(recurrent_kernel), _DTYPES[kernel.dtype])
        return kernel.new_empty(size)

    def size_of(self, cell: Cell) -> Callable[[int, int, np.dtype[Any]], int]:
        """A function of features, units and dtype that returns the length of packed weights.

        Raises:
            ValueError: when it is called, if there are no kernels for a formula.
        """
        size: Callable[[int, int, np.dtype[Any]], int] = kernel_in(self._kernels, cell.packed_size)
        return size

    @property
    def form(self) -> str:
        """The form of recurrent weights that the caller chose."""
        form: str = self._kernels.chosen_weights()
        return form

    def plan(self, mask: Any, batch: int, time: int, like: Tensor) -> Plan:
        return self.plan_of(mask, batch, time, like.device)

    def plan_of(
        self,
        mask: Mask | Tensor | None,
        batch: int,
        time: int,
        device: torch.device,
        given: object = None,
    ) -> Plan:
        """See `TensorBackend`.

        A plan is kept with a `Mask`, which never changes, and with a tensor until it changes.
        """
        if mask is None:
            full = _full_plan.make if capturing() else _full_plan
            return Plan(*full(batch, time, device)())
        holder = mask if isinstance(mask, Mask) else given
        if not (isinstance(holder, Mask) or countable(holder)):
            return self._new_plan(mask, device)
        stamp, plans = self._plans.get(holder, (None, {}))
        if isinstance(holder, Tensor) and not (stamp and stamp.fits(holder)):
            stamp, plans = Stamp(holder), {}
        form = device, None if isinstance(mask, Mask) else mask.stride()  # perhaps transposed
        if form not in plans:
            plan = self._new_plan(mask, device)
            if capturing():
                return plan
            plans = {**plans, form: Shared(plan)}
            self._plans[holder] = stamp, plans
        return Plan(*plans[form]())

    def _new_plan(self, mask: Mask | Tensor, device: torch.device) -> Plan:
        if isinstance(mask, Mask):
            valid = np.array(mask)  # from another GPU's memory too
            offsets, steps, order = self.plan_steps(torch.from_numpy(valid).to(device))
            return Plan(offsets, steps[: np.count_nonzero(valid)], order)
        mask = mask.to(device)
        offsets, steps, order = self.plan_steps(mask != 0)
        facts = offsets[-1:]
        misread = count_misread(mask)
        if isinstance(misread, Tensor):
            facts = torch.cat([facts, misread[None]])
        count, *bad = facts.tolist()  # here the host waits
        if any(bad):
            check_tensor(mask)
        return Plan(offsets, steps[:count], order)

    def plan_steps(self, valid: Tensor) -> list[Tensor]:
        """offsets, steps and order of a bool mask (B, T), where steps has room for B * T."""
        batch, time = valid.shape
        made = [
            valid.new_empty(size, dtype=torch.int64) for size in (batch + 1, batch * time, batch)
        ]
        self.call("plan_steps", made, (valid,))
        return made

    def parts(
        self,
        plan: Plan,
        time: int,
        step_bytes: int,
    ) -> list[Part]:
        """See `TensorBackend`; one part, because the host does not know where rows begin."""
        return whole(plan, time)

    def chosen(self) -> Callable[[], AbstractContextManager[Any]]:
        """See `TensorBackend`: the form of recurrent weights."""
        return partial(self._kernels.use_weights, self.form)

    def share(self, tensors: Sequence[Tensor]) -> Callable[[], Sequence[Tensor]]:
        return Shared(tensors)

    def put_half(self, out: Tensor, half: Tensor, direction: int) -> None:
        out.chunk(2, 2)[direction].copy_(half.flip(1) if direction else half)

    def half_of(self, dout: Tensor, direction: int) -> Tensor:
        half = dout.chunk(2, 2)[direction]
        return half.flip(1) if direction else half

    def packed_to_train(
        self, cell: TorchCell, weights: Sequence[Sequence[Tensor]]
    ) -> tuple[list[Tensor], list[Any]]:
        def pack_one(own: Weights) -> Any:
            return pack(self, cell, self.weights(own), cell.settings)

        return copies_to_train(cell, weights, pack_one)

    def run_part(self, this: Pass, part: Part, found: Weights) -> None:
        run_by_table(self, this, part, found)


def _room_for(out: Tensor) -> Tensor:
    """`out`, or contiguous memory of its shape if it is not contiguous."""
    contiguous = torch.contiguous_format
    return out if out.is_contiguous() else torch.empty_like(out, memory_format=contiguous)


def _as_kernels_take(value: KernelInput) -> Any:
    if isinstance(value, Tensor):
        return value.detach().resolve_neg().contiguous()
    return value


def _counting(count: int, step: int, device: torch.device) -> Tensor:
    return torch.arange(count, device=device) * step


def _shared(*arrays: Tensor) -> Shared:
    return Shared(arrays)


_full_plan = full_plans(_counting, _shared, MOST_KEPT)


def why_not_on(device: torch.device, cell: Cell) -> str:
    """Why a cell's kernels cannot run on a CUDA device; empty if they can."""
    return _why_not(device.index) or _why_no_kernels(cell, Cuda.only().form)


@cache
def _why_no_kernels(cell: Cell, _form: str) -> str:
    """Why there are no kernels for a cell with this form of recurrent weights; else empty."""
    try:
        Cuda.only().size_of(cell)(1, 1, _DTYPES[torch.float32])
    except ValueError as error:
        return str(error)
    return ""


@cache
def _why_not(index: int) -> str:
    device = torch.device(_device.CUDA, index)
    # In a thread of its own: torch.export and others replace tensors by fakes in this one.
    with ThreadPoolExecutor(1) as threads:
        error = threads.submit(_try_kernels, device).exception()
    return f"the CUDA kernels cannot run on {device}: {error}" if error else ""


def _try_kernels(device: torch.device) -> None:
    """Run a small kernel: needs numba-cuda, a driver, and a compiler that knows the device."""
    valid = torch.empty(1, 1, dtype=torch.bool, device=device)
    lengths = torch.ones(1, dtype=torch.int64, device=device)
    Cuda.only().call("mask_from_lengths", [valid], (lengths, False))
