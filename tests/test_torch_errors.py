"""The errors of fastmask.torch's modules."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest

import fastmask as fm

pytestmark = pytest.mark.optional
torch = pytest.importorskip("torch", reason="torch is not installed")

from torch.nn.utils.rnn import (
    PackedSequence,
    pack_sequence,
)

import fastmask.torch as ft
from tests.torch_cases import (
    FLOAT64,
    NAMES,
    assert_all_close,
    twins,
)

each_module = pytest.mark.parametrize("name", NAMES)


@each_module
def test_no_gradients_of_gradients(name: str) -> None:
    _, ours = twins(name, 3, 5)
    x = torch.randn(6, 4, 3, dtype=FLOAT64, requires_grad=True)
    message = rf"^fastmask\.torch\.{name} .* no gradients of .*; use torch\.nn\.{name} with its"
    refused = pytest.raises(NotImplementedError, match=message)
    sources = [x, *ours.parameters()]
    for loss in (lambda: ours(x)[0].sin().sum(), lambda: ours(x)[0].sum()):  # a constant dout, too
        for count in (0, 2):
            gradient = torch.autograd.grad(loss(), sources, create_graph=True)[count]
            with refused:
                (loss() + gradient.square().sum()).backward()
            for source in sources:
                gradient = torch.autograd.grad(loss(), sources, create_graph=True)[count]
                with refused:
                    torch.autograd.grad(gradient.square().sum(), source, allow_unused=True)


@each_module
def test_no_gradients_with_respect_to_gradients(name: str) -> None:
    _, ours = twins(name, 3, 5)
    x = torch.randn(6, 4, 3, dtype=FLOAT64, requires_grad=True)
    dout = torch.ones(6, 4, 5, dtype=FLOAT64, requires_grad=True)
    (gradient,) = torch.autograd.grad(ours(x)[0], x, dout, create_graph=True)
    with pytest.raises(NotImplementedError, match="no gradients of gradients"):
        torch.autograd.grad(gradient.sum(), dout, allow_unused=True)


@each_module
def test_gradients_in_a_graph_are_the_same_and_can_be_changed(name: str) -> None:
    _, ours = twins(name, 3, 5)
    x = torch.randn(6, 4, 3, dtype=FLOAT64)
    expected = torch.autograd.grad(ours(x)[0].sin().sum(), list(ours.parameters()))
    output = torch.utils.checkpoint.checkpoint(lambda x: ours(x)[0], x, use_reentrant=False)
    found = torch.autograd.grad(output.sin().sum(), list(ours.parameters()), create_graph=True)
    assert_all_close(found, expected)
    for one, other in zip(found, expected, strict=True):
        assert torch.equal(one.mul_(2), 2 * other)  # as clip_grad_norm_ does, in place


@each_module
@pytest.mark.parametrize("grad", [True, False])
def test_torch_func_is_refused(name: str, grad: bool) -> None:
    _, ours = twins(name, 3, 5)
    x = torch.randn(2, 6, 4, 3, dtype=FLOAT64)
    message = rf"{name} cannot be transformed by torch.func .* use torch.nn.{name}"
    with torch.set_grad_enabled(grad):
        for transformed in (
            torch.func.grad(lambda x: ours(x[0])[0].sum()),
            torch.vmap(lambda x: ours(x)[0]),
        ):
            with pytest.raises(NotImplementedError, match=message):
                transformed(x)


@each_module
@pytest.mark.parametrize("create_graph", [False, True])
def test_batches_of_gradients_are_refused(name: str, create_graph: bool) -> None:
    _, ours = twins(name, 3, 5)
    x = torch.randn(6, 4, 3, dtype=FLOAT64)
    leaves, packed = list(ours.parameters()), pack_sequence([x[:3, 0], x[:2, 1]])
    message = rf"^fastmask\.torch\.{name} has no batched gradients .* use torch\.nn\.{name}$"
    for output in (ours(x)[0], ours(x)[1][0], ours(packed)[0].data):
        summed = output.reshape(-1, 5).sum(0)
        options = {"is_grads_batched": True, "create_graph": create_graph}
        with pytest.raises(NotImplementedError, match=message):
            torch.autograd.grad(summed, leaves, torch.eye(5, dtype=FLOAT64), **options)
    with pytest.raises(NotImplementedError, match=message):
        torch.autograd.functional.jacobian(lambda x: ours(x)[0].sum(0), x, vectorize=True)


@pytest.mark.filterwarnings("ignore:.*torch.jit.script")  # make_dual's own
@each_module
def test_forward_mode_is_refused(name: str) -> None:
    _, ours = twins(name, 3, 5)
    x = torch.randn(6, 4, 3, dtype=FLOAT64)
    with torch.no_grad(), torch.autograd.forward_ad.dual_level():
        dual = torch.autograd.forward_ad.make_dual(x, torch.ones_like(x))
        with pytest.raises(NotImplementedError, match=f"{name} has no forward-mode derivatives"):
            ours(dual)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (
            {"mask": torch.ones(4, 5)},
            ValueError,
            r"mask must have shape \(time, batch\) = \(6, 4\)",
        ),
        ({"mask": fm.Mask(np.ones((6, 4)))}, ValueError, r"\(batch, time\) = \(4, 6\)"),
        ({"mask": torch.full((6, 4), torch.nan)}, ValueError, "mask holds NaN"),
        ({"mask": torch.full((6, 4), -torch.inf)}, ValueError, "looks like an additive attention"),
        ({"mask": -torch.ones(6, 4).long()}, ValueError, "not -1: .* looks like an additive"),
        ({"mask": torch.full((6, 4), -100)}, ValueError, "pass labels != -100; or .* additive"),
        (
            {"mask": torch.tensor([6, 3, 2, 1])},
            ValueError,
            r"not \(4,\): lengths .* fastmask.Mask.from_lengths\(lengths, 6\)",
        ),
        ({"mask": torch.ones(4)}, ValueError, r"\(time, batch\) = \(6, 4\), not \(4,\)$"),
        (
            {"mask": torch.ones(6).long()},
            ValueError,
            r"not \(6,\): .*from_lengths\(lengths, 4\) for an input .*, batch_first=True$",
        ),
        ({"mask": torch.ones(5).long()}, ValueError, r"not \(5,\)$"),
        (
            {"hx": torch.tensor([6, 3, 2, 1])},
            ValueError,
            r"as mask=\): .*from_lengths\(lengths, 6\)",
        ),
        ({"key_padding_mask": torch.ones(6, 4)}, TypeError, r"GRU.forward\(\) .*it takes .* mask="),
        ({"mask": torch.full((6, 4), 0.5).bfloat16()}, ValueError, "True or 1 .* not 0.5"),
        ({"mask": np.full((6, 4), 7.0)}, ValueError, "not 7.0"),
        ({"mask": torch.ones(6, 4, device="meta")}, ValueError, "mask must have values, .* meta"),
        ({"mask": np.full((6, 4), "a")}, TypeError, "mask must be bool, integer or float"),
        ({"hx": torch.ones(1, 5, 5)}, RuntimeError, r"hx must have shape \(1, 4, 5\)"),
        ({"hx": torch.ones(1, 5)}, ValueError, r"hx must have shape \(1, 4, 5\), not \(1, 5\)$"),
        ({"hx": torch.ones(6, 4)}, ValueError, r"\(1, 4, 5\), not \(6, 4\) .* given as mask="),
        ({"hx": np.ones((6, 4))}, TypeError, "hx must be a tensor, not ndarray .* as mask="),
        ({"hx": fm.Mask(np.ones((4, 6)))}, TypeError, "hx must .* not Mask .* as mask="),
        ({"input": torch.ones(6, 4, 2)}, RuntimeError, "input must have 3 features .*, not 2"),
        ({"input": torch.ones(6, 4, 2)}, ValueError, r"not 2 \(shape \(6, 4, 2\)\)"),
        ({"input": torch.ones(6, 4, 3).double()}, ValueError, "input must hold torch.float32.*64"),
        (
            {"input": torch.ones(6, 4, 3).bfloat16()},
            ValueError,
            "input must hold .* torch.bfloat16",
        ),
        ({"input": torch.ones(6, 4, 3).half()}, ValueError, "input must hold .* torch.float16"),
        ({"hx": torch.ones(1, 4, 5).double()}, ValueError, "hx must hold torch.float32 like"),
        ({"hx": torch.ones(1, 4, 5).half()}, ValueError, "hx must hold .*, not torch.float16"),
        ({"hx": np.ones((1, 4, 5))}, TypeError, "hx must be a tensor, not ndarray$"),
        ({"input": np.ones((6, 4, 3))}, TypeError, r"not ndarray: torch.as_tensor\(input\) "),
        ({"input": torch.ones(3)}, ValueError, "input must have 2 or 3 axes, not 1"),
    ],
)
def test_errors(arguments: dict[str, Any], error: type[Exception], message: str) -> None:
    module = ft.GRU(3, 5)
    with pytest.raises(error, match=message):
        module(**{"input": torch.ones(6, 4, 3), **arguments})


@pytest.mark.parametrize(
    ("hx", "error", "message"),
    [
        (
            torch.ones(6, 4),
            ValueError,
            r"pair of tensors .* not a tensor of shape \(6, 4\) .*mask=",
        ),
        (torch.ones(6, 4) > 0, ValueError, "a mask is given as mask="),
        (np.ones((6, 4)), ValueError, "pair of tensors .* not ndarray .* a mask is given as mask="),
        ([[1, 1, 1, 1]] * 6, ValueError, "pair of tensors .* not 6 of them .* given as mask="),
        (fm.Mask(np.ones((4, 6))), ValueError, "pair of tensors .* not Mask .* given as mask="),
        (torch.ones(1, 4, 5), ValueError, r"pair of tensors \(h, c\), not a tensor .*5\)$"),
        ([torch.ones(1, 4, 5)] * 3, ValueError, r"pair of tensors \(h, c\), not 3 of them$"),
        ([torch.ones(1, 4, 5), None], TypeError, "hx must hold tensors, not NoneType$"),
    ],
)
def test_errors_of_pairs(hx: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        ft.LSTM(3, 5)(torch.ones(6, 4, 3), hx)


@each_module
@pytest.mark.parametrize("grad", [True, False])
@pytest.mark.parametrize(
    ("name_of_weight", "changed", "message"),
    [
        ("weight_ih_l0", lambda w: w[:, :2], r"must have shape \(\d+, 3\), not \(\d+, 2\)"),
        ("weight_hh_l1_reverse", lambda w: w[:-1], r"must have shape \(\d+, 5\), not \(\d+, 5\)"),
        ("weight_ih_l1", lambda w: w[:, :5], r"must have shape \(\d+, 10\), not \(\d+, 5\)"),
        ("bias_hh_l0", lambda w: w[None], r"must have shape \(\d+,\), not \(1, \d+\)"),
        ("bias_ih_l1", lambda w: w.double(), "must be torch.float32 on cpu like weight_ih_l0"),
    ],
)
def test_errors_of_weights(
    name: str, grad: bool, name_of_weight: str, changed: Any, message: str
) -> None:
    module = getattr(ft, name)(3, 5, num_layers=2, bidirectional=True)
    weight = getattr(module, name_of_weight).detach()
    setattr(module, name_of_weight, torch.nn.Parameter(changed(weight)))
    with (
        torch.set_grad_enabled(grad),
        pytest.raises(ValueError, match=name_of_weight + " " + message),
    ):
        module(torch.ones(6, 4, 3))


def test_weights_shared_by_modules_of_other_sizes() -> None:
    first, other = ft.GRU(3, 5), ft.GRU(4, 5)
    with torch.no_grad():
        first(torch.ones(6, 4, 3))
        for name, parameter in first.named_parameters():
            setattr(other, name, parameter)
        with pytest.raises(
            ValueError, match=r"weight_ih_l0 must have shape \(15, 4\), not \(15, 3\)"
        ):
            other(torch.ones(6, 4, 4))


@pytest.mark.parametrize("name", ["GRU", "RNN"])
def test_projections_are_for_the_lstm(name: str) -> None:
    with pytest.raises(ValueError, match=r"proj_size is for LSTM only.*\(proj_size=2\)"):
        getattr(ft, name)(3, 5, proj_size=2)


@each_module
def test_a_constructor_without_sizes(name: str) -> None:
    with pytest.raises(TypeError, match=r"missing 2 required .* 'input_size' and 'hidden_size'"):
        getattr(ft, name)()


def test_errors_of_python_name_no_private_class() -> None:
    for arguments in ((), (torch.ones(6, 4, 3), None, None, None)):
        with pytest.raises(TypeError, match=r"^forward\(\) (missing|takes)"):
            ft.GRU(3, 5)(*arguments)


def test_errors_of_packed_sequences() -> None:
    sequences = pack_sequence([torch.ones(3, 3), torch.ones(2, 3)])
    with pytest.raises(ValueError, match="mask must be None for a PackedSequence"):
        ft.GRU(3, 5)(sequences, mask=torch.ones(3, 2))
    with pytest.raises(RuntimeError, match=r"hx must have shape \(1, 2, 5\), not \(1, 3, 5\)"):
        ft.GRU(3, 5)(sequences, torch.ones(1, 3, 5))
    with pytest.raises(ValueError, match="pair of tensors"):
        ft.LSTM(3, 5)(sequences, torch.ones(1, 2, 5))
    with pytest.raises(ValueError, match="input must have 4 features"):
        ft.GRU(4, 5)(sequences)
    with pytest.raises(ValueError, match=r"input must hold torch.float32"):
        ft.GRU(3, 5)(sequences.double())
    with pytest.raises(ValueError, match=r"input.data must have 2 axes, not 3"):
        ft.GRU(3, 5)(pack_sequence([torch.ones(3, 3, 1)]))


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ([2, 2, 2], "input has 5 packed steps, but its batch_sizes sum to 6"),
        ([1, 2, 2], r"batch_sizes of input must be at least 1 and never rise, not \[1, 2, 2\]"),
        ([3, 2, 0], "at least 1"),
        ([], "at least 1"),
    ],
)
def test_broken_packed_sequences(sizes: list[int], message: str) -> None:
    broken = PackedSequence(torch.ones(5, 3), torch.tensor(sizes, dtype=torch.int64))
    with pytest.raises(ValueError, match=message):
        ft.GRU(3, 5)(broken)


@pytest.mark.parametrize("nonlinearity", ["sigmoid", None])
def test_error_of_nonlinearity(nonlinearity: Any) -> None:
    with pytest.raises(ValueError, match="nonlinearity must be 'tanh' or 'relu'"):
        ft.RNN(3, 5, nonlinearity=nonlinearity)


def test_without_torch_the_error_names_the_extra() -> None:
    code = """
import sys
sys.modules["torch"] = None
import fastmask
try:
    import fastmask.torch
except ModuleNotFoundError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=250)
    assert "pip install torch" in done.stdout, done.stderr
