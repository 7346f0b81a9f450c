"""fastmask.torch's modules on CUDA tensors, real or not: see tests/torch_gpu.py."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fastmask as fm

pytestmark = pytest.mark.optional
torch = pytest.importorskip("torch", reason="torch is not installed")

import fastmask.torch as ft
from fastmask.backends.cuda.torch import TorchLibrary
from fastmask.torch import _cuda, _over_steps
from fastmask.torch._cells import CELLS
from tests.torch_cases import (
    CHANGES,
    FLOAT64,
    as_tuple,
    assert_all_close,
    by_rows,
    each_module,
    gradients,
    loss_of,
    random_mask,
    twins,
)
from tests.torch_gpu import GPU, ON_GPU, Stream, gpu  # noqa: F401 - fixture

without_gpu = pytest.mark.skipif(ON_GPU, reason="puts a stand-in where the GPU is")


def test_kernels_are_tried_apart_from_fake_tensors(gpu: GPU) -> None:  # noqa: F811 - the fixture
    from torch._subclasses.fake_tensor import FakeTensorMode

    with FakeTensorMode():
        assert _cuda.why_not_on(gpu.device, CELLS["LSTM"]) == ""
    assert gpu.count("mask_from_lengths") == 1


@each_module
@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_changed_weights_are_used(name: str, change: Any, gpu: GPU) -> None:  # noqa: F811 - the fixture
    theirs, ours = twins(name, 3, 5, bidirectional=True, device=gpu.device)
    x = torch.randn(6, 4, 3, dtype=FLOAT64, device=gpu.device)
    with torch.no_grad():
        before = ours(x)[0].cpu()
        change(ours)
        theirs.load_state_dict(ours.state_dict())
        after = ours(x)[0].cpu()
        assert_all_close([after], [theirs(x)[0].cpu()])
        assert not torch.equal(after, before)


@without_gpu
def test_kernels_run_on_the_streams_of_torch(gpu: GPU) -> None:  # noqa: F811 - the fixture
    _, ours = twins("GRU", 3, 5, batch_first=True)
    x = torch.randn(2, 4, 3, dtype=FLOAT64)
    valid = torch.ones(2, 4, dtype=torch.bool)
    with torch.no_grad():
        for mask in (valid, None):
            ours(x, mask=mask)
        assert {stream for _, stream in gpu.launches} == {7}
        assert not gpu.recorded
        gpu.launches.clear()
        gpu.stream = other = Stream(8)
        for mask in (valid, None):
            ours(x, mask=mask)
    assert gpu.launches == [("gru_pack", 8), ("gru_fwd", 8)] * 2
    assert [event.stream.cuda_stream for event in other.waited] == [7] * 2  # plans
    assert {stream for _, stream in gpu.recorded} == {other}


@without_gpu
def test_what_a_graph_records_is_not_kept(gpu: GPU) -> None:  # noqa: F811 - the fixture
    _, ours = twins("GRU", 3, 5, batch_first=True)
    x = torch.randn(2, 4, 3, dtype=FLOAT64)
    valid = torch.ones(2, 4, dtype=torch.bool)
    with torch.no_grad():
        ours(x, mask=valid)
        gpu.launches.clear()
        gpu.capturing, gpu.stream = True, Stream(8)
        for mask in (valid, None):
            ours(x, mask=mask)
        assert gpu.launches == [("gru_pack", 8), ("gru_fwd", 8)] * 2
        assert not gpu.stream.waited
        gpu.capturing = False
        gpu.launches.clear()
        ours(x, mask=valid)
    assert gpu.launches == [("gru_pack", 8), ("gru_fwd", 8)]
    assert _cuda._full_plan.cache_info().currsize == 0


@each_module
@pytest.mark.parametrize("shape", [(0, 4), (6, 0)])
def test_nothing_to_do(name: str, shape: tuple[int, int], gpu: GPU) -> None:  # noqa: F811 - the fixture
    _, ours = twins(name, 3, 5, bidirectional=True, device=gpu.device)
    x = torch.randn(*shape, 3, dtype=FLOAT64, device=gpu.device, requires_grad=True)
    for mask in (None, torch.ones(shape, device=gpu.device)):
        out, last = ours(x, mask=mask)
        assert out.shape == (*shape, 10)
        found = gradients(loss_of(out, *as_tuple(last)), x, *ours.parameters())
        assert not any(gradient.any() for gradient in found)


@pytest.mark.filterwarnings("ignore")  # of torch's own, while it compiles
def test_compiled(gpu: GPU) -> None:  # noqa: F811 - the fixture
    torch._dynamo.reset()
    _, ours = twins("LSTM", 3, 5, num_layers=2, bidirectional=True, device=gpu.device)
    compiled = torch.compile(ours, fullgraph=True, backend="aot_eager")
    x = torch.randn(6, 4, 3, dtype=FLOAT64, device=gpu.device, requires_grad=True)
    for mask in (random_mask("holes", 4, 6).T.to(gpu.device), None):
        gpu.launches.clear()
        found = []
        for module in (compiled, ours):
            out, last = module(x, mask=mask)
            leaves = [x, *ours.parameters()]
            grads = torch.autograd.grad(loss_of(out, *as_tuple(last)), leaves)
            found.append([t.cpu() for t in (out, *as_tuple(last), *grads)])
        assert_all_close(*found)
        assert gpu.count("lstm_fwd") == gpu.count("lstm_bwd") == 8


class TestFallback:
    @without_gpu
    @pytest.mark.parametrize(
        "error", [ImportError("CUDA kernels need numba-cuda"), RuntimeError("no CUDA device")]
    )
    def test_no_kernels(
        self,
        error: Exception,
        gpu: GPU,  # noqa: F811 - the fixture
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        def refuse(_: str) -> Any:
            raise error

        monkeypatch.setattr(_cuda, "import_module", refuse)
        theirs, ours = twins("GRU", 3, 5, batch_first=True)
        x = torch.randn(4, 6, 3, dtype=FLOAT64)
        with pytest.warns(UserWarning, match=f"runs torch.nn.GRU here.*cannot run.*{error}"):
            assert_all_close([ours(x)[0]], [theirs(x)[0]])
        valid = random_mask("holes", 4, 6)
        expected = by_rows(theirs, x, valid, torch.zeros(1, 4, 5, dtype=FLOAT64))[0]
        assert_all_close([ours(x, mask=valid)[0]], [expected])  # warned once
        assert not gpu.launches
        with pytest.raises(ValueError, match="mask holds NaN"):
            ours(x, mask=valid * torch.nan)
        with pytest.raises(ValueError, match="looks like an additive attention mask"):
            ours(x, mask=torch.where(valid, 0.0, -torch.inf))

    def test_formulas_without_kernels(
        self,
        gpu: GPU,  # noqa: F811 - the fixture
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        def refuse(*_: object) -> int:
            raise ValueError("the cell uses normalize")

        monkeypatch.setattr(_cuda.Cuda, "size_of", lambda *_: refuse)
        module = ft.Recurrent(fm.cells.layer_norm_lstm, 3, 5, device=gpu.device)
        x = torch.randn(4, 2, 3, device=gpu.device)
        with pytest.warns(UserWarning, match="runs the formula of layer_norm_lstm.*normalize"):
            out, _ = module(x)
        assert torch.equal(out, module._by_formula(x, None, None)[0])
        assert not gpu.count("layer_norm_lstm_fwd")

    def test_autocast(
        self,
        gpu: GPU,  # noqa: F811 - the fixture
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        # No LSTM: torch computes none in bfloat16 on processors without AVX-512.
        theirs, ours = twins("GRU", 3, 5, dtype=torch.float32, device=gpu.device)
        monkeypatch.setattr(_over_steps, "HOST", "none")  # the stand-in is on the host
        x = torch.randn(6, 4, 3, device=gpu.device)
        with torch.autocast(gpu.device.type, torch.bfloat16):
            with pytest.warns(UserWarning, match="autocast on .* asks for half precision"):
                out, _ = ours(x)
            assert torch.equal(out, theirs(x)[0])
        assert not gpu.count("gru_fwd")


def test_devices_must_agree() -> None:
    for device, other in (("cpu", "meta"), ("meta", "cpu")):
        with pytest.raises(ValueError, match=f"input must be on {device} like the weights, not"):
            ft.GRU(3, 5, device=device)(torch.ones(6, 4, 3, device=other))
    with pytest.raises(ValueError, match="hx must be on cpu like the input, not meta"):
        ft.GRU(3, 5)(torch.ones(6, 4, 3), torch.ones(1, 4, 5, device="meta"))


@pytest.mark.parametrize("transpose_a", [False, True])
@pytest.mark.parametrize("transpose_b", [False, True])
@pytest.mark.parametrize("accumulate", [False, True])
def test_products(transpose_a: bool, transpose_b: bool, accumulate: bool) -> None:
    a, b = torch.randn(3, 4, dtype=FLOAT64), torch.randn(4, 5, dtype=FLOAT64)
    out = torch.full((3, 5), 2.0 if accumulate else torch.nan, dtype=FLOAT64)
    TorchLibrary().multiply(
        out,
        a.t().contiguous() if transpose_a else a,
        b.t().contiguous() if transpose_b else b,
        transpose_a,
        transpose_b,
        accumulate,
    )
    assert_all_close([out], [a @ b + (2.0 if accumulate else 0.0)])


def test_memory() -> None:
    for dtype in (np.float32, np.float64, np.int64, np.int32, np.uint8, np.bool_):
        made = TorchLibrary().empty((2, 3), np.dtype(dtype), torch.empty(1))
        assert made.shape == (2, 3)
        assert made.numpy().dtype == dtype
