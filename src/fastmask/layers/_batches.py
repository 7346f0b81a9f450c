"""Data that comes in batches: generators, and the data loaders of Keras and torch."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any


def batches_in(data: Any, name: str) -> Iterator[Any] | None:
    """The inputs of each batch of a generator, a data loader or a `keras.utils.PyDataset`.

    A batch is not made before the previous one has been used.

    Args:
        data: the data.
        name: the argument's name, for the error message.

    Returns:
        An iterator, or None for data that is there all at once.

    Raises:
        TypeError: it is a data set of torch, which yields rows, not batches.
    """
    if _is_array_like(data):
        return None
    if _comes_from(data, "torch.utils.data", "Dataset"):
        raise TypeError(
            f"{name} must come in batches: put it into a torch.utils.data.DataLoader, "
            f"{type(data).__name__} holds single rows"
        )
    count = _number_of(data)
    if count is not None and hasattr(data, "__getitem__"):
        return (_inputs(data[number], name, (tuple, list)) for number in range(count))
    if not hasattr(data, "__iter__"):
        return None
    # A generator's lists are lists of sequences; loaders give lists where others give tuples.
    kinds = (tuple,) if hasattr(data, "__next__") else (tuple, list)
    return (_inputs(batch, name, kinds) for batch in data)


def _inputs(batch: Any, name: str, kinds: Any) -> Any:
    """The inputs of a batch; as in Keras, targets and weights may follow them."""
    if not isinstance(batch, kinds):
        return batch
    if not 1 <= len(batch) <= 3:
        raise ValueError(
            f"batches of {name} must be (inputs,), (inputs, targets) or (inputs, targets, "
            f"sample_weights), not a tuple of {len(batch)}"
        )
    return batch[0]


def _is_array_like(data: object) -> bool:
    """Whether it holds all data at once: an array, a table or a collection of Python's."""
    of_python = isinstance(data, Collection) and type(data).__module__ in (
        *("builtins", "collections", "array"),
    )
    arrays = ("shape", "__array__", "__array_interface__", "__cuda_array_interface__", "__dlpack__")
    return of_python or any(hasattr(type(data), name) for name in arrays)


def _number_of(data: object) -> int | None:
    known = getattr(data, "num_batches", None)
    if known is None and hasattr(data, "__len__"):
        known = len(data)
    return known if isinstance(known, int) else None


def _comes_from(data: object, module: str, name: str) -> bool:
    return any(
        cls.__name__ == name and cls.__module__.startswith(module) for cls in type(data).__mro__
    )
