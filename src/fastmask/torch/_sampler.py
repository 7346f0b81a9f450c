"""Batches by their number of valid steps, with about the same work for each process."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch.utils.data import Sampler

from .._checks import flag, whole_number
from .._typing import Ints
from ..backends.dispatch import as_array


class StepsBatchSampler(Sampler):
    """Batches of about the same number of valid steps, for one process or for many.

    A batch costs its number of valid steps here, so rows of any lengths can be in one batch, drawn
    at random, and need not be sorted into buckets. In data-parallel training all processes wait for
    the slowest one in each step: the rows of a training step are distributed so that each process
    has about the same number of valid steps. All have the same number of batches, and every row is
    drawn once per epoch; none is repeated or dropped.

    The number of rows differs between processes. A loss that is a mean over valid steps equals that
    of all processes together if each divides its sum by the mean of their numbers of steps.

    Args:
        lengths: the number of valid steps of each row of the data set, (N,).
        steps: the most valid steps in a batch of one process, except for what a whole row adds; all
            batches have about as many.
        num_replicas: the number of processes; by default that of torch.distributed, or one.
        rank: the number of this process; by default that of torch.distributed.
        shuffle: whether each epoch has a different order.
        seed: of the order, the same in all processes.

    Raises:
        TypeError: an argument has a wrong type.
        ValueError: an argument is out of its range, or there are fewer rows than processes.

    Source:
        `torch.utils.data.DistributedSampler`. Rows are assigned longest first, each to the process
        with the least work: R. L. Graham, "Bounds on Multiprocessing Timing Anomalies", 1969.

    Examples:
        >>> from fastmask.torch import StepsBatchSampler
        >>> sampler = StepsBatchSampler([5, 1, 4, 2, 3, 3], steps=9, shuffle=False)
        >>> list(sampler)
        [[0, 2, 1], [4, 5, 3]]
        >>> halves = [StepsBatchSampler([5, 1, 4, 2, 3, 3], 9, 2, rank) for rank in (0, 1)]
        >>> for half in halves:
        ...     half.set_epoch(1)
        >>> [len(half) for half in halves]
        [1, 1]
        >>> sorted(row for half in halves for batch in half for row in batch)
        [0, 1, 2, 3, 4, 5]
    """

    def __init__(
        self,
        lengths: Any,
        steps: int,
        num_replicas: int | None = None,
        rank: int | None = None,
        *,
        shuffle: bool = True,
        seed: int = 0,
    ) -> None:
        self._costs = _costs_of(lengths)
        self.num_replicas = _of_world(num_replicas, "num_replicas", 1, "get_world_size")
        self.rank = _of_world(rank, "rank", 0, "get_rank")
        if self.rank >= self.num_replicas:
            raise ValueError(f"rank must be less than num_replicas={self.num_replicas}, not {rank}")
        count = len(self._costs)
        if 0 < count < self.num_replicas:
            raise ValueError(f"lengths must have a row for each of {self.num_replicas} processes")
        self.steps = whole_number(steps, "steps", 1)
        self.shuffle, self.seed = flag(shuffle, "shuffle"), whole_number(seed, "seed", 0)
        self.epoch = 0
        wanted = -(-int(self._costs.sum()) // (self.steps * self.num_replicas))
        self._batches = min(wanted, count // self.num_replicas)

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of the next iteration; without a call each epoch has the same.

        Args:
            epoch: its number, the same in all processes.
        """
        self.epoch = whole_number(epoch, "epoch", 0)

    def __len__(self) -> int:
        return self._batches

    def __iter__(self) -> Iterator[list[int]]:
        order = np.arange(len(self._costs))
        if self.shuffle:
            generator = torch.Generator().manual_seed(self.seed + self.epoch)
            order = torch.randperm(len(order), generator=generator).numpy()
        for begin, end in self._cuts(self._costs[order]):
            yield self._dealt(order[begin:end])

    def _cuts(self, costs: Ints) -> Iterator[tuple[int, int]]:
        """Where the steps of all processes begin and end; each has a row for every process."""
        sums, begin = costs.cumsum(), 0
        for number in range(1, self._batches + 1):
            left = self._batches - number
            end = int(np.searchsorted(sums, sums[-1] * number / self._batches)) + 1
            end = max(begin + self.num_replicas, min(end, len(costs) - self.num_replicas * left))
            yield begin, end if left else len(costs)
            begin = end

    def _dealt(self, rows: Ints) -> list[int]:
        """The rows of a step that this process computes, longest first."""
        costs = self._costs[rows]
        hands = [(0, rank) for rank in range(self.num_replicas)]  # a heap of work so far and rank
        mine = []
        for row in np.argsort(-costs, kind="stable"):
            work, rank = heapq.heappop(hands)
            heapq.heappush(hands, (work + int(costs[row]), rank))
            if rank == self.rank:
                mine.append(int(rows[row]))
        return mine


_EXPECTED = "lengths must be integers, one for each row, as in [len(row) for row in data]"


def _costs_of(lengths: Any) -> Ints:
    """The cost of each row: its number of steps, at least 1."""
    try:
        array = as_array(lengths, "lengths")
    except (TypeError, ValueError) as error:
        what = type(lengths).__name__
        if isinstance(lengths, (list, tuple)):
            what += f" of {type(lengths[0]).__name__}"
        raise ValueError(f"{_EXPECTED}, not {what}") from error
    if array.ndim != 1 or (array.size and array.dtype.kind not in "iu"):
        raise ValueError(f"{_EXPECTED}, not {array.dtype} of shape {array.shape}")
    if array.size and array.min() < 0:
        raise ValueError(f"lengths must be at least 0, not {array.min()}")
    costs: Ints = np.maximum(array.astype(np.int64), 1)
    return costs


def _of_world(value: int | None, name: str, default: int, getter: str) -> int:
    if value is not None:
        return whole_number(value, name, default)
    distributed = torch.distributed
    if distributed.is_available() and distributed.is_initialized():
        return int(getattr(distributed, getter)())
    return default
