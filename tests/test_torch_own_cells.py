"""fastmask.torch.Recurrent: cells made from formulas, against a torch loop around the formula."""

from __future__ import annotations

import copy
import io
import pickle
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import fastmask as fm
from fastmask.backends import table
from fastmask.cells import Cell, maximum, sigmoid, tanh

pytestmark = pytest.mark.optional
torch = pytest.importorskip("torch", reason="torch is not installed")

from torch.nn.utils.rnn import (
    pack_sequence,
    pad_packed_sequence,
    unpad_sequence,
)

from fastmask.torch import Recurrent, convert
from tests.cases import MASK_KINDS
from tests.plain_cells import over_time, step_of
from tests.torch_cases import (
    FLOAT64,
    as_tuple,
    assert_all_close,
    gradients,
    loss_of,
    random_mask,
)

B, T, F, H = 4, 6, 3, 5
SOME = ("peephole_lstm", "gru_reset_before", "ind_rnn")
EACH_CELL = pytest.mark.parametrize("cell", fm.cells.CELLS.values(), ids=fm.cells.CELLS)
A_FEW_CELLS = pytest.mark.parametrize("cell", [fm.cells.CELLS[name] for name in SOME], ids=SOME)


@fm.cell
def three_states(a: Any, b: Any, h: Any, s: Any, n: Any, *, rate: Any = 0.25) -> Any:
    """A cell of this module, so that pickle finds it."""
    n = maximum(n, rate * b)
    s = s * sigmoid(a) + n
    return tanh(s), s, n


@pytest.fixture(autouse=True)
def _set_up(request: pytest.FixtureRequest) -> Iterator[None]:
    """Use the reference kernels, except in tests of the compiled ones."""
    before = table.kernels().__name__.rpartition(".")[-1]
    table.use_kernels("cpu" if "compiled" in request.node.name else "reference")
    yield
    table.use_kernels(before)


def made(cell: Cell, **options: Any) -> Any:
    return Recurrent(cell, F, H, batch_first=True, dtype=FLOAT64, **options)


def states_of(module: Any) -> tuple[Any, ...]:
    directions = 1 + module.bidirectional
    return tuple(torch.randn(directions, B, H, dtype=FLOAT64) for _ in module.cell.states)


def looped(module: Any, x: Any, hx: Any, mask: Any) -> tuple[Any, Any]:
    """A module's result, by a loop around its formula in torch."""
    halves, ends = [], []
    for d, end in enumerate(("", "_reverse")[: 1 + module.bidirectional]):
        names = ["kernel", "recurrent_kernel", "bias", *module.cell.vectors]
        weights = [getattr(module, name + end, None) for name in names]
        if weights[2] is None:
            weights[2] = torch.zeros(len(module.cell.sums) * H, dtype=FLOAT64)
        step = step_of(module.cell, torch, weights, "tanh", "sigmoid")
        first = [state[d] for state in hx]
        out, last = over_time(step, torch, x, mask, first, d == 1, module.zero_output_for_mask)
        halves.append(out.flip(1) if d else out)
        ends.append(last)
    return torch.cat(halves, -1), tuple(torch.stack(each) for each in zip(*ends, strict=True))


def results(module: Any, x: Any, hx: Any, found: Any) -> list[Any]:
    out, last = found
    leaves = [x, *hx, *module.parameters()]
    loss = loss_of(out, *as_tuple(last))
    return [out, *as_tuple(last), *torch.autograd.grad(loss, leaves, allow_unused=True)]


def check(module: Any, kinds: Any = MASK_KINDS) -> None:
    for kind in kinds:
        mask = random_mask(kind, B, T)
        x = torch.randn(B, T, F, dtype=FLOAT64, requires_grad=True)
        hx = tuple(state.requires_grad_() for state in states_of(module))
        found = results(module, x, hx, module(x, as_hx(hx), mask=mask))
        expected = results(module, x, hx, looped(module, x, hx, mask))
        expected = [
            torch.zeros_like(one) if other is None else other
            for one, other in zip(found, expected, strict=True)
        ]
        assert_all_close(found, expected)


def as_hx(states: tuple[Any, ...]) -> Any:
    return states if len(states) > 1 else states[0]


@EACH_CELL
def test_equals_a_loop_in_torch(cell: Cell) -> None:
    check(made(cell, bidirectional=True))
    check(made(cell, bias=False, zero_output_for_mask=False, recompute=True), ("holes", "left"))


