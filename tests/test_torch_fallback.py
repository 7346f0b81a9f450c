"""What fastmask.torch has no kernel for, torch computes."""

from __future__ import annotations

import inspect
import warnings
from typing import Any

import pytest

import fastmask as fm

pytestmark = pytest.mark.optional
torch = pytest.importorskip("torch", reason="torch is not installed")

from torch.nn.utils.rnn import pack_sequence

import fastmask.torch as ft
from tests.torch_cases import (
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

each_module = pytest.mark.parametrize("name", NAMES)


class TestFallback:
    """Torch computes what the kernels cannot, with a warning."""

    @pytest.mark.parametrize("batch_first", [False, True])
    def test_projections(self, batch_first: bool) -> None:
        options = {"num_layers": 2, "bidirectional": True, "proj_size": 2}
        theirs, ours = twins("LSTM", 3, 5, **options, batch_first=batch_first)
        x = torch.randn(4, 6, 3, dtype=FLOAT64)
        with pytest.warns(UserWarning, match=r"runs torch\.nn\.LSTM here.*\(proj_size=2\)"):
            assert_all_close([ours(x)[0]], [theirs(x)[0]])
        sequences = pack_sequence([x[0, :3], x[1, :2]])
        assert_all_close([ours(sequences)[0].data], [theirs(sequences)[0].data])  # warned once
        rows, steps = (4, 6) if batch_first else (6, 4)
        valid = random_mask("holes", rows, steps)
        by_row = x if batch_first else x.transpose(0, 1)
        by_row[~valid] = torch.nan
        out, (h, c) = ours(x, mask=valid if batch_first else valid.T)
        out = out if batch_first else out.transpose(0, 1)
        assert not out[~valid].any()
        for b in range(rows):
            if valid[b].any():
                expected, (h_row, c_row) = theirs(by_row[b, valid[b]])
                found = [out[b, valid[b]], h[:, b], c[:, b]]
                assert_all_close(found, [expected, h_row, c_row])

    @pytest.mark.filterwarnings("ignore:fastmask.torch")
    def test_no_rows(self) -> None:
        theirs, ours = twins("LSTM", 3, 5, proj_size=2)
        x = torch.randn(6, 0, 3, dtype=FLOAT64)
        out, (h, c) = ours(x, mask=torch.ones(6, 0))
        assert_all_close([out, h, c], [theirs(x)[0], *theirs(x)[1]])

    @each_module
    @pytest.mark.parametrize("batch_first", [False, True])
    @pytest.mark.filterwarnings("ignore:fastmask.torch")
    def test_no_steps(self, name: str, batch_first: bool) -> None:
        options = {"num_layers": 2, "bidirectional": True, "batch_first": batch_first}
        _, ours = twins(name, 3, 5, dtype=torch.bfloat16, **options)
        hx = random_states(ours, 4)
        x = torch.ones(*(4, 0) if batch_first else (0, 4), 3, dtype=torch.bfloat16)
        for mask in (None, torch.ones(x.shape[:2])):
            out, last = ours(x, hx, mask=mask)
            assert out.shape == (*x.shape[:2], 10)
            assert all(map(torch.equal, as_tuple(last), as_tuple(hx)))
            assert not as_tuple(ours(x, mask=mask)[1])[0].any()
        assert ours(x.new_ones(0, 3))[0].shape == (0, 10)
        values, offsets = x.new_ones(0, 3), torch.zeros(5, dtype=torch.int64)
        jagged = torch.nested.nested_tensor_from_jagged(values, offsets)
        out, last = ours(jagged, hx)
        assert out.values().shape == (0, 10)
        assert all(map(torch.equal, as_tuple(last), as_tuple(hx)))
        with pytest.raises(RuntimeError, match="hidden"):
            ours(x, random_states(ours, 3))

    @each_module
    @pytest.mark.filterwarnings("ignore:fastmask.torch")
    def test_mask_of_a_converted_module(self, name: str) -> None:
        theirs, ours = twins(name, 3, 5, dtype=torch.bfloat16)
        ft.convert(model := torch.nn.Sequential(theirs))
        x = torch.ones(6, 2, 3, dtype=torch.bfloat16)
        mask = torch.ones(6, 2).tril()
        assert torch.equal(model[0](x, mask=mask)[0], ours(x, mask=mask)[0])

    @each_module
    @pytest.mark.filterwarnings("ignore:fastmask.torch")
    def test_masks(self, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
        theirs, ours = twins(name, 3, 5, num_layers=2, bidirectional=True, batch_first=True)
        monkeypatch.setattr(type(ours), "_why_not", lambda *_: "a test wants it so")
        valid = random_mask("holes", 5, 7)
        valid[1] = False
        x = torch.randn(5, 7, 3, dtype=FLOAT64)
        x[~valid] = torch.nan
        x.requires_grad_()
        hx = random_states(theirs, 5)
        found = []
        for fast in (True, False):
            module = ours if fast else theirs
            out, last = ours(x, hx, mask=valid) if fast else by_rows(theirs, x, valid, hx)
            leaves = [x, *as_tuple(hx), *module.parameters()]
            grads = gradients(loss_of(out, *as_tuple(last)), *leaves)
            found.append([out, *as_tuple(last), *grads])
        assert_all_close(*found)
        one = slice(3, 4)
        keep = valid[3]
        out, last = ours(x[3], mask=keep)
        assert_all_close([out[keep]], [theirs(x[3, keep])[0]])
        assert_all_close([ours(x[one], mask=fm.Mask(keep[None]))[0][0]], [out])
        ours.zero_output_for_mask = False
        message = "zero_output_for_mask=False .* cannot run here: a test wants it so$"
        with pytest.raises(NotImplementedError, match=message):
            ours(x, mask=valid)

    @each_module
    def test_half_precision(self, name: str) -> None:
        theirs, ours = twins(name, 3, 5, dtype=torch.bfloat16)
        x = torch.randn(6, 4, 3, dtype=torch.bfloat16)
        with pytest.warns(UserWarning, match=r"not in torch\.bfloat16: call \.float\(\) on"):
            out, _ = ours(x)
        assert torch.equal(out, theirs(x)[0])
        ours.zero_output_for_mask = False
        message = r"cannot run here: kernels compute .* not in torch\.bfloat16: call \.float\(\)"
        with pytest.raises(NotImplementedError, match=message) as told:
            ours(x, mask=torch.ones(6, 4))
        assert "proj_size" not in str(told.value)
        assert ours.float()(x.float(), mask=torch.ones(6, 4))[0].dtype == torch.float32

    @each_module
    def test_autocast_computes_in_the_dtype_of_the_weights(self, name: str) -> None:
        _, ours = twins(name, 3, 5, dtype=torch.float32)
        x = torch.randn(6, 4, 3)
        with torch.autocast("cpu", torch.bfloat16):
            out, _ = ours(x.bfloat16())
        assert out.dtype == torch.float32
        assert torch.equal(out, ours(x.bfloat16().float())[0])
        with pytest.raises(ValueError, match=r"input must hold torch.float32"):
            ours(x.bfloat16())

    def test_other_devices(self) -> None:
        module = ft.GRU(3, 5, device="meta")
        with pytest.warns(UserWarning, match="on the CPU and on CUDA devices, not on meta"):
            out, _ = module(torch.empty(6, 4, 3, device="meta"))
        assert out.shape == (6, 4, 5)
        out, h = module(torch.empty(6, 4, 3, device="meta"), mask=torch.ones(6, 4))
        assert (out.shape, h.shape) == ((6, 4, 5), (1, 4, 5))


class Program(torch.nn.Module):  # type: ignore[misc]  # torch is Any here
    """Modules that are called on two lines."""

    def __init__(self, *modules: Any) -> None:
        super().__init__()
        self.first, self.second = modules

    def forward(self, x: Any) -> Any:
        self.first(x)
        return self.second(x)


def make_gru() -> Any:
    return ft.GRU(3, 5, dtype=torch.bfloat16)


def make_cell() -> Any:
    return ft.Recurrent(fm.cells.gru, 3, 5, dtype=torch.bfloat16)


@pytest.mark.parametrize("make", [make_gru, make_cell])
def test_each_module_warns_once_where_the_program_calls_it(make: Any) -> None:
    program = Program(make(), make())
    x = torch.randn(6, 4, 3, dtype=torch.bfloat16)
    start = inspect.getsourcelines(Program.forward)[1]
    for warns in (True, False):
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("default")  # Python's: each text once a line
            program(x)
        assert [(one.filename, one.lineno - start) for one in told] == (
            [(__file__, 1), (__file__, 2)] if warns else []
        )
    with pytest.warns(UserWarning, match="here, which is slow"):
        torch.nn.Sequential(make())(x)  # the same line of torch as before
