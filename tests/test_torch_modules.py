"""fastmask.torch's modules compute the same as torch.nn's."""

from __future__ import annotations

import copy
import io
from typing import Any

import pytest

import fastmask as fm

pytestmark = pytest.mark.optional
torch = pytest.importorskip("torch", reason="torch is not installed")

from torch.nn.utils.rnn import (
    pack_padded_sequence,
    pack_sequence,
)

import fastmask.torch as ft
from tests.cases import MASK_KINDS
from tests.torch_cases import (
    FLOAT64,
    as_tuple,
    assert_all_close,
    by_rows,
    each_module,
    each_option,
    gradients,
    loss_of,
    random_mask,
    random_states,
    run,
    twins,
)


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
        leaf[~valid] = torch.nan if fast else 0.0  # masked steps must not be read
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
    ours.weight_ih_l0.data.mul_(0.5)  # does not change the version counter
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
def test_dropout(name: str) -> None:
    theirs, ours = twins(name, 3, 5, num_layers=2, dropout=1.0)
    x = torch.randn(6, 4, 3, dtype=FLOAT64)
    assert_all_close([ours(x)[0]], [theirs(x)[0]])  # everything is dropped
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
