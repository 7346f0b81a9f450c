"""Train a tagger of ragged sentences on several processes, with jagged tensors and no padding.

    torchrun --nproc-per-node 2 examples/train_ragged_ddp.py
    python examples/train_ragged_ddp.py

Every word of a sentence has a tag that depends on the neighboring words. Sentences go as jagged
nested tensors through an embedding, a bidirectional LSTM of fastmask.torch and a linear layer.
`StepsBatchSampler` gives all processes batches with about the same number of words. Two processes
learn what one learns: their batches together are the same as its batches, and so are the weights,
up to rounding.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader

from fastmask.torch import LSTM, StepsBatchSampler

WORDS, TAGS = 200, 4


class Tagger(torch.nn.Module):
    """Scores of the tags of every word; jagged in, jagged out."""

    def __init__(self, units: int) -> None:
        super().__init__()
        self.words = torch.nn.Embedding(WORDS, 32)
        self.read = LSTM(32, units, bidirectional=True)
        self.out = torch.nn.Linear(2 * units, TAGS)

    def forward(self, ids: Any) -> Any:
        return self.out(self.read(self.words(ids))[0])


def sentences_of(count: int) -> list[tuple[Any, Any]]:
    """Words and tags: the tag says which of the words before and after are odd."""
    random = np.random.default_rng(0)
    made = []
    for length in np.minimum(1 + random.lognormal(2.5, 0.8, count).astype(int), 120):
        words = random.integers(WORDS, size=length)
        odd = np.pad(words % 2, 1)
        tags = odd[:-2] + 2 * odd[2:]
        made.append((torch.from_numpy(words), torch.from_numpy(tags)))
    return made


def batch_of(sentences: list[tuple[Any, Any]]) -> tuple[Any, Any]:
    words, tags = zip(*sentences, strict=True)
    return torch.nested.nested_tensor(list(words), layout=torch.jagged), torch.cat(tags)


def mean_count(count: int, processes: int) -> float:
    """The mean number of words of a batch over all processes."""
    if processes == 1:
        return count
    total = torch.tensor(float(count))
    dist.all_reduce(total)
    return total.item() / processes


def train(arguments: argparse.Namespace, rank: int, processes: int) -> Any:
    torch.manual_seed(0)  # the same weights everywhere
    tagger = Tagger(arguments.units)
    model = DistributedDataParallel(tagger) if processes > 1 else tagger
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5, momentum=0.9)
    sentences = sentences_of(arguments.sentences)
    lengths = [len(words) for words, _ in sentences]
    sampler = StepsBatchSampler(lengths, arguments.steps // processes, processes, rank)
    loader = DataLoader(sentences, batch_sampler=sampler, collate_fn=batch_of)
    for epoch in range(arguments.epochs):
        sampler.set_epoch(epoch)
        start, total, words_seen = time.perf_counter(), 0.0, 0
        for words, tags in loader:
            scores = model(words).values()
            loss = torch.nn.functional.cross_entropy(scores, tags, reduction="sum")
            optimizer.zero_grad()
            (loss / mean_count(len(tags), processes)).backward()  # gradients are averaged
            optimizer.step()
            total, words_seen = total + loss.item(), words_seen + len(tags)
        speed = words_seen / (time.perf_counter() - start)
        print(
            f"process {rank} epoch {epoch}: loss {total / words_seen:.4f}, {len(loader)} batches, "
            f"{words_seen} words, {speed:,.0f} a second"
        )
    return tagger


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--sentences", type=int, default=2000)
    parser.add_argument("--steps", type=int, default=1000, help="words per batch of all processes")
    parser.add_argument("--units", type=int, default=64)
    parser.add_argument("--save", type=Path, help="file for the final weights")
    arguments = parser.parse_args()
    processes = int(os.environ.get("WORLD_SIZE", "1"))  # torchrun sets it
    if processes > 1:
        torch.set_num_threads(max(1, (os.cpu_count() or 1) // processes))
        dist.init_process_group("gloo")
    rank = dist.get_rank() if processes > 1 else 0
    tagger = train(arguments, rank, processes)
    if arguments.save and rank == 0:
        torch.save(tagger.state_dict(), arguments.save)
    if processes > 1:
        dist.destroy_process_group()


if __name__ == "__main__":
    main()
