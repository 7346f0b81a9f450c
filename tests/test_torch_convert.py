"""Programs with subclasses of torch.nn's modules, and tracing tools, after `convert`."""

from __future__ import annotations

import copy
import io
import pickle
from abc import ABC, abstractmethod
from importlib.util import find_spec
from typing import Any

import pytest

pytestmark = pytest.mark.optional
torch = pytest.importorskip("torch", reason="torch is not installed")

from torch import nn
from torch.nn.utils.rnn import (
    PackedSequence,
    pack_padded_sequence,
    pad_packed_sequence,
)

import fastmask.torch as ft
from tests.torch_cases import (
    FLOAT64,
    NAMES,
    as_tuple,
    assert_all_close,
    random_mask,
)

each_module = pytest.mark.parametrize("name", NAMES)


class WithLengths(ABC, nn.RNNBase):  # type: ignore[misc]  # torch is Any here
    """As in pytorch-forecasting: lengths as an argument, some of them zero, and a base class."""

    @abstractmethod
    def first(self, x: Any) -> Any:
        """The states of rows without steps."""

    def forward(self, x: Any, hx: Any = None, lengths: Any = None) -> Any:
        if lengths is None or isinstance(x, PackedSequence):
            return super().forward(x, hx=hx)
        packed = pack_padded_sequence(
            x, lengths.clamp(min=1), enforce_sorted=False, batch_first=self.batch_first
        )
        out, last = super().forward(packed, hx=hx)
        out, _ = pad_packed_sequence(out, batch_first=self.batch_first)
        kept = [torch.where(lengths[:, None] > 0, one, self.first(x)) for one in as_tuple(last)]
        return out, tuple(kept) if len(kept) > 1 else kept[0]


class LSTM(WithLengths, nn.LSTM):
    def first(self, x: Any) -> Any:
        return x.new_zeros(())


class GRU(WithLengths, nn.GRU):
    def first(self, x: Any) -> Any:
        return x.new_zeros(())


class RNN(WithLengths, nn.RNN):
    def first(self, x: Any) -> Any:
        return x.new_zeros(())


class Plain(nn.GRU):  # type: ignore[misc]  # torch is Any here
    """A subclass that changes no computation."""

    def count(self) -> int:
        return len(list(self.parameters()))


DERIVED = {"LSTM": LSTM, "GRU": GRU, "RNN": RNN}


