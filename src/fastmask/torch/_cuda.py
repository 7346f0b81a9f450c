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

from ..backends.cuda.arrays import MOST_KEPT
from ..backends.cuda.torch import TorchOwner
from ..backends.keeping import keeping
from ..masks.mask import Mask
from ..masks.plan import Plan, full_plan_size
from . import _column
from ._cells import Cell, Weights
from ._masks import check_tensor, count_misread
from ._parts import Part, whole
from ._streams import Shared, Stamp, capturing, countable

_DTYPES = {torch.float32: np.dtype(np.float32), torch.float64: np.dtype(np.float64)}
_THREADS = 1  # the last argument of the kernels, which counts on the CPU alone


class Cuda:
    """See `Column`. The host waits for a device only to learn how many steps are valid."""

    def __init__(self) -> None:
        self._kernels = import_module("fastmask_kernels.cuda")
        self._owner = TorchOwner()
        self._plans: Any = WeakIdKeyDictionary()  # by what the user gave as a mask

    @staticmethod
    @cache
    def only() -> Cuda:
        """The one that there is."""
        return Cuda()

    def run(self, kernel: str, outputs: Sequence[Tensor], *inputs: Any) -> None:
        """See `Column`."""
        made = [_room_for(out) for out in outputs]
        self.call(kernel, made, *inputs, _THREADS)
        for out, found in zip(outputs, made, strict=True):
            if found is not out:
                out.copy_(found)

    def call(self, kernel: str, outputs: Sequence[Tensor], *inputs: Any) -> None:
        """As `run`, with all arguments."""
        with self._lending(outputs[0]):
            getattr(self._kernels, kernel)(*outputs, *map(_as_kernels_take, inputs))

    @contextmanager
    def _lending(self, like: Tensor) -> Iterator[None]:
        """Kernels get torch's stream on the device of `like`, its products and its memory."""

        def allocate(size: int, _device: int) -> Tensor:
            return like.new_empty(size, dtype=torch.uint8)

        column = self._kernels
        with (
            column.use_stream(self._owner.stream(like.device.index)),
            # Plans are cut to the steps that there are, which saves copies.
            column.use_products(self._owner.multiply, exact=True),
            column.use_memory(allocate),
        ):
            yield

    def view(self, tensor: Tensor) -> Tensor:
        """See `Column`."""
        return tensor.detach().resolve_neg().contiguous()

    def weights(self, weights: Weights) -> list[Tensor]:
        """See `Column`."""
        return [weights.kernel.t(), weights.recurrent_kernel.t(), weights.bias]

    def pack(self, cell: Cell, weights: Weights) -> Tensor:
        """See `Column`."""
        arrays = self.weights(weights)
        kernel, recurrent_kernel, _ = arrays
        size = getattr(self._kernels, f"{cell.name}_packed_size")(
            len(kernel), len(recurrent_kernel), _DTYPES[kernel.dtype]
        )
        packed = kernel.new_empty(size)
        self.call(f"{cell.name}_pack", [packed], *arrays, *cell.flags)
        return packed

    def plan(
        self, mask: Any, batch: int, time: int, device: torch.device, given: Any = None
    ) -> Plan:
        """See `Column`.

        A plan is kept with a `Mask`, which never changes, and with a tensor until it does.
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
        self.call("plan_steps", made, valid)
        return made

    def parts(
        self,
        plan: Plan,
        time: int,
        step_bytes: int,  # noqa: ARG002 - there is one part
    ) -> list[Part]:
        """See `Column`; one, as the host does not know where the rows begin."""
        return whole(plan, time)

    def chosen(self) -> Callable[[], AbstractContextManager[Any]]:
        """See `Column`: the form of recurrent weights."""
        return partial(self._kernels.use_weights, self._kernels.chosen_weights())

    def share(self, tensors: Sequence[Any]) -> Callable[[], Sequence[Any]]:
        """See `Column`."""
        return Shared(tensors)

    def put_half(self, out: Tensor, half: Tensor, direction: int) -> None:
        """See `Column`."""
        out.chunk(2, 2)[direction].copy_(half.flip(1) if direction else half)

    def half_of(self, dout: Tensor, direction: int) -> Tensor:
        """See `Column`."""
        half = dout.chunk(2, 2)[direction]
        return half.flip(1) if direction else half


def _room_for(out: Tensor) -> Tensor:
    """`out`, or as much contiguous memory where it is not."""
    contiguous = torch.contiguous_format
    return out if out.is_contiguous() else torch.empty_like(out, memory_format=contiguous)


def _as_kernels_take(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.detach().resolve_neg().contiguous()
    return value


@keeping(lambda batch, time, _: full_plan_size(batch, time), MOST_KEPT)
def _full_plan(batch: int, time: int, device: torch.device) -> Shared:
    rows = torch.arange(batch + 1, device=device)
    return Shared([rows * time, torch.arange(batch * time, device=device), rows[:batch]])


def why_not_on(device: torch.device) -> str:
    """Why the kernels cannot run on a CUDA device; empty where they can."""
    return _why_not(device.index)


@cache
def _why_not(index: int) -> str:
    device = torch.device(_column.CUDA, index)
    # In a thread of its own: torch.export and others replace tensors by fakes in this one.
    with ThreadPoolExecutor(1) as threads:
        error = threads.submit(_try_kernels, device).exception()
    return f"the CUDA kernels cannot run on {device}: {error}" if error else ""


def _try_kernels(device: torch.device) -> None:
    """Run a small kernel: needs numba-cuda, a driver, and a compiler that knows the device."""
    valid = torch.empty(1, 1, dtype=torch.bool, device=device)
    lengths = torch.ones(1, dtype=torch.int64, device=device)
    Cuda.only().call("mask_from_lengths", [valid], lengths, False)