@A_FEW_CELLS
def test_the_compiled_kernels_equal_a_loop_in_torch(cell: Cell) -> None:
    check(made(cell, bidirectional=True), ("holes", "right"))
    check(made(cell, recompute=True), ("holes",))


def test_three_states() -> None:
    check(made(three_states, bidirectional=True))


@A_FEW_CELLS
class TestModule:
    def test_is_the_layer(self, cell: Cell) -> None:
        module = made(cell)
        layer = fm.layers.RNN(
            cell(H, dtype="float64"), return_sequences=True, zero_output_for_mask=True
        )
        layer.build((None, None, F))
        layer.set_weights([p.detach().numpy() for p in module.parameters()])
        x, mask = torch.randn(B, T, F, dtype=FLOAT64), random_mask("holes", B, T)
        with torch.no_grad():
            out, _ = module(x, mask=mask)
        np.testing.assert_allclose(layer(x.numpy(), mask=mask.numpy()).data, out, atol=1e-12)

    def test_forms_of_the_input(self, cell: Cell) -> None:
        module = made(cell)
        time_first = Recurrent(cell, F, H, dtype=FLOAT64)
        time_first.load_state_dict(module.state_dict())
        x, mask, hx = (
            torch.randn(B, T, F, dtype=FLOAT64),
            random_mask("holes", B, T),
            states_of(module),
        )
        out, last = module(x, as_hx(hx), mask=mask)
        turned, ends = time_first(x.transpose(0, 1), as_hx(hx), mask=mask.T)
        assert_all_close([out, *as_tuple(last)], [turned.transpose(0, 1), *as_tuple(ends)])
        one, end = module(x[1], as_hx(tuple(s[:, 1] for s in hx)), mask=mask[1])
        assert_all_close([out[1], *[s[:, 1] for s in as_tuple(last)]], [one, *as_tuple(end)])

    def test_packed_sequence(self, cell: Cell) -> None:
        module = made(cell, bidirectional=True)
        lengths = torch.tensor([3, 6, 1, 5])
        x = torch.randn(B, T, F, dtype=FLOAT64)
        hx = states_of(module)
        sequences = unpad_sequence(x, lengths, batch_first=True)
        packed, last = module(pack_sequence(sequences, enforce_sorted=False), as_hx(hx))
        mask = torch.arange(T) < lengths[:, None]
        out, ends = module(x, as_hx(hx), mask=mask)
        assert_all_close(
            [pad_packed_sequence(packed, True)[0], *as_tuple(last)], [out, *as_tuple(ends)]
        )

    def test_state_dict_copies_and_pickle(self, cell: Cell) -> None:
        module, other = made(cell, bidirectional=True), made(cell, bidirectional=True)
        names = list(module.state_dict())
        assert names[0] == "kernel"
        assert set(cell.vectors) <= set(names)
        assert {f"{name}_reverse" for name in names[: len(names) // 2]} == set(
            names[len(names) // 2 :]
        )
        x = torch.randn(B, T, F, dtype=FLOAT64)
        expected = module(x)[0]
        other.load_state_dict(module.state_dict())
        file = io.BytesIO()
        torch.save(module, file)
        file.seek(0)
        again = torch.load(file, weights_only=False)
        pickled = pickle.loads(pickle.dumps(module))  # noqa: S301 - of this test
        for one in (other, again, pickled, copy.deepcopy(module), convert(module)):
            assert torch.equal(one(x)[0], expected)

    def test_trains(self, cell: Cell) -> None:
        module = made(cell)
        optimizer = torch.optim.Adam(module.parameters(), 0.01)
        x, mask = torch.randn(B, T, F, dtype=FLOAT64), random_mask("right", B, T)
        losses = []
        for _ in range(6):
            out, _ = module(x, mask=mask)
            loss = ((out[..., 0] - x[..., 0]) * mask).square().sum()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        assert losses[-1] < losses[0]

    @pytest.mark.filterwarnings("ignore")  # of torch's own, while it compiles
    def test_torch_compile(self, cell: Cell) -> None:
        torch._dynamo.reset()
        module = made(cell, bidirectional=True)
        compiled = torch.compile(module, fullgraph=True, backend="aot_eager")
        x = torch.randn(B, T, F, dtype=FLOAT64, requires_grad=True)
        for mask in (None, random_mask("holes", B, T)):
            found = []
            for function in (compiled, module):
                out, last = function(x, mask=mask)
                leaves = [x, *module.parameters()]
                found.append([out, *as_tuple(last), *gradients(loss_of(out), *leaves)])
            assert_all_close(*found)

    @pytest.mark.filterwarnings("ignore")
    def test_torch_export(self, cell: Cell) -> None:
        module = made(cell).eval()
        x, mask = torch.randn(B, T, F, dtype=FLOAT64), random_mask("holes", B, T)
        program = torch.export.export(module, (x,), {"mask": mask})
        file = io.BytesIO()
        torch.export.save(program, file)
        file.seek(0)
        again = torch.export.load(file).module()
        assert_all_close([again(x, mask=mask)[0]], [module(x, mask=mask)[0]])

    @pytest.mark.filterwarnings("ignore:fastmask.torch.Recurrent runs the formula")
    def test_without_kernels(self, cell: Cell) -> None:
        module = made(cell, bidirectional=True)
        half = copy.deepcopy(module).to(torch.bfloat16)
        x, mask = torch.randn(B, T, F, dtype=FLOAT64), random_mask("holes", B, T)
        expected, last = module(x, mask=mask)
        found, ends = half(x.to(torch.bfloat16), mask=mask)
        for one, other in zip((found, *as_tuple(ends)), (expected, *as_tuple(last)), strict=True):
            assert one.dtype == torch.bfloat16
            torch.testing.assert_close(one.to(FLOAT64), other, rtol=0.1, atol=0.1)
        sequences = [row[: n + 1] for n, row in enumerate(x)]
        packed = pack_sequence(sequences, enforce_sorted=False)
        exact, _ = module(packed)
        rough, _ = half(packed.to(torch.bfloat16))
        torch.testing.assert_close(rough.data.to(FLOAT64), exact.data, rtol=0.1, atol=0.1)
        assert rough.sorted_indices.tolist() == packed.sorted_indices.tolist()


@pytest.mark.filterwarnings("ignore:fastmask.torch.Recurrent runs the formula")
@EACH_CELL
def test_the_formula_by_torch_equals_a_loop(cell: Cell) -> None:
    module = made(cell, bidirectional=True)
    module._why_not = lambda *_: "a test says so"
    check(module, ("holes", "row_off"))


class TestErrors:
    def test_arguments(self) -> None:
        with pytest.raises(TypeError, match=r"cell must be made by fastmask\.cell, not 'lstm'"):
            Recurrent("lstm", F, H)
        with pytest.raises(ValueError, match="hidden_size must be at least 1"):
            Recurrent(three_states, F, 0)
        with pytest.raises(TypeError, match="bidirectional"):
            Recurrent(three_states, F, H, bidirectional=2)

        def taken(s: Any, h: Any, *, training: Any) -> Any:
            return s + training * h

        with pytest.raises(ValueError, match="has a vector training, which modules have"):
            Recurrent(fm.cell(taken), F, H)

    @pytest.mark.filterwarnings("ignore:.*torch.jit.trace")
    def test_calls(self) -> None:
        module, x = made(three_states), torch.randn(B, T, F, dtype=FLOAT64)
        with pytest.raises(ValueError, match=r"a tuple of 3 tensors \(h, s, n\), not 2 of them"):
            module(x, states_of(module)[:2])
        with pytest.raises(ValueError, match="input must have 3 features"):
            module(x[..., :2])
        with pytest.raises(ValueError, match="mask must have shape"):
            module(x, mask=torch.ones(B, T + 1))
        with pytest.raises(NotImplementedError, match="exported to ONNX"):
            torch.jit.trace(module, (x,))
        module.rate = torch.nn.Parameter(torch.zeros(H + 1, dtype=FLOAT64))
        with pytest.raises(ValueError, match=r"rate must have shape \(5,\), not \(6,\)"):
            module(x)

    def test_a_program_without_its_cell(self) -> None:
        from fastmask.torch._cells import cell_of

        with pytest.raises(ValueError, match="needs the cell lost: define it"):
            cell_of("lost 0123")

    def test_repr(self) -> None:
        module = Recurrent(three_states, F, H, bias=False, bidirectional=True)
        assert repr(module) == "Recurrent(three_states, 3, 5, bias=False, bidirectional=True)"
        assert (module.rate == 0.25).all()
        assert module.bias is None


@pytest.mark.parametrize("function", [torch.tanh, torch.nn.functional.silu, torch.maximum])
def test_functions_of_torch_cannot_be_in_a_formula(function: Any) -> None:
    def wrong(s: Any, h: Any) -> Any:
        return function(*[s, h][: 1 + (function is torch.maximum)]) + h

    message = rf"torch.{function.__name__} cannot be applied .*: fastmask.cells has the functions"
    with pytest.raises(TypeError, match=message):
        fm.cell(wrong)
