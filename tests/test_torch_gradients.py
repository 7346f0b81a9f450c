"""Gradients of fastmask.torch's modules equal torch.nn's; partial and repeated gradients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fastmask as fm

pytestmark = pytest.mark.optional
torch = pytest.importorskip("torch", reason="torch is not installed")


from fastmask.torch._parts import PART_BYTES, ROWS, parts_of
from tests.cases import MASK_KINDS
from tests.torch_cases import (
    FLOAT64,
    as_tuple,
    assert_all_close,
    each_module,
    gradients,
    loss_of,
    random_mask,
    random_states,
    twins,
)


def assert_same_gradients(modules: Any, x: Any, loss: Callable[[Any, Any], Any]) -> None:
    """Compare both modules' gradients of a loss of their output and last states."""
    assert_all_close(*(gradients(loss(*module(x)), x, *module.parameters()) for module in modules))


@each_module
@pytest.mark.parametrize("recompute", [False, True])
@pytest.mark.parametrize("zeros", [False, True])
def test_gradcheck(name: str, recompute: bool, zeros: bool) -> None:
    options = {"recompute": recompute, "zero_output_for_mask": zeros}
    _, ours = twins(name, 2, 3, num_layers=2, bidirectional=True, **options)
    valid = random_mask("holes", 3, 4).T
    x = torch.randn(4, 3, 2, dtype=FLOAT64, requires_grad=True)
    hx = as_tuple(random_states(ours, 3))
    names = [parameter for parameter, _ in ours.named_parameters()]

    def function(x: Any, *rest: Any) -> tuple[Any, ...]:
        states = rest[: len(hx)]
        weights = dict(zip(names, rest[len(hx) :], strict=True))
        arguments = (x, states if len(hx) > 1 else states[0])
        out, last = torch.func.functional_call(ours, weights, arguments, {"mask": valid})
        return out, *as_tuple(last)

    assert torch.autograd.gradcheck(function, (x, *hx, *ours.parameters()), fast_mode=True)


@each_module
@pytest.mark.parametrize("kind", MASK_KINDS)
def test_recomputation_takes_rows_in_parts(name: str, kind: str) -> None:
    _, ours = twins(name, 3, 5, bidirectional=True, batch_first=True)
    batch, time = 4 * ROWS + 3, 7
    valid = random_mask(kind, batch, time)
    x = torch.randn(batch, time, 3, dtype=FLOAT64, requires_grad=True)
    hx = random_states(ours, batch)
    leaves = (x, *as_tuple(hx), *ours.parameters())

    def found() -> list[Any]:
        out, last = ours(x, hx, mask=valid)
        return gradients(loss_of(out, *as_tuple(last)), *leaves)

    kept = found()
    ours.recompute = True
    assert_all_close(found(), kept)


@pytest.mark.parametrize("kind", MASK_KINDS)
def test_parts_have_plans_of_their_own(kind: str) -> None:
    valid = random_mask(kind, 4 * ROWS + 3, 7).numpy()
    parts = parts_of(fm.Mask(valid).plan, 7)
    assert len(parts) == 4
    for part in parts:
        expected = fm.Mask(valid[part.rows]).plan
        for mine, theirs in zip(part.plan, expected, strict=True):
            np.testing.assert_array_equal(mine, theirs)


def test_parts_of_many_long_rows_take_little_memory() -> None:
    plan = fm.Mask(np.ones((4096, 100), bool)).plan
    step_bytes = 4 * 256 * 4
    parts = parts_of(plan, 100, step_bytes)
    sizes = [(part.steps.stop - part.steps.start) * step_bytes for part in parts]
    assert sum(sizes) == 4096 * 100 * step_bytes
    assert PART_BYTES / 2 < max(sizes) <= PART_BYTES
    longer = parts_of(plan, 100, 1000 * step_bytes)
    assert {part.rows.stop - part.rows.start for part in longer} == {ROWS}


