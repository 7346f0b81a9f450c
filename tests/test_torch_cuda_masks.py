"""Masks and packed sequences of fastmask.torch's modules on CUDA: their plans, made once."""

from __future__ import annotations

import gc
from typing import Any

import numpy as np
import pytest

import fastmask as fm

pytestmark = pytest.mark.optional
torch = pytest.importorskip("torch", reason="torch is not installed")

from torch.nn.utils.rnn import pack_padded_sequence

from fastmask.torch import _cuda
from tests.cases import MASK_KINDS
from tests.torch_cases import (
    FLOAT64,
    as_tuple,
    assert_all_close,
    each_module,
    everything,
    gradients,
    loss_of,
    random_mask,
    random_states,
    twins,
)
from tests.torch_gpu import GPU, gpu  # noqa: F401 - fixture


def on_host(valid: Any) -> fm.Mask:
    """Via NumPy: the stand-in's tensors on the host pose as tensors on a GPU."""
    return fm.Mask(valid.cpu().numpy())


@each_module
@pytest.mark.parametrize("kind", MASK_KINDS)
def test_masks(name: str, kind: str, gpu: GPU) -> None:  # noqa: F811 - the fixture
    options = {"num_layers": 2, "bidirectional": kind != "left", "batch_first": True}
    theirs, ours = twins(name, 3, 5, **options, device=gpu.device)
    valid = random_mask(kind, 5, 7).to(gpu.device)
    x = torch.randn(5, 7, 3, dtype=FLOAT64, device=gpu.device)
    hx = random_states(theirs, 5)
    expected = everything(theirs, x, valid, hx, fast=False)
    assert_all_close(everything(ours, x, valid, hx, fast=True), expected)


@each_module
@pytest.mark.parametrize("ordered", [True, False])
def test_packed_sequences(name: str, ordered: bool, gpu: GPU) -> None:  # noqa: F811 - the fixture
    theirs, ours = twins(name, 3, 5, num_layers=2, bidirectional=True, device=gpu.device)
    lengths = [7, 4, 4, 1] if ordered else [4, 1, 7, 4]
    x = torch.randn(4, 7, 3, dtype=FLOAT64, device=gpu.device)
    hx = random_states(theirs, 4)
    found = []
    for module in (ours, theirs):
        leaf = x.clone().requires_grad_()
        sequences = pack_padded_sequence(leaf, lengths, batch_first=True, enforce_sorted=ordered)
        out, last = module(sequences, hx)
        leaves = [leaf, *as_tuple(hx), *module.parameters()]
        loss = loss_of(out.data, *as_tuple(last))
        found.append([t.cpu() for t in (out.data, *as_tuple(last), *gradients(loss, *leaves))])
        module(out._replace(data=sequences.data))
    assert_all_close(*found)
    assert gpu.count("plan_steps") == 1


@each_module
def test_forms_of_masks(name: str, gpu: GPU) -> None:  # noqa: F811 - the fixture
    _, ours = twins(name, 3, 5, device=gpu.device)
    x = torch.randn(4, 4, 3, dtype=FLOAT64, device=gpu.device)
    valid = random_mask("holes", 4, 4).to(gpu.device)
    expected = ours(x, mask=valid.T)[0]
    for mask in (valid.T.int(), valid.T.double(), valid.T.tolist(), on_host(valid)):
        assert torch.equal(ours(x, mask=mask)[0], expected)
    # The same tensor is another mask if its axes have another meaning.
    assert not torch.equal(ours(x, mask=valid)[0], expected)
    ours.batch_first = True
    assert torch.equal(ours(x.transpose(0, 1), mask=valid)[0].transpose(0, 1), expected)
    assert_all_close([ours(x[:, 0], mask=valid[0])[0].cpu()], [expected[:, 0].cpu()])
    refused = valid * torch.nan, valid * -1, valid * 0.5, torch.where(valid, 0, -torch.inf)
    for mask, error in (*((one, ValueError) for one in refused), (valid * 1j, TypeError)):
        with pytest.raises(error, match="mask"):
            ours(x, mask=mask)


def test_a_mask_is_planned_once_until_it_changes(gpu: GPU) -> None:  # noqa: F811 - the fixture
    _, ours = twins("LSTM", 3, 5, num_layers=3, bidirectional=True, batch_first=True)
    ours = ours.to(gpu.device)
    x = torch.randn(4, 6, 3, dtype=FLOAT64, device=gpu.device)
    valid = random_mask("holes", 4, 6).to(gpu.device)
    plans = _cuda.Cuda.only()._plans
    for mask in (on_host(valid), valid):
        gpu.launches.clear()
        for _ in range(3):
            ours(x, mask=mask)[0].sum().backward()
        assert gpu.count("plan_steps") == 1
    valid.logical_not_()
    assert torch.equal(ours(x, mask=valid)[0], ours(x, mask=valid.tolist())[0])
    assert valid in plans
    del mask, valid
    gc.collect()
    assert not plans


@pytest.mark.parametrize("kind", MASK_KINDS)
def test_plans(kind: str, gpu: GPU) -> None:  # noqa: F811 - the fixture
    """Also that `steps` is exactly as long as the plan, as products by torch require."""
    valid = random_mask(kind, 5, 7)
    mask = on_host(valid)
    cuda = _cuda.Cuda.only()
    for given in (mask, valid.to(gpu.device), valid.double().to(gpu.device)):
        plan = cuda.plan_of(given, 5, 7, gpu.device, given)
        for found, expected in zip(plan, mask.plan, strict=True):
            assert found.tolist() == expected.tolist()
    full = cuda.plan_of(None, 5, 7, gpu.device)
    for found, expected in zip(full, fm.Mask(np.ones((5, 7))).plan, strict=True):
        assert found.tolist() == expected.tolist()


def test_masks_of_inference_mode(gpu: GPU) -> None:  # noqa: F811 - the fixture
    _, ours = twins("GRU", 3, 5, batch_first=True, device=gpu.device)
    x = torch.randn(2, 6, 3, dtype=FLOAT64, device=gpu.device)
    with torch.inference_mode():
        valid = torch.ones(2, 6, dtype=torch.bool, device=gpu.device)
        assert ours(x, mask=valid)[0][:, 3:].all()
        valid[:, 3:] = False
        assert not ours(x, mask=valid)[0][:, 3:].any()


def test_no_wait_once_there_is_a_plan(
    gpu: GPU,  # noqa: F811 - the fixture
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _, ours = twins("LSTM", 3, 5, bidirectional=True, batch_first=True, device=gpu.device)
    x = torch.randn(4, 6, 3, dtype=FLOAT64, device=gpu.device, requires_grad=True)
    valid = random_mask("holes", 4, 6).to(gpu.device)

    def once() -> None:
        for mask in (valid, None):
            ours(x, mask=mask)[0].sum().backward()
            with torch.no_grad():
                ours(x, mask=mask)

    def refuse(*_: Any, **__: Any) -> Any:
        raise AssertionError("the host waits for the device")

    once()
    for name in "item tolist cpu nonzero __bool__ __int__ __float__ __index__".split():
        monkeypatch.setattr(torch.Tensor, name, refuse)
    once()
