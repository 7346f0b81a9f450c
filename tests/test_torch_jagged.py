"""fastmask.torch's modules on jagged nested tensors: every row as if alone."""

from __future__ import annotations

import logging
from typing import Any

import pytest

import fastmask as fm

pytestmark = pytest.mark.optional
torch = pytest.importorskip("torch", reason="torch is not installed")
if not hasattr(torch.nested, "nested_tensor_from_jagged"):
    pytest.skip("jagged tensors came with torch 2.5", allow_module_level=True)

import fastmask.torch as ft
from tests.torch_cases import (
    FLOAT64,
    NAMES,
    as_tuple,
    assert_all_close,
    by_rows,
    gradients,
    loss_of,
    random_states,
    twins,
)

LENGTHS = (3, 0, 6, 1)
each_module = pytest.mark.parametrize("name", NAMES)


def jagged(values: Any, lengths: Any = LENGTHS) -> Any:
    """A jagged tensor of the values, to which gradients flow."""
    offsets = torch.tensor([0, *lengths]).cumsum(0)
    return torch.nested.nested_tensor_from_jagged(values, offsets)


def with_gaps(rows: Any, lengths: Any = LENGTHS) -> Any:
    """The first steps of padded rows (B, T, F), a jagged tensor that is not contiguous."""
    starts = torch.zeros(len(lengths), dtype=torch.int64)
    return torch.nested.narrow(rows, 1, starts, torch.tensor(lengths), layout=torch.jagged)


def random_values(features: int = 3, **options: Any) -> Any:
    return torch.randn(sum(LENGTHS), features, **{"dtype": FLOAT64, **options})


def padded(values: Any) -> tuple[Any, Any]:
    """Padded rows (B, T, F) and their mask, made by torch alone."""
    rows = torch.nn.utils.rnn.pad_sequence(values.split(LENGTHS), batch_first=True)
    return rows, torch.arange(max(LENGTHS)) < torch.tensor(LENGTHS)[:, None]


def found(module: Any, x: Any, leaf: Any, hx: Any) -> list[Any]:
    """Values of the output, states, and all gradients."""
    out, last = module(x, hx)
    assert out.offsets() is x.offsets()
    results = [out.values(), *as_tuple(last)]
    return [*results, *gradients(loss_of(*results), leaf, *as_tuple(hx), *module.parameters())]


@each_module
@pytest.mark.parametrize("options", [{}, {"num_layers": 2, "bidirectional": True}], ids=str)
def test_rows_alone(name: str, options: dict[str, Any]) -> None:
    theirs, ours = twins(name, 3, 5, batch_first=True, **options)
    leaf, hx = random_values().requires_grad_(), random_states(theirs, len(LENGTHS))
    rows, valid = padded(leaf)
    out, last = by_rows(theirs, rows, valid, hx)
    results = [out[valid], *last]
    wanted = gradients(loss_of(*results), leaf, *as_tuple(hx), *theirs.parameters())
    assert_all_close(found(ours, jagged(leaf), leaf, hx), [*results, *wanted])
    # The axes of a jagged tensor do not depend on `batch_first`.
    again = getattr(ft, name)(3, 5, dtype=FLOAT64, recompute=True, **options)
    again.load_state_dict(theirs.state_dict())
    assert_all_close(found(again, jagged(leaf), leaf, hx), [*results, *wanted])


@each_module
def test_without_gradients_in_float32(name: str) -> None:
    theirs, ours = twins(name, 3, 5, bidirectional=True, dtype=torch.float32)
    values = random_values(dtype=torch.float32)
    with torch.no_grad():
        out, last = ours(jagged(values))
        for row, own in zip(values.split(LENGTHS), out.unbind(), strict=True):
            assert len(row) == len(own)
            if len(row):
                assert_all_close([own], [theirs(row)[0]], 5e-5)
    assert not as_tuple(last)[0][:, 1].any()  # of the row without steps


