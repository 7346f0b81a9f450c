"""Training steps pack weights once: backward always uses the weights of forward."""

from __future__ import annotations

import threading
from typing import Any

import pytest

pytestmark = pytest.mark.optional
torch = pytest.importorskip("torch", reason="torch is not installed")

from torch.utils.checkpoint import checkpoint

from tests.torch_cases import (
    CHANGES,
    FLOAT64,
    as_tuple,
    assert_all_close,
    each_module,
    gradients,
    loss_of,
    random_mask,
    twins,
)


def loss(module: Any, x: Any, mask: Any = None) -> Any:
    out, last = module(x) if mask is None else module(x, mask=mask)
    return loss_of(out, *as_tuple(last))


def new_x(seed: int) -> Any:
    draw = torch.Generator().manual_seed(seed)
    return torch.randn(6, 4, 3, dtype=FLOAT64, generator=draw).requires_grad_()


@each_module
@pytest.mark.parametrize("recompute", [False, True])
def test_weights_change_between_forward_and_backward(name: str, recompute: bool) -> None:
    for change in CHANGES:
        _, ours = twins(name, 3, 5, bidirectional=True, recompute=recompute)
        x = new_x(1)
        leaves = [x, *ours.parameters()]
        expected = gradients(loss(ours, x), *leaves)
        begun = loss(ours, x)
        change(ours)
        assert_all_close(gradients(begun, *leaves), expected)


@each_module
def test_two_forwards_with_other_weights_before_one_backward(name: str) -> None:
    theirs, ours = twins(name, 3, 5)
    x, leaves = new_x(2), []
    expected = []
    for scale in (1.0, 0.5):
        with torch.no_grad():
            for p in theirs.parameters():
                p.mul_(scale)
        leaves = [x, *theirs.parameters()]
        expected.append(gradients(loss(theirs, x), *leaves))
    first = loss(ours, x)
    with torch.no_grad():
        for p in ours.parameters():
            p.mul_(0.5)
    found = gradients(first + loss(ours, x), x, *ours.parameters())
    assert_all_close(found, [a + b for a, b in zip(*expected, strict=True)])


@each_module
def test_one_module_twice_in_a_program(name: str) -> None:
    theirs, ours = twins(name, 5, 5)
    x = torch.randn(6, 4, 5, dtype=FLOAT64, requires_grad=True)
    found = []
    for module in (ours, theirs):
        total = loss(module, module(x)[0])
        found.append(gradients(total, x, *module.parameters()))
    assert_all_close(*found)


@each_module
@pytest.mark.parametrize("reentrant", [False, True])
def test_checkpoints(name: str, reentrant: bool) -> None:
    theirs, ours = twins(name, 3, 5, bidirectional=True)
    x = new_x(3)
    expected = gradients(loss(theirs, x), x, *theirs.parameters())

    def run(x: Any) -> Any:
        return loss(ours, x)

    ours.zero_grad()
    x.grad = None
    checkpoint(run, x, use_reentrant=reentrant).backward()
    assert_all_close([x.grad, *(p.grad for p in ours.parameters())], expected)


def test_saved_tensors_that_hooks_put_elsewhere() -> None:
    theirs, ours = twins("LSTM", 3, 5)
    x = new_x(4)
    expected = gradients(loss(theirs, x), x, *theirs.parameters())

    def out_of_order(tensor: Any) -> Any:  # other strides, and gone from where it was
        return tensor.movedim(0, -1).clone().contiguous()

    with torch.autograd.graph.saved_tensors_hooks(out_of_order, lambda t: t.movedim(-1, 0)):
        begun = loss(ours, x)
    assert_all_close(gradients(begun, x, *ours.parameters()), expected)


def test_hooks_that_change_weights() -> None:
    """A hook on the output's gradient runs between forward and backward."""
    theirs, ours = twins("LSTM", 3, 5)
    x = new_x(5)
    expected = gradients(loss_of(theirs(x)[0]), x, *theirs.parameters())
    out, _ = ours(x)

    def zero(_: Any) -> None:
        with torch.no_grad():
            ours.weight_hh_l0.zero_()

    out.register_hook(zero)
    assert_all_close(gradients(loss_of(out), x, *ours.parameters()), expected)


@each_module
def test_steps_of_several_threads(name: str) -> None:
    _, ours = twins(name, 3, 5, bidirectional=True)
    inputs = [new_x(seed) for seed in range(4)]
    masks = [random_mask("holes", 4, 6, seed).T for seed in range(4)]

    def once(n: int) -> list[Any]:
        return gradients(loss(ours, inputs[n], masks[n]), inputs[n], *ours.parameters())

    expected = list(map(once, range(4)))
    found: list[Any] = [None] * 4

    def run(n: int) -> None:
        for _ in range(5):
            found[n] = once(n)

    threads = [threading.Thread(target=run, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for mine, wanted in zip(found, expected, strict=True):
        assert_all_close(mine, wanted, 0)


def test_weights_and_gradients_of_other_strides() -> None:
    theirs, ours = twins("LSTM", 3, 5)
    ours.weight_ih_l0 = torch.nn.Parameter(ours.weight_ih_l0.detach().T.clone().T)
    wide = torch.zeros(20, 9, dtype=FLOAT64)
    wide[:, ::2] = ours.weight_hh_l0.detach()
    ours.weight_hh_l0 = torch.nn.Parameter(wide[:, ::2])
    x, found = new_x(6), []
    for module in (ours, theirs):
        negative = torch.complex(x, x).conj().imag  # its memory holds the values of x, not negated
        out, _ = module(negative)
        dout = torch.complex(out, out).detach().conj().imag
        found.append(torch.autograd.grad(out, [x, *module.parameters()], dout))
    assert_all_close(*found)
