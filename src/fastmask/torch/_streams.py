"""Tensors kept between calls on a GPU: which streams may read them, and until when.

torch computes on many streams, which wait for each other only when they are told to. Users do not
know what a module keeps, so the module has to see to that itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor


class Shared:
    """Tensors that are made on one stream, the current one, and read on any.

    Args:
        tensors: on one device.
    """

    def __init__(self, tensors: Sequence[Tensor]) -> None:
        self._tensors = tensors
        self._stream = torch.cuda.current_stream(tensors[0].device)
        self._made = torch.cuda.Event()
        self._made.record(self._stream)

    def __call__(self) -> Sequence[Tensor]:
        """The tensors, for kernels on the current stream, which waits; the host does not."""
        stream = torch.cuda.current_stream(self._tensors[0].device)
        # A capture begins when the device has done all its work, and may not wait for any.
        if stream != self._stream and not capturing():
            stream.wait_event(self._made)
            for tensor in self._tensors:
                tensor.record_stream(stream)
        return self._tensors


def capturing() -> bool:
    """Whether what is launched now is recorded in a CUDA graph, to be run later."""
    return bool(torch.cuda.is_current_stream_capturing())


class Stamp:
    """Detects changes of a tensor without synchronizing.

    torch counts its changes of a tensor's memory as versions; changes by `tensor.data` and other
    libraries do not count. The memory is held, so that no other tensor gets its address.

    Args:
        tensor: a tensor that counts its versions, see `countable`.
    """

    __slots__ = ("_held", "_version")

    def __init__(self, tensor: Tensor) -> None:
        self._held = tensor.detach()
        self._version = tensor._version

    def fits(self, tensor: Tensor) -> bool:
        """Whether the tensor has not changed."""
        held = self._held
        return (
            countable(tensor)
            and tensor._version == self._version
            and tensor.data_ptr() == held.data_ptr()
            and tensor.shape == held.shape
            and tensor.stride() == held.stride()
            and tensor.dtype == held.dtype
        )


def countable(value: Any) -> bool:
    """Whether `value` is a tensor that counts its versions; those of inference mode do not."""
    return isinstance(value, Tensor) and not value.is_inference()