def test_rows_with_gaps_between_them() -> None:
    _, ours = twins("LSTM", 3, 5, num_layers=2, bidirectional=True)
    rows = torch.randn(4, 8, 3, dtype=FLOAT64, requires_grad=True)
    gaps, hx = with_gaps(rows), random_states(ours, 4)
    out, last = ours(gaps, hx)
    assert out.lengths() is gaps.lengths()
    assert (out + out).shape == out.shape
    together = torch.cat([row[:n] for row, n in zip(rows, LENGTHS, strict=True)])
    expected, ends = ours(jagged(together), hx)
    results = [torch.cat(list(out.unbind())), *last]
    others = [expected.values(), *ends]
    assert_all_close(results, others)
    assert_all_close(gradients(loss_of(*results), rows), gradients(loss_of(*others), rows))


def test_torch_combines_what_comes_out() -> None:
    ids = torch.nested.nested_tensor(
        [torch.tensor([4, 1, 2]), torch.tensor([3])], layout=torch.jagged
    )
    words = torch.nn.Embedding(5, 6)
    first, second = ft.LSTM(6, 3, bidirectional=True), ft.GRU(6, 6)
    out = torch.nn.Linear(6, 6)(torch.nn.Linear(6, 6)(first(words(ids))[0]).relu() + words(ids))
    scores = second(out)[0] * out
    torch.nn.functional.cross_entropy(scores.values(), torch.arange(4)).backward()
    assert all(p.grad.abs().sum() > 0 for p in (*words.parameters(), *first.parameters()))


def test_cells_of_formulas() -> None:
    cell = fm.cells.CELLS["peephole_lstm"]
    module = ft.Recurrent(cell, 3, 5, bidirectional=True, dtype=FLOAT64)
    leaf = random_values().requires_grad_()
    hx = tuple(torch.randn(2, 4, 5, dtype=FLOAT64) for _ in cell.states)
    rows, valid = padded(leaf)
    out, last = module(rows.transpose(0, 1), hx, mask=valid.T)
    results = [out.transpose(0, 1)[valid], *last]
    wanted = gradients(loss_of(*results), leaf, *module.parameters())
    made, ends = module(jagged(leaf), hx)
    values = [made.values(), *ends]
    assert_all_close(values, results)
    assert_all_close(gradients(loss_of(*values), leaf, *module.parameters()), wanted)


def test_no_steps_and_no_rows() -> None:
    _, ours = twins("GRU", 3, 5, num_layers=2, bidirectional=True)
    for lengths in ((0, 0), ()):
        hx = random_states(ours, len(lengths))
        values = torch.zeros(0, 3, dtype=FLOAT64, requires_grad=True)
        out, last = ours(jagged(values, lengths), hx)
        assert out.values().shape == (0, 10)
        assert_all_close([last], [hx])
        last.sum().backward()
        assert values.grad is None or values.grad.shape == (0, 3)


def test_offsets_that_change_are_seen() -> None:
    _, ours = twins("GRU", 3, 5)
    x = jagged(random_values())
    ours(x)
    x.offsets()[1] = 1
    (first, second), _ = ours(x)[0].unbind()[:2], None
    assert_all_close([second], [ours(x.values()[1:3])[0]])
    assert len(first) == 1


@pytest.mark.filterwarnings("ignore:fastmask.torch")
def test_what_kernels_do_not_compute() -> None:
    values = random_values()
    for batch_first in (False, True):
        theirs, ours = twins("LSTM", 3, 5, proj_size=2, batch_first=batch_first)
        out, (h, _) = ours(jagged(values))
        for row, own in zip(values.split(LENGTHS), out.unbind(), strict=True):
            if len(row):
                assert_all_close([own], [theirs(row)[0]])
        assert_all_close([h[0, 2]], [out.unbind()[2][-1]])
    half = ft.Recurrent(fm.cells.CELLS["ind_rnn"], 3, 5, dtype=torch.bfloat16)
    out, _ = half(jagged(values.bfloat16()))
    assert out.values().shape == (10, 5)
    assert out.dtype == torch.bfloat16


