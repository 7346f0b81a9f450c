"""fastmask.torch on a real GPU: tests that neither the stand-in nor the simulator can run.

The tests of test_torch_cuda*.py run on it as well.
"""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")
pytestmark = [
    pytest.mark.optional,
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]

from torch.nn.utils.rnn import pack_padded_sequence

import fastmask.torch as ft
from tests.cases import MASK_KINDS
from tests.torch_cases import (
    FLOAT64,
    NAMES,
    as_tuple,
    assert_all_close,
    gradients,
    loss_of,
    random_mask,
    random_states,
    twins,
)

each_module = pytest.mark.parametrize("name", NAMES)
GPU = torch.device("cuda", 0)


@pytest.fixture(autouse=True)
def _exact(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cuda.matmul, "allow_tf32", False)
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)


def everything(module: Any, x: Any, hx: Any, mask: Any) -> list[Any]:
    """Output, states and all gradients, on the host."""
    leaves = [tensor.detach().clone().requires_grad_() for tensor in (x, *as_tuple(hx))]
    x, *states = leaves
    out, last = module(x, tuple(states) if len(states) > 1 else states[0], mask=mask)
    grads = gradients(loss_of(out, *as_tuple(last)), *leaves, *module.parameters())
    return [tensor.cpu() for tensor in (out, *as_tuple(last), *grads)]


@each_module
@pytest.mark.parametrize("kind", MASK_KINDS)
@pytest.mark.parametrize("units", [16, 100, 300])
@pytest.mark.parametrize("both", [False, True])
def test_as_on_the_host(name: str, kind: str, units: int, both: bool) -> None:
    """Layers that fit in a block and layers that do not, in float32 and float64."""
    for dtype, tolerance in ((torch.float32, 2e-4), (FLOAT64, 1e-9)):
        options = {"num_layers": 2, "bidirectional": both, "batch_first": True, "dtype": dtype}
        _, host = twins(name, 24, units, **options)
        _, ours = twins(name, 24, units, **options, device=GPU)
        ours.load_state_dict(host.state_dict())
        valid = random_mask(kind, 37, 50)
        x = torch.randn(37, 50, 24, dtype=dtype)
        x[~valid] = torch.nan
        hx = random_states(host, 37)
        states = tuple(state.detach().to(GPU) for state in as_tuple(hx))
        there = everything(ours, x.to(GPU), states if name == "LSTM" else states[0], valid.to(GPU))
        assert_all_close(there, everything(host, x, hx, valid), tolerance)


@each_module
def test_gradcheck(name: str) -> None:
    _, ours = twins(name, 3, 5, num_layers=2, bidirectional=True, batch_first=True, device=GPU)
    valid = random_mask("holes", 3, 6).to(GPU)
    x = torch.randn(3, 6, 3, dtype=FLOAT64, device=GPU, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: ours(x, mask=valid)[0], (x,), fast_mode=True)


@each_module
def test_no_synchronisation_once_there_is_a_plan(name: str) -> None:
    _, ours = twins(name, 8, 16, bidirectional=True, batch_first=True, device=GPU)
    x = torch.randn(5, 9, 8, dtype=FLOAT64, device=GPU, requires_grad=True)
    valid = random_mask("holes", 5, 9).to(GPU)

    def once() -> None:
        for mask in (valid, None):
            ours(x, mask=mask)[0].sum().backward()
            with torch.no_grad():
                ours(x, mask=mask)

    once()
    torch.cuda.set_sync_debug_mode("error")
    try:
        once()
    finally:
        torch.cuda.set_sync_debug_mode("default")


@each_module
def test_streams(name: str) -> None:
    """Each stream computes after slow work on it, with cached data made on another stream."""
    _, ours = twins(name, 64, 64, batch_first=True, dtype=torch.float32, device=GPU)
    big = torch.randn(4096, 4096, device=GPU)
    x = torch.randn(16, 40, 64, device=GPU)
    valid = random_mask("holes", 16, 40).to(GPU)
    with torch.no_grad():
        expected = ours(x, mask=valid.clone())[0]
        torch.cuda.synchronize()
        found = []
        for stream in [torch.cuda.Stream() for _ in range(4)]:
            stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(stream):
                for _ in range(5):
                    big @ big
                mine = x + 0
                found.append(ours(mine, mask=valid)[0] * 2)
        torch.cuda.synchronize()
    for out in found:
        assert torch.equal(out, expected * 2)


@each_module
def test_a_cuda_graph(name: str) -> None:
    _, ours = twins(name, 8, 16, batch_first=True, dtype=torch.float32, device=GPU)
    x = torch.randn(4, 9, 8, device=GPU)
    valid = random_mask("holes", 4, 9).to(GPU)
    with torch.no_grad():
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            ours(x, mask=valid)
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            out = ours(x, mask=valid)[0]
        for _ in range(2):
            x.normal_()
            ours.weight_hh_l0.mul_(0.9)
            graph.replay()
            assert torch.equal(out, ours(x, mask=valid)[0])


@each_module
def test_packed_sequences(name: str) -> None:
    theirs, ours = twins(name, 24, 40, num_layers=2, bidirectional=True, device=GPU)
    x = torch.randn(6, 30, 24, dtype=FLOAT64, device=GPU)
    sequences = pack_padded_sequence(
        x, [30, 4, 17, 4, 1, 29], batch_first=True, enforce_sorted=False
    )
    found = []
    for module in (ours, theirs):
        out, last = module(sequences)
        grads = gradients(loss_of(out.data, *as_tuple(last)), *module.parameters())
        found.append([tensor.cpu() for tensor in (out.data, *as_tuple(last), *grads)])
    assert_all_close(*found, 1e-9)


@each_module
def test_autocast_is_left_to_torch(name: str) -> None:
    theirs, ours = twins(name, 24, 40, dtype=torch.float32, device=GPU)
    x = torch.randn(9, 6, 24, device=GPU)
    with torch.autocast("cuda", torch.float16), pytest.warns(UserWarning, match="autocast"):
        out = ours(x)[0]
    with torch.autocast("cuda", torch.float16):
        assert torch.equal(out, theirs(x)[0])
    assert out.dtype == torch.float16


def test_from_the_host_and_back() -> None:
    _, ours = twins("LSTM", 3, 5, batch_first=True)
    x = torch.randn(2, 6, 3, dtype=FLOAT64)
    valid = random_mask("holes", 2, 6)
    with torch.no_grad():
        expected = ours(x, mask=valid)[0]
        ours = ours.to(GPU)
        assert_all_close([ours(x.to(GPU), mask=valid)[0].cpu()], [expected], 1e-9)
        ours = ours.cpu()
        assert torch.equal(ours(x, mask=valid.to(GPU))[0], expected)
    with pytest.raises(ValueError, match="input must be on cpu like the weights, not on cuda:0"):
        ours(x.to(GPU))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two CUDA devices")
def test_a_second_device() -> None:
    other = torch.device("cuda", 1)
    theirs, ours = twins("GRU", 3, 5, batch_first=True, device=other)
    x = torch.randn(2, 6, 3, dtype=FLOAT64, device=other, requires_grad=True)
    found = []
    for module in (ours, theirs):
        out, last = module(x)
        grads = gradients(loss_of(out, last), x, *module.parameters())
        found.append([tensor.cpu() for tensor in (out, last, *grads)])
    assert_all_close(*found, 1e-9)
    assert type(ours) is ft.GRU