def kernels_run(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The list to which calls of fastmask's layers are added from now on."""
    runs: list[Any] = []
    run_stack = ft._recurrent.run_stack
    monkeypatch.setattr(
        ft._recurrent, "run_stack", lambda *args: runs.append(args[0]) or run_stack(*args)
    )
    return runs


@each_module
def test_derived_classes(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    made = DERIVED[name](3, 5, num_layers=2, bidirectional=True, batch_first=True, dtype=FLOAT64)
    model = nn.ModuleDict({"encoder": made})
    x, lengths = torch.randn(4, 6, 3, dtype=FLOAT64), torch.tensor([6, 0, 3, 2])

    def results() -> list[Any]:
        leaf = x.clone().requires_grad_()
        out, last = made(leaf, lengths=lengths)
        grads = torch.autograd.grad(out.square().sum(), [leaf, *made.parameters()])
        return [out, *as_tuple(last), *grads]

    expected, text, before = results(), repr(model), dict(model.named_parameters())
    runs = kernels_run(monkeypatch)
    assert ft.convert(model) is model
    assert_all_close(results(), expected)
    assert runs
    assert isinstance(made, DERIVED[name])
    assert isinstance(made, getattr(nn, name))
    assert repr(model) == text
    after = dict(model.named_parameters())
    assert before.keys() == after.keys()
    assert all(before[key] is after[key] for key in before)
    cls = type(made)
    ft.convert(model)  # twice makes no difference
    assert type(made) is cls
    fresh = cls(3, 5)  # as programs make another module of the same class
    assert fresh(x.float())[0].shape == (4, 6, 5)


@each_module
@pytest.mark.parametrize("how", ["deepcopy", "pickle", "save"])
def test_copies_of_derived_classes(name: str, how: str) -> None:
    made = ft.convert(DERIVED[name](3, 5, batch_first=True))
    x, lengths = torch.randn(2, 4, 3), torch.tensor([4, 0])
    expected = made(x, lengths=lengths)[0]
    if how == "deepcopy":
        again = copy.deepcopy(made)
    elif how == "pickle":
        again = pickle.loads(pickle.dumps(made))  # noqa: S301 - our own
    else:
        file = io.BytesIO()
        torch.save(made, file)
        file.seek(0)
        again = torch.load(file, weights_only=False)
    assert type(again) is type(made)
    assert torch.equal(again(x, lengths=lengths)[0], expected)
    with torch.no_grad():
        again.weight_hh_l0.zero_()
    assert torch.equal(made(x, lengths=lengths)[0], expected)


def test_a_class_that_adds_nothing_takes_masks() -> None:
    made = ft.convert(Plain(3, 5, batch_first=True))
    plain = ft.GRU(3, 5, batch_first=True)
    plain.load_state_dict(made.state_dict())
    x, mask = torch.randn(4, 6, 3), random_mask("holes", 4, 6)
    assert torch.equal(made(x, mask=mask)[0], plain(x, mask=mask)[0])
    assert made.count() == 4


class Own(nn.LSTM):  # type: ignore[misc]  # torch is Any here
    def forward(self, input: Any, hx: Any = None) -> Any:
        return input * 2, hx


class ByName(nn.LSTM):  # type: ignore[misc]  # torch is Any here
    def forward(self, input: Any, hx: Any = None) -> Any:
        return nn.LSTM.forward(self, input, hx)


class Permuted(nn.LSTM):  # type: ignore[misc]  # torch is Any here
    def permute_hidden(self, hx: Any, permutation: Any) -> Any:
        return super().permute_hidden(hx, permutation)


class Taken(nn.LSTM):  # type: ignore[misc]  # torch is Any here
    recompute = "often"


class Registered(nn.LSTM):  # type: ignore[misc]  # torch is Any here
    def __init_subclass__(cls, *, key: str) -> None:
        super().__init_subclass__()


@pytest.mark.parametrize(
    ("cls", "reason"),
    [
        (Own, r"Own.forward does not call super\(\).forward"),
        (ByName, r"ByName.forward does not call super\(\).forward"),
        (Permuted, "Permuted has its own permute_hidden"),
        (Taken, "Taken has recompute, which mean something here"),
        (Registered, "no class can be derived from Registered: .*'key'"),
    ],
)
def test_what_cannot_be_converted_is_told(cls: Any, reason: str) -> None:
    model = nn.Sequential(cls(3, 5))
    x = torch.randn(4, 2, 3)
    expected = model(x)
    with pytest.warns(UserWarning, match=f"module '0' stays as it is: {reason}"):
        ft.convert(model)
    assert type(model[0]) is cls
    assert torch.equal(as_tuple(model(x))[0], as_tuple(expected)[0])


@pytest.mark.parametrize(
    ("module", "reason"),
    [
        (nn.LSTMCell(3, 5), "module '0' stays as it is: LSTMCell computes one step"),
        (nn.GRUCell(3, 5), "module '0' stays as it is: GRUCell computes one step"),
        (nn.RNNCell(3, 5), "module '0' stays as it is: RNNCell computes one step"),
        (nn.RNNBase("GRU", 3, 5), "'0' stays as it is: RNNBase is no LSTM, GRU or RNN of torch"),
        (nn.LSTM(3, 5, proj_size=2), "torch's own operator computes module '0': .*proj_size"),
    ],
)
def test_what_kernels_do_not_compute_is_told(module: Any, reason: str) -> None:
    before = type(module)
    with pytest.warns(UserWarning, match=reason):
        ft.convert(nn.Sequential(module))
    assert (type(module) is before) == (before is not nn.LSTM)


@pytest.mark.parametrize("cls", [nn.LSTM, LSTM])
def test_parametrized_modules(cls: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from torch.nn.utils.parametrizations import weight_norm
    from torch.nn.utils.parametrize import remove_parametrizations

    module = weight_norm(cls(3, 5, dtype=FLOAT64), "weight_hh_l0")
    other = copy.deepcopy(module)
    x = torch.randn(6, 4, 3, dtype=FLOAT64)
    expected = torch.autograd.grad(module(x)[0].sum(), list(module.parameters()))
    runs = kernels_run(monkeypatch)
    ft.convert(module)
    assert_all_close(torch.autograd.grad(module(x)[0].sum(), list(module.parameters())), expected)
    assert len(runs) == 1
    assert_all_close([module(x)[0]], [other(x)[0]])  # its class, which was the same, is unchanged
    assert len(runs) == 2
    remove_parametrizations(module, "weight_hh_l0")
    assert_all_close([module(x)[0]], [other(x)[0]])
    assert len(runs) == 3


@pytest.mark.filterwarnings("ignore")  # of torch's own, while it compiles
def test_a_derived_class_in_a_compiled_program() -> None:
    torch._dynamo.reset()
    made = ft.convert(LSTM(3, 5, batch_first=True))
    x, lengths = torch.randn(2, 4, 3), torch.tensor([4, 2])
    compiled = torch.compile(made, backend="aot_eager")
    assert_all_close([compiled(x, lengths=lengths)[0]], [made(x, lengths=lengths)[0]], 1e-6)


class Tagger(nn.Module):  # type: ignore[misc]  # torch is Any here
    """A module that can be traced."""

    def __init__(self, layer: Any) -> None:
        super().__init__()
        self.layers = nn.ModuleList([layer])
        self.dense = nn.Linear(5, 2)

    def forward(self, x: Any, first: Any = None, mask: Any = None) -> Any:
        options = {} if mask is None else {"mask": mask}
        out, last = self.layers[0](x, first, **options)
        return self.dense(out), last


class TestFx:
    @each_module
    def test_symbolic_trace(self, name: str) -> None:
        model = Tagger(getattr(nn, name)(3, 5, batch_first=True))
        x = torch.randn(4, 6, 3)
        ones = {"first": None, "mask": None}
        before = torch.fx.symbolic_trace(model, concrete_args=ones)
        after = torch.fx.symbolic_trace(ft.convert(model), concrete_args=ones)
        for one, other in zip(before.graph.nodes, after.graph.nodes, strict=True):
            assert (one.op, one.target) == (other.op, other.target)
        assert type(after.get_submodule("layers.0")) is getattr(ft, name)
        assert_all_close([after(x)[0]], [model(x)[0]], 0)

    def test_states_and_masks(self) -> None:
        model = Tagger(ft.GRU(3, 5, batch_first=True))
        traced = torch.fx.symbolic_trace(model)
        x, first, mask = torch.randn(4, 6, 3), torch.randn(1, 4, 5), random_mask("holes", 4, 6)
        assert_all_close([*traced(x, first, mask)], [*model(x, first, mask)], 0)

    def test_what_cannot_be_recorded(self) -> None:
        with pytest.raises(NotImplementedError, match="cannot record a module by itself"):
            torch.fx.symbolic_trace(ft.GRU(3, 5))
        hooked = ft.GRU(3, 5)
        hooked.register_forward_hook(lambda *_: None)
        with pytest.raises(NotImplementedError, match=r"module 'layers.0', which has hooks"):
            torch.fx.symbolic_trace(Tagger(hooked))
        derived = nn.Sequential(ft.convert(Twice(3, 5)))
        with pytest.raises(NotImplementedError, match="class Twice has a forward of its own"):
            torch.fx.symbolic_trace(derived)
        assert torch.fx.symbolic_trace(nn.Sequential(ft.convert(Plain(3, 5))))


class Twice(nn.GRU):  # type: ignore[misc]  # torch is Any here
    def forward(self, input: Any) -> Any:
        return super().forward(2 * input)


@pytest.mark.filterwarnings("ignore")  # torch.jit and the older exporter are deprecated
class TestExport:
    @each_module
    @pytest.mark.parametrize("bare", [True, False])
    @pytest.mark.parametrize("dynamo", [False, True] if find_spec("onnxscript") else [False])
    def test_onnx(self, name: str, bare: bool, dynamo: bool) -> None:
        runtime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
        layer = getattr(ft, name)(3, 5, num_layers=2, bidirectional=bare, batch_first=True)
        model = (layer if bare else Tagger(layer)).eval()
        x = torch.randn(4, 6, 3)
        file = io.BytesIO()
        torch.onnx.export(model, (x,), file, dynamo=dynamo)
        session = runtime.InferenceSession(file.getvalue())
        (given,) = session.get_inputs()
        found = torch.from_numpy(session.run(None, {given.name: x.numpy()})[0])
        assert_all_close([found], [model(x)[0]], 1e-5)

    @each_module
    def test_jit(self, name: str) -> None:
        module = getattr(ft, name)(3, 5, bidirectional=True)
        traced = torch.jit.trace(module, (torch.randn(6, 4, 3),))
        x = torch.randn(9, 2, 3)
        assert_all_close([traced(x)[0]], [module(x)[0]], 1e-5)
