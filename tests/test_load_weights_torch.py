"""State dicts of each kind of module, written by the installed torch, give torch's outputs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastmask as fm
from fastmask import layers as L

pytestmark = pytest.mark.optional
torch = pytest.importorskip("torch")

IDS = np.array([[3, 9, 4, 1, 7], [8, 2, 5, 5, 1]])
RECURRENT = {"LSTM": L.LSTM, "GRU": L.GRU, "RNN": L.SimpleRNN}


def theirs(kind: str, bias: bool = True) -> Any:
    """Words, two bidirectional recurrent layers and one more, norms, two heads."""
    torch.manual_seed(11)

    class Net(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.words = torch.nn.Embedding(12, 6)
            self.conv = torch.nn.Conv1d(6, 5, 2)
            make = getattr(torch.nn, kind)
            self.read = make(5, 4, 2, bias=bias, batch_first=True, bidirectional=True)
            self.norm = torch.nn.LayerNorm(8)
            self.last = make(8, 3, bias=bias, batch_first=True)
            self.scale = torch.nn.BatchNorm1d(3, eps=1e-3)
            self.head = torch.nn.Linear(3, 7, bias=bias)

        def forward(self, ids: Any) -> Any:
            x = self.conv(self.words(ids).mT).mT
            x = self.norm(self.read(x)[0])
            return self.head(self.scale(self.last(x)[0][:, -1]))

    net = Net()
    net.scale.running_mean += torch.randn(3)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter += 0.3 * torch.randn(parameter.shape)
    return net.eval()


def ours(kind: str, bias: bool = True) -> Any:
    make = RECURRENT[kind]
    model = fm.Sequential(
        [
            L.Embedding(12, 6),
            L.Conv1D(5, 2),
            L.Bidirectional(make(4, use_bias=bias, return_sequences=True)),
            L.Bidirectional(make(4, use_bias=bias, return_sequences=True)),
            L.LayerNormalization(epsilon=1e-5),
            make(3, use_bias=bias),
            L.BatchNormalization(epsilon=1e-3),
            L.Dense(7, use_bias=bias),
        ]
    )
    model.build((None, 5))
    return model


def check(net: Any, model: Any, atol: float = 1e-5) -> None:
    with torch.no_grad():
        np.testing.assert_allclose(model(IDS), net(torch.from_numpy(IDS)).numpy(), atol=atol)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("kind", list(RECURRENT))
def test_modules(kind: str, bias: bool, tmp_path: Path) -> None:
    net, model = theirs(kind, bias), ours(kind, bias)
    torch.save(net.state_dict(), tmp_path / "a.pt")
    model.load_weights(tmp_path / "a.pt")
    check(net, model)


def test_ways_to_save(tmp_path: Path) -> None:
    net, path = theirs("LSTM"), tmp_path / "a.pth"
    state = net.state_dict()
    whole = torch.cat([value.flatten() for value in state.values() if value.dim()])
    views, start = {}, 0
    for name, value in state.items():
        views[name] = value
        if value.dim() == 2:  # a view, transposed, in the middle of one storage
            part = whole[start : start + value.numel()].view(value.shape)
            part.copy_(value.clone())
            views[name] = part.T.contiguous().T
        if value.dim():
            start += value.numel()
    for saved, options in (
        ({"epoch": 3, "loss": 0.5, "state_dict": state, "rates": [1e-3, None, True]}, {}),
        (dict(net.named_parameters()) | dict(net.named_buffers()), {}),
        (views, {}),
        (state, {"pickle_protocol": 4}),
    ):
        torch.save(saved, path, **options)
        model = ours("LSTM")
        model.load_weights(path)
        check(net, model)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float64"])
def test_dtypes(dtype: str, tmp_path: Path) -> None:
    net, model = theirs("GRU"), ours("GRU")
    net.to(getattr(torch, dtype))
    torch.save(net.state_dict(), tmp_path / "a.pt")
    model.load_weights(tmp_path / "a.pt")
    check(net.to(torch.float32), model)


def test_what_is_refused(tmp_path: Path) -> None:
    net, model = theirs("LSTM"), ours("LSTM")
    optimizer = torch.optim.Adam(net.parameters())
    for saved, words in (
        (net, r"it names '.*Net', which no state dict needs: it is a whole module"),
        (net.state_dict()["conv.weight"], "it holds a tensor, not a state dict"),
        ({"optimizer": optimizer.state_dict(), "epoch": 3}, "a dict with 'optimizer', 'epoch'"),
    ):
        try:
            torch.save(saved, tmp_path / "a.pt")
        except AttributeError:  # a class inside a function: pickle cannot name it
            torch.save(torch.nn.Linear(2, 3), tmp_path / "a.pt")
            words = r"it names 'torch\.nn\.modules\.linear\.Linear', .* whole module"
        with pytest.raises(ValueError, match=words):
            model.load_weights(tmp_path / "a.pt")
    torch.save(net.state_dict(), tmp_path / "a.pt", _use_new_zipfile_serialization=False)
    with pytest.raises(ValueError, match=r"no zip, as torch\.save has written"):
        model.load_weights(tmp_path / "a.pt")


def test_cells_of_formulas(tmp_path: Path) -> None:
    recurrent = pytest.importorskip("fastmask.torch").Recurrent
    cell = fm.cells.simple_rnn  # any cell is saved like this one; its kernels are compiled anyway
    for both in (False, True):
        torch.manual_seed(12)
        net = recurrent(cell, 3, 4, batch_first=True, bidirectional=both)
        torch.save(net.state_dict(), tmp_path / "a.pt")
        layer = L.RNN(cell(4), return_sequences=True)
        model = fm.Sequential([L.Bidirectional(layer) if both else layer])
        model.build((None, None, 3))
        x = torch.randn(2, 5, 3)
        with torch.no_grad():
            expected = net(x)[0].numpy()
        model.load_weights(tmp_path / "a.pt")
        np.testing.assert_allclose(model(x.numpy()), expected, atol=1e-5)


@pytest.mark.parametrize("around", ["module.", "_orig_mod.", "module._orig_mod."])
def test_names_within_wrappers(around: str, tmp_path: Path) -> None:
    # DistributedDataParallel and torch.compile put these before the names of what they wrap.
    weights = {name: torch.full((2, 2), float(i)) for i, name in enumerate("abc", 1)}
    names = {"a": f"{around}a", "b": f"{around}b", "c": f"{around}c"}
    inside = {"a": "a", "b": f"b.{around}x", "c": "c.x"}
    for state, layers in ((names, "cab"), (inside, ("c.x", "a", "b.x"))):
        torch.save({f"{state[k]}.weight": w for k, w in weights.items()}, tmp_path / "a.pt")
        model = fm.Sequential([L.Dense(2, use_bias=False, name=one) for one in layers])
        model.build((None, 2))
        model.load_weights(tmp_path / "a.pt")
        assert [weight[0, 0] for weight in model.weights] == [3, 1, 2]
