"""The kernels of fastmask.torch for CUDA, in calls that the simulator can run in time."""

from __future__ import annotations

import copy
from importlib.util import find_spec

import pytest

import fastmask as fm

pytestmark = pytest.mark.optional
torch = pytest.importorskip("torch", reason="torch is not installed")

from torch.nn.utils.rnn import pack_padded_sequence

import fastmask.torch as ft
from fastmask.torch import _cuda, _masks
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
from tests.torch_gpu import GPU, ON_GPU, SIMULATED, gpu  # noqa: F401 - fixture

CELL = {"LSTM": "lstm", "GRU": "gru", "RNN": "rnn"}


class TestKernels:
    """Tests that the simulator, which runs the real kernels, can run in time."""

    @each_module
    @pytest.mark.parametrize("kind", MASK_KINDS)
    def test_masks(self, name: str, kind: str, gpu: GPU) -> None:  # noqa: F811 - the fixture
        both = kind != "left"
        theirs, ours = twins(name, 2, 3, bidirectional=both, batch_first=True, device=gpu.device)
        valid = random_mask(kind, 3, 4, seed=len(kind)).to(gpu.device)
        x = torch.randn(3, 4, 2, dtype=FLOAT64, device=gpu.device)
        hx = random_states(theirs, 3)
        expected = everything(theirs, x, valid, hx, fast=False)
        assert_all_close(everything(ours, x, valid, hx, fast=True), expected)
        assert gpu.count(f"{CELL[name]}_fwd") == 1 + both
        assert gpu.count(f"{CELL[name]}_bwd") == 1 + both

    def test_packed_sequences(self, gpu: GPU) -> None:  # noqa: F811 - the fixture
        theirs, ours = twins("LSTM", 2, 3, device=gpu.device)
        x = torch.randn(3, 4, 2, dtype=FLOAT64, device=gpu.device)
        sequences = pack_padded_sequence(x, [1, 4, 2], batch_first=True, enforce_sorted=False)
        found = []
        for module in (ours, theirs):
            out, last = module(sequences)
            grads = gradients(loss_of(out.data, *last), *module.parameters())
            found.append([tensor.cpu() for tensor in (out.data, *last, *grads)])
        assert_all_close(*found)

    def test_float32_layers_without_bias(self, gpu: GPU) -> None:  # noqa: F811 - the fixture
        theirs, ours = twins(
            "GRU", 2, 3, num_layers=2, bias=False, dtype=torch.float32, device=gpu.device
        )
        x = torch.randn(3, 2, 2, device=gpu.device)
        with torch.no_grad():
            assert_all_close([ours(x)[0].cpu()], [theirs(x)[0].cpu()], 1e-5)
        assert gpu.count("gru_fwd") == 2

    @pytest.mark.parametrize("name", ["peephole_lstm", "minimal_gated_unit"])
    def test_cells_of_formulas(self, name: str, gpu: GPU) -> None:  # noqa: F811 - the fixture
        module = ft.Recurrent(
            fm.cells.CELLS[name], 2, 3, batch_first=True, dtype=FLOAT64, device=gpu.device
        )
        valid = torch.tensor([[True, False, True], [False, True, True]], device=gpu.device)
        x = torch.randn(2, 3, 2, dtype=FLOAT64, device=gpu.device, requires_grad=True)
        found = []
        for run in (module, module._by_formula):
            out, last = run(x, None, valid)
            grads = gradients(loss_of(out, *as_tuple(last)), x, *module.parameters())
            found.append([tensor.cpu() for tensor in (out, *as_tuple(last), *grads)])
        assert_all_close(*found)
        assert (gpu.count(f"{name}_fwd"), gpu.count(f"{name}_bwd")) == (1, 1)

    def test_recomputed_gates_and_repeated_outputs(self, gpu: GPU) -> None:  # noqa: F811 - the fixture
        options = {"recompute": True, "zero_output_for_mask": False, "batch_first": True}
        _, ours = twins("LSTM", 2, 3, **options, device=gpu.device)
        valid = torch.tensor([[True, False, True], [False, True, False]], device=gpu.device)
        x = torch.randn(2, 3, 2, dtype=FLOAT64, device=gpu.device, requires_grad=True)
        out, _ = ours(x, mask=valid)
        zeroed = copy.deepcopy(ours)
        zeroed.zero_output_for_mask, zeroed.recompute = True, False
        steps = torch.tensor([[0, 0, 2], [1, 1, 1]], device=gpu.device)
        begun = torch.tensor([[1, 1, 1], [0, 1, 1]], device=gpu.device)
        filled = zeroed(x, mask=valid)[0].gather(1, steps[:, :, None].expand(-1, -1, 3))
        filled = filled * begun[:, :, None]
        assert_all_close([out.cpu()], [filled.cpu()])
        assert_all_close(
            [g.cpu() for g in gradients(loss_of(out), x, *ours.parameters())],
            [g.cpu() for g in gradients(loss_of(filled), x, *zeroed.parameters())],
        )

    if ON_GPU or SIMULATED:  # the reference cannot make such masks

        def test_masks_that_stay_on_the_gpu(self, gpu: GPU) -> None:
            _, ours = twins("GRU", 2, 3, batch_first=True, device=gpu.device)
            valid = torch.tensor([[True, False, True], [False, False, True]], device=gpu.device)
            x = torch.randn(2, 3, 2, dtype=FLOAT64, device=gpu.device)
            mask = fm.Mask(valid)
            assert isinstance(mask.valid, torch.Tensor)
            with torch.no_grad():
                assert torch.equal(ours(x, mask=mask)[0], ours(x, mask=valid)[0])
            assert torch.equal(_masks.valid_tensor(mask, "cpu"), valid.cpu())

    def test_backward_goes_in_the_form_of_forward(self, gpu: GPU) -> None:  # noqa: F811 - the fixture
        """Even if the caller's choice has ended."""
        _, ours = twins("RNN", 2, 3, dtype=torch.float32, device=gpu.device)
        x = torch.randn(2, 3, 2, device=gpu.device, requires_grad=True)
        use_weights = _cuda.Cuda.only()._kernels.use_weights
        with use_weights("bfloat16"):
            rounded, _ = ours(x)
        exact, _ = ours(x)
        (rounded.sum() + exact.sum()).backward()
        with torch.no_grad():
            ours(x)
            with use_weights("tf32"):
                ours(x)
        of_kernel = {kernel: [f for k, f in gpu.forms if k == kernel] for kernel, _ in gpu.forms}
        assert of_kernel["rnn_fwd"] == ["bfloat16", "float32", "float32", "tf32"]
        assert of_kernel["rnn_pack"] == ["bfloat16", "float32", "float32", "tf32"]
        assert sorted(of_kernel["rnn_bwd"]) == ["bfloat16", "float32"]


@pytest.mark.skipif(
    find_spec("numba_cuda") is None, reason="needs numba-cuda: pip install numba-cuda"
)
@pytest.mark.skipif(SIMULATED, reason="starts the simulator")
@pytest.mark.own_process(
    f"{__file__}::TestKernels", NUMBA_ENABLE_CUDASIM="1", FASTMASK_KERNELS="reference"
)
def test_in_the_simulator(own_process: str) -> None:
    assert " passed" in own_process
    assert "skipped" not in own_process
