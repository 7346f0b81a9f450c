"""fastmask.torch's modules compute what torch.nn's compute, forward and backward."""

from __future__ import annotations

import copy
import io
import itertools
from typing import Any

import numpy as np
import pytest

import fastmask as fm

pytestmark = pytest.mark.optional
torch = pytest.importorskip("torch", reason="torch is not installed")

from torch.nn.utils.rnn import (  # noqa: E402 - needs torch
    pack_padded_sequence,
    pack_sequence,
)

import fastmask.torch as ft  # noqa: E402 - needs torch
from fastmask.torch._parts import PART_BYTES, ROWS, parts_of  # noqa: E402 - needs torch
from tests.cases import MASK_KINDS  # noqa: E402 - needs torch
from tests.torch_cases import (  # noqa: E402 - needs torch
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

OPTIONS = [
    {"num_layers": layers, "bidirectional": both, "bias": bias}
    for layers, both, bias in itertools.product((1, 2), (False, True), (True, False))
]
each_module = pytest.mark.parametrize("name", NAMES)
each_option = pytest.mark.parametrize(
    "options", OPTIONS, ids=lambda o: "-".join(str(int(v)) for v in o.values())
)


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def run(module: Any, x: Any, hx: Any = None, **mask: Any) -> list[Any]:
    """Output, states and gradients of everything that can have one."""
    x = x.clone().requires_grad_()
    out, last = module(x, hx, **mask)
    leaves = [x, *module.parameters(), *([] if hx is None else as_tuple(hx))]
    return [out, *as_tuple(last), *gradients(loss_of(out, *as_tuple(last)), *leaves)]


@each_module
@each_option
@pytest.mark.parametrize("batch_first", [False, True])
def test_full_batches(name: str, options: dict[str, Any], batch_first: bool) -> None:
    theirs, ours = twins(name, 3, 5, **options, batch_first=batch_first)
    x = torch.randn(4, 6, 3, dtype=FLOAT64)
    hx = random_states(theirs, 4 if batch_first else 6)
    assert_all_close(run(ours, x, hx), run(theirs, x, hx))
    assert_all_close(run(ours, x), run(theirs, x))


@each_module
def test_float32(name: str) -> None:
    theirs, ours = twins(name, 20, 33, bidirectional=True, dtype=torch.float32)
    x = torch.randn(9, 17, 20)
    hx = random_states(theirs, 17)
    assert_all_close(run(ours, x, hx), run(theirs, x, hx), 5e-5)


@pytest.mark.parametrize("nonlinearity", ["tanh", "relu"])
def test_nonlinearity(nonlinearity: str) -> None:
    theirs, ours = twins("RNN", 3, 5, nonlinearity=nonlinearity)
    x = torch.randn(7, 4, 3, dtype=FLOAT64)
    assert ours.nonlinearity == nonlinearity
    assert_all_close(run(ours, x), run(theirs, x))
    positional = ft.RNN(3, 5, 2, nonlinearity, False)
    assert (positional.mode, positional.bias) == (f"RNN_{nonlinearity.upper()}", False)


@each_module
@pytest.mark.parametrize("batch_first", [False, True])
def test_one_sequence_without_batch(name: str, batch_first: bool) -> None:
    theirs, ours = twins(name, 3, 5, num_layers=2, bidirectional=True, batch_first=batch_first)
    x = torch.randn(6, 3, dtype=FLOAT64)
    hx = random_states(theirs, None)
    assert_all_close(run(ours, x, hx), run(theirs, x, hx))
    assert_all_close(run(ours, x), run(theirs, x))
    valid = torch.tensor([True, False, True, True, False, True])
    out, last = ours(x, mask=valid)
    expected, expected_last = theirs(x[valid])
    assert_all_close([out[valid], *as_tuple(last)], [expected, *as_tuple(expected_last)])
    assert not out[~valid].any()


@each_module
@each_option
@pytest.mark.parametrize("ordered", [True, False])
def test_packed_sequences(name: str, options: dict[str, Any], ordered: bool) -> None:
    theirs, ours = twins(name, 3, 5, **options)
    lengths = [7, 4, 4, 1] if ordered else [4, 1, 7, 4]
    x = torch.randn(4, 7, 3, dtype=FLOAT64)
    hx = random_states(theirs, 4)
    found = []
    for module in (ours, theirs):
        leaf = x.clone().requires_grad_()
        sequences = pack_padded_sequence(leaf, lengths, batch_first=True, enforce_sorted=ordered)
        out, last = module(sequences, hx)
        assert type(out) is type(sequences)
        leaves = [leaf, *as_tuple(hx), *module.parameters()]
        found.append(
            [
                *(out.data, out.batch_sizes, *as_tuple(last)),
                *gradients(loss_of(out.data, *as_tuple(last)), *leaves),
                *as_tuple(module(sequences)[1]),
            ]
        )
        assert (out.sorted_indices is None) == ordered
    assert_all_close(*found)


@each_module
def test_packed_sequences_of_rows_in_order(name: str) -> None:
    theirs, ours = twins(name, 3, 5)
    sequences = pack_sequence([torch.randn(n, 3, dtype=FLOAT64) for n in (5, 3)])
    with torch.no_grad():
        assert_all_close([ours(sequences)[0].data], [theirs(sequences)[0].data])


@each_module
@pytest.mark.parametrize("kind", MASK_KINDS)
@pytest.mark.parametrize("both", [False, True])
def test_masks(name: str, kind: str, both: bool) -> None:
    theirs, ours = twins(name, 3, 5, num_layers=2, bidirectional=both, batch_first=True)
    valid = random_mask(kind, 5, 7)
    x = torch.randn(5, 7, 3, dtype=FLOAT64)
    hx = random_states(theirs, 5)
    found = []
    for fast in (True, False):
        leaf = x.clone()
        leaf[~valid] = torch.nan if fast else 0.0  # nobody may look at a masked step
        leaf.requires_grad_()
        module = ours if fast else theirs
        out, last = ours(leaf, hx, mask=valid) if fast else by_rows(theirs, leaf, valid, hx)
        leaves = [leaf, *as_tuple(hx), *module.parameters()]
        loss = loss_of(out, *as_tuple(last))
        found.append([out, *as_tuple(last), *gradients(loss, *leaves)])
    assert_all_close(*found)
    assert not found[0][0][~valid].any()


@each_module
def test_masked_gradients_reach_nothing(name: str) -> None:
    _, ours = twins(name, 3, 5, bidirectional=True, batch_first=True)
    valid = random_mask("holes", 4, 6)
    x = torch.randn(4, 6, 3, dtype=FLOAT64, requires_grad=True)
    out, _ = ours(x, mask=valid)
    dout = torch.ones_like(out)
    dout[~valid] = torch.nan
    for gradient in torch.autograd.grad(out, [x, *ours.parameters()], dout):
        assert gradient.isfinite().all()
    assert valid.any()


@each_module
def test_forms_of_masks(name: str) -> None:
    _, ours = twins(name, 3, 5)
    x = torch.randn(6, 4, 3, dtype=FLOAT64)
    valid = random_mask("holes", 4, 6)
    expected = ours(x, mask=valid.T)[0]
    batch_first = copy.deepcopy(ours)
    batch_first.batch_first = True
    for mask in (
        valid.T.int(),
        valid.T.double(),
        valid.T.bfloat16(),
        valid.T.numpy(),
        valid.T.tolist(),
        fm.Mask(valid),
    ):
        assert torch.equal(ours(x, mask=mask)[0], expected)
    for mask in (valid, valid.long(), valid.numpy(), fm.Mask(valid)):
        out, _ = batch_first(x.transpose(0, 1), mask=mask)
        assert torch.equal(out.transpose(0, 1), expected)


def test_a_mask_is_planned_once() -> None:
    from fastmask.backends.plan import plans_made

    _, ours = twins("LSTM", 3, 5, num_layers=3, bidirectional=True, batch_first=True)
    x = torch.randn(4, 6, 3, dtype=FLOAT64)
    mask = fm.Mask(random_mask("holes", 4, 6).numpy())
    before = plans_made()
    for _ in range(3):
        ours(x, mask=mask)[0].sum().backward()
    assert plans_made() == before + 1


@each_module
def test_previous_output_at_masked_steps(name: str) -> None:
    _, ours = twins(name, 3, 5, bidirectional=True, batch_first=True, zero_output_for_mask=False)
    valid = random_mask("holes", 5, 7, seed=3)
    x = torch.randn(5, 7, 3, dtype=FLOAT64, requires_grad=True)
    zeroed = copy.deepcopy(ours)
    zeroed.zero_output_for_mask = False
    out, _ = ours(x, mask=valid)
    zeroed.zero_output_for_mask = True
    reference, _ = zeroed(x, mask=valid)
    filled = torch.zeros_like(reference)
    for b in range(5):
        for half, steps in ((slice(0, 5), range(7)), (slice(5, 10), range(6, -1, -1))):
            previous = torch.zeros(5, dtype=FLOAT64)
            for t in steps:
                previous = reference[b, t, half] if valid[b, t] else previous
                filled[b, t, half] = previous
    assert_all_close([out], [filled])
    leaves = [x, *zeroed.parameters()]
    assert_all_close(
        gradients(loss_of(out), x, *ours.parameters()), gradients(loss_of(filled), *leaves)
    )


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
    found = []
    for module in (ours, theirs):
        out, last = module(x)
        loss = loss_of(out) if which == "output" else loss_of(*as_tuple(last))
        found.append(gradients(loss, x, *module.parameters()))
    assert_all_close(*found)


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
        # The gradient of a sum is one number that is seen everywhere.
        found.append([out, *torch.autograd.grad(out.sum(), leaves)])
    assert_all_close(*found)


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
def test_training_computes_what_inference_does(name: str) -> None:
    _, ours = twins(name, 3, 5, num_layers=2, bidirectional=True)
    x = torch.randn(6, 4, 3, dtype=FLOAT64)
    mask = random_mask("holes", 4, 6).T
    expected = ours(x, mask=mask)[0]
    for mode in (torch.no_grad(), torch.inference_mode()):
        with mode:
            assert_all_close([ours(x, mask=mask)[0]], [expected], 1e-13)


@each_module
def test_changed_weights_are_seen(name: str) -> None:
    theirs, ours = twins(name, 3, 5)
    x = torch.randn(6, 4, 3, dtype=FLOAT64)

    @torch.no_grad()
    def agree() -> None:
        theirs.load_state_dict(ours.state_dict())
        assert_all_close([ours(x)[0]], [theirs(x)[0]])

    agree()
    ours.weight_ih_l0.data.mul_(0.5)  # leaves the version counter alone
    agree()
    ours.bias_hh_l0.detach().numpy()[:] = 0.25
    agree()
    ours.weight_hh_l0.data = torch.randn_like(ours.weight_hh_l0)
    agree()
    with torch.no_grad():
        ours.weight_hh_l0.add_(0.1)
    agree()
    ours(x)[0].sum().backward()
    torch.optim.SGD(ours.parameters(), 0.1).step()
    agree()
    ours.reset_parameters()
    agree()


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
        gradient.detach_()  # an error where it is a view


@each_module
def test_dropout(name: str) -> None:
    theirs, ours = twins(name, 3, 5, num_layers=2, dropout=1.0)
    x = torch.randn(6, 4, 3, dtype=FLOAT64)
    assert_all_close([ours(x)[0]], [theirs(x)[0]])  # nothing passes
    ours.eval(), theirs.eval()
    assert_all_close([ours(x)[0]], [theirs(x)[0]])
    ours.train()
    ours.dropout = 0.3
    seen = torch.stack([ours(x)[0] for _ in range(20)])
    assert (seen.std(0) > 0).all()
    single = ft.LSTM(3, 5)
    assert torch.equal(single(x.float())[0], single(x.float())[0])


@each_module
def test_inputs_that_are_negated_when_read(name: str) -> None:
    theirs, ours = twins(name, 3, 5, batch_first=True)
    x = torch._neg_view(torch.randn(4, 6, 3, dtype=FLOAT64))
    assert_all_close([ours(x)[0]], [theirs(x)[0]])


@each_module
@pytest.mark.parametrize("shape", [(0, 4), (6, 0), (0, 0)])
def test_nothing_to_do(name: str, shape: tuple[int, int]) -> None:
    _, ours = twins(name, 3, 5, bidirectional=True)
    x = torch.randn(*shape, 3, dtype=FLOAT64, requires_grad=True)
    hx = random_states(ours, shape[1])
    out, last = ours(x, hx)
    assert out.shape == (*shape, 10)
    assert_all_close(as_tuple(last), as_tuple(hx))
    found = gradients(loss_of(out, *as_tuple(last)), x, *ours.parameters())
    assert not any(gradient.any() for gradient in found)


@each_module
def test_copies_and_files(name: str) -> None:
    theirs, ours = twins(name, 3, 5, recompute=True)
    x = torch.randn(6, 4, 3, dtype=FLOAT64)
    with torch.no_grad():
        expected = ours(x)[0]
    assert ours.state_dict().keys() == theirs.state_dict().keys()
    file = io.BytesIO()
    torch.save(ours, file)
    file.seek(0)
    for other in (copy.deepcopy(ours), torch.load(file, weights_only=False)):
        assert type(other) is type(ours)
        assert other.recompute
        with torch.no_grad():
            assert torch.equal(other(x)[0], expected)
            other.weight_ih_l0.zero_()
            assert torch.equal(ours(x)[0], expected)
        assert not torch.equal(other(x)[0], expected)
    assert repr(ours) == f"{name}(3, 5, recompute=True)"


def test_seeds_give_the_weights_of_torch() -> None:
    torch.manual_seed(5)
    theirs = torch.nn.LSTM(3, 5, 2, bidirectional=True)
    torch.manual_seed(5)
    ours = ft.LSTM(3, 5, 2, bidirectional=True)
    for a, b in zip(theirs.parameters(), ours.parameters(), strict=True):
        assert torch.equal(a, b)