@pytest.mark.filterwarnings("ignore")  # of torch's own, while it compiles
def test_compiled_programs_break_the_graph() -> None:
    torch._dynamo.reset()
    _, ours = twins("LSTM", 3, 3, bidirectional=True)
    linear = torch.nn.Linear(6, 3, dtype=FLOAT64)

    def program(x: Any) -> Any:
        return linear(ours(x * 2)[0]) + x

    results = []
    for function in (torch.compile(program, backend="aot_eager"), program):
        leaf = torch.linspace(-1, 1, 30, dtype=FLOAT64).view(10, 3).requires_grad_()
        out = function(jagged(leaf)).values()
        results.append([out, *gradients(loss_of(out), leaf, *ours.parameters())])
    assert_all_close(*results)


def test_errors() -> None:
    gru = ft.GRU(3, 5, dtype=FLOAT64)
    x, from_jagged = jagged(random_values()), torch.nested.nested_tensor_from_jagged
    values, offsets = x.values(), torch.tensor([0, 4, 8])
    cases = [
        ((jagged(random_values(4)),), "input must have 3 features"),
        ((jagged(random_values(dtype=torch.float32)),), "input must hold torch.float64"),
        ((x, None, torch.ones(4, 6)), "mask must be None for a nested tensor"),
        ((x, torch.ones(1, 3, 5, dtype=FLOAT64)), r"hx must have shape \(1, 4, 5\)"),
        ((x.transpose(1, 2),), r"a jagged tensor of \(batch, ragged steps, features\)"),
        ((jagged(values[:, 0]),), r"a jagged tensor of \(batch, ragged steps, features\)"),
        ((from_jagged(values, torch.tensor([0, 4, 11])),), "end within its 10 values"),
        ((from_jagged(values, torch.tensor([0, 4, 3])),), "offsets of input must never fall"),
        ((from_jagged(values, offsets, torch.tensor([4, 5])),), "lengths of input must fit"),
        ((from_jagged(values, offsets, torch.tensor([-1, 2])),), "lengths of input must fit"),
    ]
    for arguments, message in cases:
        with pytest.raises(ValueError, match=message):
            gru(*arguments)


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
def test_nested_tensors_of_the_old_layout() -> None:
    old = torch.nested.nested_tensor([torch.ones(2, 3)])
    with pytest.raises(ValueError, match=r"nested with layout=torch.jagged, not torch.strided"):
        ft.GRU(3, 5)(old)


def test_torch_does_not_log_a_warning() -> None:
    logger, records = logging.getLogger("torch.fx._symbolic_trace"), []
    once = getattr(torch.fx._symbolic_trace, "is_fx_tracing_warning", None)
    for function in (once, ft._jagged._without_a_remark):
        if function is not None:
            function.cache_clear()
    handler = logging.Handler()
    handler.emit = records.append  # type: ignore[method-assign]  # a method of one handler
    logger.addHandler(handler)
    try:
        ft.GRU(3, 2)(torch.nested.nested_tensor([torch.randn(4, 3)], layout=torch.jagged))
    finally:
        logger.removeHandler(handler)
    assert records == []
    assert logger.filters == []


def test_padded_by_torch_as_its_input_is() -> None:
    module = ft.LSTM(3, 2, batch_first=True)
    offsets = torch.tensor([0, 3, 3, 8, 9])
    for x in (
        torch.nested.nested_tensor_from_jagged(torch.randn(9, 3), offsets, max_seqlen=5),
        torch.nested.nested_tensor_from_jagged(torch.randn(9, 3), offsets),
        torch.nested.nested_tensor([torch.randn(n, 3) for n in (2, 4)], layout=torch.jagged),
    ):
        out, _ = module(x)
        longest = int(x.offsets().diff().max())
        assert out.to_padded_tensor(0.0).shape == (x.shape[0], longest, 2)
