"""LSTM, GRU and RNN: torch.nn's modules, over the valid steps only."""

from __future__ import annotations

from typing import Any

import torch

from ._recurrent import Recurrent


class LSTM(Recurrent):
    """torch.nn.LSTM over the valid steps only.

    The weights, their names and their initial values are those of torch.nn.LSTM.

    Args:
        input_size: F, the number of input features.
        hidden_size: H, the number of units.
        num_layers: the number of stacked layers.
        bias: whether the layers have biases.
        batch_first: whether input and output are (B, T, F) instead of (T, B, F).
        dropout: dropout rate between layers, in training.
        bidirectional: whether each layer also runs backwards.
        proj_size: size of a projection of h; computed by torch's own operator, with packed
            sequences if there is a mask.
        device: device of the weights.
        dtype: dtype of the weights.
        recompute: keep only the states for backward, and compute the gates again there: two
            numbers for each unit and valid step instead of six, for a little more time.
        zero_output_for_mask: whether the output at masked steps is zero; else it is the
            previous output, zero before the first valid step.

    Raises:
        TypeError: an argument has a wrong type.
        ValueError: an argument is out of its range.

    Source:
        `torch.nn.LSTM`.

    Examples:
        >>> import torch
        >>> from fastmask.torch import LSTM
        >>> lstm = LSTM(3, 5, batch_first=True)
        >>> mask = torch.tensor([[True, True, False], [True, True, True]])
        >>> output, (h, c) = lstm(torch.randn(2, 3, 3), mask=mask)
        >>> output.shape, bool(output[0, 2].any())
        (torch.Size([2, 3, 5]), False)
        >>> bool((h[0, 0] == output[0, 1]).all())
        True
    """

    _original = torch.nn.LSTM

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        device: Any = None,
        dtype: Any = None,
        *,
        recompute: bool = False,
        zero_output_for_mask: bool = True,
    ) -> None:
        super().__init__("LSTM", **_given(locals()))


class GRU(Recurrent):
    """torch.nn.GRU over the valid steps only.

    The weights, their names and their initial values are those of torch.nn.GRU.

    Args:
        input_size: F, the number of input features.
        hidden_size: H, the number of units.
        num_layers: the number of stacked layers.
        bias: whether the layers have biases.
        batch_first: whether input and output are (B, T, F) instead of (T, B, F).
        dropout: dropout rate between layers, in training.
        bidirectional: whether each layer also runs backwards.
        device: device of the weights.
        dtype: dtype of the weights.
        recompute: keep only the states for backward, and compute the gates again there.
        zero_output_for_mask: as in `LSTM`.
        proj_size: for `LSTM` only, as in torch.nn.

    Raises:
        TypeError: an argument has a wrong type.
        ValueError: an argument is out of its range.

    Source:
        `torch.nn.GRU`.

    Examples:
        >>> import torch
        >>> from fastmask.torch import GRU
        >>> output, h = GRU(3, 5)(torch.randn(4, 2, 3))
        >>> output.shape, h.shape
        (torch.Size([4, 2, 5]), torch.Size([1, 2, 5]))
    """

    _original = torch.nn.GRU

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: Any = None,
        dtype: Any = None,
        *,
        recompute: bool = False,
        zero_output_for_mask: bool = True,
        proj_size: int | None = None,
    ) -> None:
        super().__init__("GRU", **_without_projection(locals()))


class RNN(Recurrent):
    """torch.nn.RNN over the valid steps only.

    The weights, their names and their initial values are those of torch.nn.RNN.

    Args:
        input_size: F, the number of input features.
        hidden_size: H, the number of units.
        num_layers: the number of stacked layers.
        nonlinearity: "tanh" or "relu".
        bias: whether the layers have biases.
        batch_first: whether input and output are (B, T, F) instead of (T, B, F).
        dropout: dropout rate between layers, in training.
        bidirectional: whether each layer also runs backwards.
        device: device of the weights.
        dtype: dtype of the weights.
        recompute: accepted for symmetry; this layer keeps only the states in any case.
        zero_output_for_mask: as in `LSTM`.
        proj_size: for `LSTM` only, as in torch.nn.

    Raises:
        TypeError: an argument has a wrong type.
        ValueError: an argument is out of its range.

    Source:
        `torch.nn.RNN`.

    Examples:
        >>> import torch
        >>> from fastmask.torch import RNN
        >>> output, h = RNN(3, 5, nonlinearity="relu")(torch.randn(4, 3))
        >>> output.shape, h.shape
        (torch.Size([4, 5]), torch.Size([1, 5]))
    """

    _original = torch.nn.RNN

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        nonlinearity: str = "tanh",
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: Any = None,
        dtype: Any = None,
        *,
        recompute: bool = False,
        zero_output_for_mask: bool = True,
        proj_size: int | None = None,
    ) -> None:
        options = _without_projection(locals())
        if nonlinearity not in ("tanh", "relu"):
            raise ValueError(f"nonlinearity must be 'tanh' or 'relu', not {nonlinearity!r}")
        super().__init__(f"RNN_{options.pop('nonlinearity').upper()}", **options)
        self.nonlinearity = nonlinearity


def _given(local: dict[str, Any]) -> dict[str, Any]:
    """The arguments of an `__init__`, from its `locals()`."""
    return {name: value for name, value in local.items() if name not in ("self", "__class__")}


def _without_projection(local: dict[str, Any]) -> dict[str, Any]:
    size = local["proj_size"]
    if size is not None:
        raise ValueError(f"proj_size is for LSTM only, not for GRU and RNN (proj_size={size!r})")
    return {**_given(local), "proj_size": 0}