@each_module
@pytest.mark.parametrize("few", [True, False])
def test_backward_twice(name: str, few: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not few:
        monkeypatch.setattr("fastmask.torch._autograd.FEW", 0)
    _, ours = twins(name, 3, 5, bidirectional=True)
    x = torch.randn(6, 4, 3, dtype=FLOAT64, requires_grad=True)
    out, last = ours(x, mask=random_mask("holes", 4, 6).T)
    leaves = [x, *ours.parameters()]
    loss = loss_of(out, *as_tuple(last))
    first = torch.autograd.grad(loss, leaves, retain_graph=True)
    second = torch.autograd.grad(loss, leaves, retain_graph=True)
    third = torch.autograd.grad(3 * loss, leaves)
    assert_all_close(second, first, 0 if few else 1e-12)
    assert_all_close(third, [3 * gradient for gradient in first])


@each_module
@pytest.mark.parametrize("which", ["output", "states"])
def test_loss_of_one_result(name: str, which: str) -> None:
    theirs, ours = twins(name, 3, 5, bidirectional=True)
    x = torch.randn(6, 4, 3, dtype=FLOAT64, requires_grad=True)

    def loss(out: Any, last: Any) -> Any:
        return loss_of(out) if which == "output" else loss_of(*as_tuple(last))

    assert_same_gradients((ours, theirs), x, loss)


@each_module
@pytest.mark.parametrize("sizes", [(1, 1), (1, 4), (3, 1)], ids=str)
def test_one_row_or_one_step(name: str, sizes: tuple[int, int]) -> None:
    theirs, ours = twins(name, 3, 5, num_layers=2, bidirectional=True, batch_first=True)
    x = torch.randn(*sizes, 3, dtype=FLOAT64, requires_grad=True)
    assert_same_gradients((ours, theirs), x, lambda out, last: loss_of(out, *as_tuple(last)))


@each_module
def test_frozen_weights_and_strange_layouts(name: str) -> None:
    theirs, ours = twins(name, 3, 5, num_layers=2, bidirectional=True, batch_first=True)
    for module in (ours, theirs):
        module.weight_hh_l0.requires_grad_(False)
    x = torch.randn(3, 8, 5, dtype=FLOAT64).permute(2, 1, 0)[:, ::2].requires_grad_()
    found = []
    for module in (ours, theirs):
        out, _ = module(x)
        leaves = [x, *(p for p in module.parameters() if p.requires_grad)]
        # The gradient of a sum is one number, expanded.
        found.append([out, *torch.autograd.grad(out.sum(), leaves)])
    assert_all_close(*found)


@each_module
@pytest.mark.parametrize("bidirectional", [False, True])
def test_complex_losses(name: str, bidirectional: bool) -> None:
    theirs, ours = twins(name, 3, 5, bidirectional=bidirectional)
    x = torch.randn(6, 4, 3, dtype=FLOAT64, requires_grad=True)

    def loss(out: Any, _: Any) -> Any:
        # The gradient of the imaginary part is negated when it is read.
        return (torch.complex(x[..., :1], out).conj() * (2 + 1j)).real.sum()

    assert_same_gradients((ours, theirs), x, loss)


@each_module
def test_gradients_of_the_first_states_alone(name: str) -> None:
    theirs, ours = twins(name, 3, 5, num_layers=2)
    x = torch.randn(6, 4, 3, dtype=FLOAT64)
    hx = random_states(theirs, 4)
    found = []
    for module in (ours, theirs):
        out, last = module.requires_grad_(False)(x, hx)
        found.append(gradients(loss_of(out, *as_tuple(last)), *as_tuple(hx)))
    assert_all_close(*found)


@each_module
def test_outputs_may_be_changed_in_place(name: str) -> None:
    theirs, ours = twins(name, 3, 5)
    x = torch.randn(6, 4, 3, dtype=FLOAT64, requires_grad=True)
    found = []
    for module in (ours, theirs):
        out, _ = module(x)
        out.mul_(2).relu_()
        found.append(gradients(out.sum(), x, *module.parameters()))
    assert_all_close(*found)


@each_module
def test_an_optimizer_may_step_between_forward_and_backward(name: str) -> None:
    _, ours = twins(name, 1, 1)  # sizes for which a transposed matrix is a view of itself
    x = torch.randn(6, 4, 1, dtype=FLOAT64, requires_grad=True)
    loss = ours(x)[0].sum()
    (expected,) = torch.autograd.grad(loss, x, retain_graph=True)
    with torch.no_grad():
        for parameter in ours.parameters():
            parameter.zero_()
    assert_all_close(torch.autograd.grad(loss, x), [expected])


@each_module
@pytest.mark.parametrize("bias", [True, False])
def test_gradients_are_laid_out_as_torch_has_them(name: str, bias: bool) -> None:
    _, ours = twins(name, 3, 5, bias=bias, bidirectional=True)
    out = ours(torch.randn(6, 4, 3, dtype=FLOAT64))[0].sum()
    weights = list(ours.parameters())
    for weight, gradient in zip(weights, torch.autograd.grad(out, weights), strict=True):
        assert gradient.stride() == weight.stride()
        gradient.detach_()  # raises if it is a view
