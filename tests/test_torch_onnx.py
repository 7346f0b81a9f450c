"""fastmask.torch's modules in torch's ONNX exporters, which have no operator for a mask."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import pytest

import fastmask as fm

pytestmark = [
    pytest.mark.optional,
    pytest.mark.filterwarnings("ignore"),  # of torch's own, while it exports; and of the fallback
]
torch = pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("onnx", reason="onnx is not installed")

from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

import fastmask.torch as ft


class Masked(torch.nn.Module):  # type: ignore[misc]  # torch is Any here
    """A module that gets a mask."""

    def __init__(self, inner: Any) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Any, mask: Any) -> Any:
        return self.inner(x, mask=mask)[0]


class Packing(Masked):
    """A module that gets a packed sequence."""

    def forward(self, x: Any, lengths: Any) -> Any:
        packed = pack_padded_sequence(x, lengths, batch_first=True)
        return pad_packed_sequence(self.inner(packed)[0], batch_first=True)[0]


X, MASK = torch.randn(3, 5, 3), torch.ones(3, 5).tril(2) > 0


def export(model: Any, second: Any, dynamo: bool) -> None:
    if dynamo:
        pytest.importorskip("onnxscript", reason="onnxscript is not installed")
    torch.onnx.export(model.eval(), (X, second), BytesIO(), dynamo=dynamo, verbose=False)


@pytest.mark.parametrize("dynamo", [True, False])
@pytest.mark.parametrize("own", [True, False])
def test_a_mask_is_refused_with_what_to_do(own: bool, dynamo: bool) -> None:
    options = {"batch_first": True}
    inner = ft.Recurrent(fm.cells.gru, 3, 5, **options) if own else ft.GRU(3, 5, **options)
    message = "Recurrent .* exported to ONNX" if own else "mask of .*GRU .* ONNX: .* dynamo=False"
    with pytest.raises(Exception, match=message):  # of torch's own class, with ours in its text
        export(Masked(inner), MASK, dynamo)
    for strict in (True, False):  # afterwards, too
        program = torch.export.export(Masked(inner), (X, MASK), strict=strict).module()
        assert torch.allclose(program(X, MASK), inner(X, mask=MASK)[0])


def test_a_model_that_packs_can_be_exported_as_the_error_says() -> None:
    export(Packing(ft.GRU(3, 5, batch_first=True)), torch.tensor([5, 4, 3]), dynamo=False)
    with pytest.raises(Exception, match="export"):  # torch.nn's modules neither
        export(Packing(torch.nn.GRU(3, 5, batch_first=True)), torch.tensor([5, 4, 3]), dynamo=True)


def test_a_mask_in_torch_jit() -> None:
    with pytest.raises(NotImplementedError, match=r"by torch\.jit: use torch\.export, or"):
        torch.jit.trace(Masked(ft.GRU(3, 5, batch_first=True)), (X, MASK))
