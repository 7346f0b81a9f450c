"""torch as the owner of arrays on a GPU: its streams, its memory and its matrix products.

torch is imported where it is used: whoever has one of its tensors has imported it already.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..._typing import OnDevice


class TorchLibrary:
    """What the kernels borrow from torch, see `fastmask_kernels.cuda`."""

    name = "torch"

    def stream(self, device: int) -> int:
        """The handle of the stream that torch computes on."""
        import torch

        handle: int = torch.cuda.current_stream(device).cuda_stream
        return handle

    def empty(self, shape: tuple[int, ...], dtype: np.dtype[Any], like: OnDevice) -> Any:
        """Uninitialized memory from torch's cache, on the device of `like`."""
        import torch

        place = like.device if isinstance(like, torch.Tensor) else _device_of(like)
        return torch.empty(shape, dtype=getattr(torch, np.dtype(dtype).name), device=place)

    def multiply(
        self,
        out: OnDevice,
        a: OnDevice,
        b: OnDevice,
        transpose_a: bool,
        transpose_b: bool,
        accumulate: bool,
    ) -> None:
        """out = a b, or out += a b, on torch's current stream and in its precision.

        Args:
            out: (M, N), C-contiguous as all three, float32 or float64.
            a: (M, K), or (K, M) with `transpose_a`.
            b: (K, N), or (N, K) with `transpose_b`.
            transpose_a: multiply with the transpose of a.
            transpose_b: multiply with the transpose of b.
            accumulate: add to what `out` holds.
        """
        import torch

        to, left, right = map(as_tensor, (out, a, b))
        left, right = left.t() if transpose_a else left, right.t() if transpose_b else right
        if accumulate:
            to.addmm_(left, right)
        else:
            torch.mm(left, right, out=to)


def as_tensor(view: OnDevice) -> Any:
    """An array on a device as a tensor that shares its memory.

    The device must be named, or torch would copy to the host.
    """
    import torch

    if isinstance(view, torch.Tensor):
        return view
    return torch.as_tensor(view, device=_device_of(view))


def _device_of(view: Any) -> Any:
    """The torch device of a view."""
    import torch

    return torch.device("cuda", view.device)
