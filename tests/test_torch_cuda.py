"""fastmask.torch's modules on CUDA tensors, real or not: see tests/torch_gpu.py."""

from __future__ import annotations

import copy
import gc
from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest

import fastmask as fm

pytestmark = pytest.mark.optional
torch = pytest.importorskip("torch", reason="torch is not installed")

from torch.nn.utils.rnn import pack_padded_sequence

import fastmask.torch as ft
from fastmask.backends.cuda.torch import TorchLibrary
from fastmask.torch import _cuda, _fallback, _masks, _over_steps
from fastmask.torch._cells import CELLS
from tests.cases import MASK_KINDS
from tests.torch_cases import (
    CHANGES,
    FLOAT64,
    NAMES,
    as_tuple,
    assert_all_close,
    by_rows,
    gradients,
    loss_of,
    random_mask,
    random_states,
    twins,
)
from tests.torch_gpu import GPU, ON_GPU, SIMULATED, Stream, gpu  # noqa: F401 - fixture

CELL = {"LSTM": "lstm", "GRU": "gru", "RNN": "rnn"}
each_module = pytest.mark.parametrize("name", NAMES)
without_gpu = pytest.mark.skipif(ON_GPU, reason="puts a stand-in where the GPU is")


def everything(module: Any, x: Any, valid: Any, hx: Any, *, fast: bool) -> list[Any]:
    """Output, states and all gradients; by torch.nn row by row unless `fast`."""
    x = x.clone()
    x[~valid] = torch.nan if fast else 0.0  # masked steps must not be read
    x.requires_grad_()
    out, last = module(x, hx, mask=valid) if fast else by_rows(module, x, valid, hx)
    leaves = [x, *as_tuple(hx), *module.parameters()]
    found = [out, *as_tuple(last), *gradients(loss_of(out, *as_tuple(last)), *leaves)]
    return [tensor.cpu() for tensor in found]


def on_host(valid: Any) -> fm.Mask:
    """Via NumPy: the stand-in's tensors on the host pose as tensors on a GPU."""
    return fm.Mask(valid.cpu().numpy())


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


def test_kernels_are_tried_apart_from_fake_tensors(gpu: GPU) -> None:  # noqa: F811 - the fixture
    from torch._subclasses.fake_tensor import FakeTensorMode

    with FakeTensorMode():
        assert _cuda.why_not_on(gpu.device, CELLS["LSTM"]) == ""
    assert gpu.count("mask_from_lengths") == 1


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
    @pytest.fixture(autouse=True)
    def _warn_again(self) -> None:
        _fallback._warn.cache_clear()

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
        theirs, ours = twins("LSTM", 3, 5, dtype=torch.float32, device=gpu.device)
        monkeypatch.setattr(_over_steps, "HOST", "none")  # the stand-in is on the host
        x = torch.randn(6, 4, 3, device=gpu.device)
        with torch.autocast(gpu.device.type, torch.bfloat16):
            with pytest.warns(UserWarning, match="autocast on .* asks for half precision"):
                out, _ = ours(x)
            assert torch.equal(out, theirs(x)[0])
        assert not gpu.count("lstm_fwd")


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


@pytest.mark.skipif(
    find_spec("numba_cuda") is None, reason='needs numba-cuda: pip install "fastmask-rnn[test]"'
)
@pytest.mark.skipif(SIMULATED, reason="starts the simulator")
@pytest.mark.own_process(
    f"{__file__}::TestKernels", NUMBA_ENABLE_CUDASIM="1", FASTMASK_KERNELS="reference"
)
def test_in_the_simulator(own_process: str) -> None:
    assert " passed" in own_process
    assert "skipped" not in own_process
