"""Batches by valid steps: what each process gets, and training on two processes equals one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastmask as fm

pytestmark = pytest.mark.optional
torch = pytest.importorskip("torch", reason="torch is not installed")

from fastmask.torch import StepsBatchSampler

EXAMPLE = Path(__file__).parents[1] / "examples" / "train_ragged_ddp.py"


def ragged_lengths(count: int) -> Any:
    random = np.random.default_rng(11)
    return np.minimum(random.lognormal(3, 1, count).astype(int), 400)


def batches_of(lengths: Any, steps: int, replicas: int, epoch: int = 0, **options: Any) -> Any:
    found = []
    for rank in range(replicas):
        sampler = StepsBatchSampler(lengths, steps, replicas, rank, **options)
        sampler.set_epoch(epoch)
        found.append(list(sampler))
        assert len(found[-1]) == len(sampler)
    return found


def test_every_row_once_and_work_evened_out() -> None:
    lengths = ragged_lengths(3000)
    for replicas in (1, 2, 8):
        found = batches_of(lengths, 2000, replicas)
        assert len({len(batches) for batches in found}) == 1
        rows = [row for batches in found for batch in batches for row in batch]
        assert sorted(rows) == list(range(3000))
        work = np.array([[lengths[batch].sum() for batch in batches] for batches in found])
        assert 2000 * (1 - 1 / work.shape[1]) < work.mean() <= 2000
        assert (work.max(0) - work.min(0)).max() <= 4  # the shortest rows come last
        assert np.ptp(work.sum(0)) <= 2 * lengths.max()


def test_order() -> None:
    lengths = ragged_lengths(200)
    first = batches_of(lengths, 300, 2, epoch=3, seed=5)
    assert batches_of(lengths, 300, 2, epoch=3, seed=5) == first
    assert batches_of(lengths, 300, 2, epoch=4, seed=5) != first
    assert batches_of(lengths, 300, 2, epoch=3, seed=6) != first
    fixed = batches_of(lengths, 300, 1, shuffle=False)[0]
    assert [row for batch in fixed for row in sorted(batch)] == list(range(200))


def test_ranks_share_the_batches_of_one_process() -> None:
    lengths = ragged_lengths(500)
    one, two = batches_of(lengths, 1000, 1)[0], batches_of(lengths, 500, 2)
    assert [sorted(batch) for batch in one] == [sorted(a + b) for a, b in zip(*two, strict=True)]


def test_few_and_odd_rows() -> None:
    for lengths in ([0, 0, 0], [900, 1, 1], [1000] * 7, torch.tensor([5, 0, 3])):
        for replicas in (1, 2, 3):
            found = batches_of(lengths, 10, replicas)
            rows = [row for batches in found for batch in batches for row in batch]
            assert sorted(rows) == list(range(len(lengths)))
            assert all(batch for batches in found for batch in batches)
    assert batches_of([], 10, 2) == [[], []]


def test_errors() -> None:
    for arguments, kind, message in (
        (([1, 2], 0), ValueError, "steps must be at least 1, not 0"),
        (([1, -2], 3), ValueError, "lengths must be at least 0, not -2"),
        (([[1, 2]], 3), ValueError, r"one for each row, .* not int64 of shape \(1, 2\)"),
        (([1.5], 3), ValueError, "lengths must be integers"),
        (
            ([([1, 2], [3, 4]), ([5], [6])], 3),
            ValueError,
            r"\[len\(row\) for row .* list of tuple$",
        ),
        (([torch.ones(2), torch.ones(3)], 3), ValueError, "one for each row, .* list of Tensor$"),
        ((fm.ragged([[1, 2], [3]]), 3), ValueError, "one for each row, .* not Ragged$"),
        (([1, 2], 3, 2, 2), ValueError, "rank must be less than num_replicas=2, not 2"),
        (([1, 2], 3, 0), ValueError, "num_replicas must be at least 1"),
        (([1, 2], 3, 3), ValueError, "lengths must have a row for each of 3 processes"),
        (([1, 2], 3.5), TypeError, "steps must be an integer"),
    ):
        with pytest.raises(kind, match=message):
            StepsBatchSampler(*arguments)
    with pytest.raises(ValueError, match="epoch must be at least 0"):
        StepsBatchSampler([1], 3).set_epoch(-1)


@pytest.mark.slow
def test_two_processes_learn_what_one_learns(tmp_path: Path) -> None:
    if not torch.distributed.is_available():
        pytest.skip("this torch has no torch.distributed")
    two = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    for name, launcher in (("one", []), ("two", two)):
        options = ["--epochs", "4", "--sentences", "300", "--units", "16", "--steps", "400"]
        command = [sys.executable, *launcher, str(EXAMPLE), *options, "--save"]
        done = subprocess.run(
            [*command, str(tmp_path / name)], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        assert "epoch 3" in done.stdout
    one, other = (torch.load(tmp_path / name) for name in ("one", "two"))
    assert one.keys() == other.keys()
    for name, weight in one.items():
        np.testing.assert_allclose(weight, other[name], atol=1e-5, rtol=0)
