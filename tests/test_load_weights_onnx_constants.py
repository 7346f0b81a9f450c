"""Weights of ONNX files that nodes cut, join and reshape before an LSTM, GRU or product."""

from __future__ import annotations

import tracemalloc
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastmask as fm
from fastmask import layers as L
from fastmask.loaders.description import describe

from .weight_files import field, node, onnx, safetensors, tensor

KINDS = {"LSTM": L.LSTM, "GRU": L.GRU}
ORDERS = {"LSTM": (0, 3, 1, 2), "GRU": (1, 0, 2)}  # positions of ONNX's gates among torch's


def integers(name: str, values: Sequence[int], kind: int = 7) -> bytes:
    """A TensorProto of int64, or with kind 6 of int32."""
    data = np.array(values, "<i8" if kind == 7 else "<i4").tobytes()
    return field(1, len(values)) + field(2, kind) + field(8, name) + field(9, data)


def built(*layers: Any, shape: tuple[int | None, ...] = (None, None, 3)) -> Any:
    model = fm.Sequential(layers)
    model.build(shape)
    return model


class Gates:
    """The nodes that PyTorch's exporter writes for a large weight of two directions."""

    def __init__(self, kind: str, units: int) -> None:
        self.order, self.units = ORDERS[kind], units
        self.nodes: list[bytes] = []
        self.tensors = [integers(str(n), [n * units]) for n in range(5)] + [integers("one", [1])]

    def add(self, name: str, weights: Sequence[Any]) -> None:
        for i, weight in enumerate(weights):
            own = f"{name}{i}"
            self.tensors.append(tensor(own, weight))
            for gate in range(len(self.order)):
                inputs = f"{own} {gate} {gate + 1} 0 one"
                self.nodes.append(node("Slice", inputs, f"{own}g{gate}"))
            parts = " ".join(f"{own}g{gate}" for gate in self.order)
            self.nodes.append(node("Concat", parts, f"{own}c", axis=0))
            self.nodes.append(node("Unsqueeze", f"{own}c 0", f"{own}u"))
        joined = " ".join(f"{name}{i}u" for i in range(len(weights)))
        self.nodes.append(node("Concat", joined, name, axis=0))


@pytest.mark.parametrize("kind", list(KINDS))
def test_gates_that_nodes_put_in_order(kind: str, tmp_path: Path) -> None:
    units, random = 5, np.random.default_rng(1)
    model = built(L.Bidirectional(KINDS[kind](units)))
    rows = len(ORDERS[kind]) * units
    gates, state = Gates(kind, units), {}
    for name, shape in {"ih": (rows, 3), "hh": (rows, units)}.items():
        weights = random.normal(size=(2, *shape)).astype("f4")
        gates.add(name, weights)
        state |= {f"weight_{name}_l0{end}": w for end, w in zip(("", "_reverse"), weights)}  # noqa: B905 - one direction or two
    biases = random.normal(size=(2, 2, rows)).astype("f4")
    for i, end in enumerate(("", "_reverse")):
        state |= {f"bias_ih_l0{end}": biases[i, 0], f"bias_hh_l0{end}": biases[i, 1]}
    parts = [np.split(one, len(ORDERS[kind])) for one in biases.reshape(4, rows)]
    in_order = [np.concatenate([one[gate] for gate in ORDERS[kind]]) for one in parts]
    gates.tensors.append(tensor("B", np.reshape(in_order, (2, 2 * rows))))
    reset = {"linear_before_reset": 1} if kind == "GRU" else {}
    last = node(kind, "x ih hh B", "y", direction="bidirectional", hidden_size=units, **reset)
    onnx(tmp_path / "a.onnx", [*gates.nodes, last], gates.tensors)
    model.load_weights(tmp_path / "a.onnx")

    other = built(L.Bidirectional(KINDS[kind](units)))
    safetensors(tmp_path / "a.safetensors", {f"r.{name}": value for name, value in state.items()})
    other.load_weights(tmp_path / "a.safetensors")
    for one, expected in zip(model.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(one, expected)


A = np.random.default_rng(2).normal(size=(4, 6)).astype("f4")
NODES: dict[str, tuple[list[bytes], Any]] = {
    "slice": ([node("Slice", "a 1 9", "w")], A[1:9]),
    "slice backwards": ([node("Slice", "a m1 low 1 m2", "w")], A[:, ::-2]),
    "slice of an old file": ([node("Slice", "a", "w", starts=[1], ends=[3], axes=[1])], A[:, 1:3]),
    "split": ([node("Split", "a two,4", "v w", axis=1)], A[:, 2:]),
    "split of an old file": ([node("Split", "a", "v w", axis=1, split=[2, 4])], A[:, 2:]),
    "split evenly": ([node("Split", "a", "u v w", axis=0)], A[4:]),
    "reshape": ([node("Reshape", "a 3,-1", "w")], A.reshape(3, 8)),
    "reshape with a size kept": (
        [node("Reshape", "a 0,2,3", "v"), node("Reshape", "v 0,-1", "w")], A),
    "squeeze": ([node("Unsqueeze", "a 1", "v"), node("Squeeze", "v 1", "w")], A),
    "squeeze all": ([node("Unsqueeze", "a", "v", axes=[0, 3]), node("Squeeze", "v", "w")], A),
    "cast": ([node("Cast", "a", "v", to=10), node("Cast", "v", "w", to=1)], A.astype("f2")),
    "transpose": ([node("Transpose", "a", "w")], A.T),
    "transpose and reshape": ([node("Transpose", "a", "v"), node("Reshape", "v 3,-1", "w")],
                              A.T.reshape(3, 8)),
    "concat": (
        [node("Concat", "a a", "v", axis=-1), node("Identity", "v", "w")], np.hstack([A, A])),
    "a constant among the nodes": (
        [node("Constant", "", "k", value=integers("", [2])), node("Slice", "a k 9", "w")], A[2:]),
    "integers in a constant": (
        [node("Constant", "", "k", value_ints=[2]), node("Slice", "a k 9", "w")], A[2:]),
}  # fmt: skip
INDICES = [
    *(integers(str(n), [n]) for n in (1, 4, 9)),
    integers("m1", [-1], 6),
    integers("m2", [-2], 6),
    integers("low", [-(2**63)]),
    integers("two,4", [2, 4]),
    integers("3,-1", [3, -1]),
    integers("0,-1", [0, -1]),
    integers("0,2,3", [0, 2, 3]),
]


@pytest.mark.parametrize("name", NODES)
def test_nodes(name: str, tmp_path: Path) -> None:
    nodes, expected = NODES[name]
    onnx(tmp_path / "a.onnx", [*nodes, node("MatMul", "x w", "y")], [tensor("a", A), *INDICES])
    model = built(L.Dense(expected.shape[1], use_bias=False), shape=(None, len(expected)))
    model.load_weights(tmp_path / "a.onnx")
    np.testing.assert_array_equal(model.weights[0], expected)


@pytest.mark.parametrize(
    ("nodes", "words"),
    [
        ([node("Slice", "a n 9", "w")], r"the file's 'w' has input 0 \(4, 6\)"),
        ([node("Concat", "a n", "w", axis=0)], r"the file's 'w' has input 0 \(4, 6\)"),
        ([node("Mul", "a a", "w")], r"the file's 'w' has input 0 \(4, 6\)"),
        ([node("Cast", "a", "w", to=7)], r"the file's 'w' has input 0 \(4, 6\)"),
        ([node("Unsqueeze", "a 1", "v"), node("Concat", "v a", "w", axis=0)], "a Concat along"),
        ([node("Concat", "a a", "w", axis=2)], "no weights that can be read"),
        ([node("Slice", "a 1 9 9", "w")], "no weights that can be read"),
        ([node("Slice", "a two,4 9", "w")], "no weights that can be read"),
        ([node("Reshape", "a two,4", "w")], "cannot reshape"),
        ([node("Transpose", "a", "w", perm=[0, 0])], "no weights that can be read"),
        ([node("Split", "a 1", "v w")], "no weights that can be read"),
    ],
)
def test_what_is_not_followed_is_told(nodes: list[bytes], words: str, tmp_path: Path) -> None:
    onnx(tmp_path / "a.onnx", [*nodes, node("MatMul", "x w", "y")], [tensor("a", A), *INDICES])
    model = built(L.Dense(6, use_bias=False), shape=(None, 4))
    with pytest.raises(ValueError, match=words):
        model.load_weights(tmp_path / "a.onnx")


DOUBLED = [node("Concat", f"v{i} v{i}", f"v{i + 1}", axis=0) for i in range(60)]
END = [node("Slice", "v60 0 4", "w"), node("MatMul", "x w", "y")]
HOSTILE: dict[str, tuple[Any, list[bytes]]] = {
    "doubled again and again": (A, [*DOUBLED[:40], node("Slice", "v40 0 4", "w"), END[1]]),
    "doubled, of absurd size": (A, [*DOUBLED, *END]),
    "doubled, of no size": (np.zeros((0, 6)), [*DOUBLED, *END]),
    "doubled and cut": (
        A,
        [
            one
            for i in range(60)
            for one in (node("Concat", f"v{i} v{i}", f"d{i}", axis=0),
                        node("Slice", f"d{i} 0 4", f"v{i + 1}"))
        ] + END,
    ),
    "joined a thousand times": (
        np.ones((1000, 6)),
        [node("Concat", " ".join(["v0"] * 1000), "v60", axis=0), *END],
    ),
    "a long chain": (
        A, [*(node("Identity", f"v{i}", f"v{i + 1}") for i in range(20_000)),
            node("MatMul", "x v20000", "y")]),
    "states that are doubled": (A, [*DOUBLED[:30], node("Unsqueeze", "v30 0", "s"),
                             node("LSTM", "x v0 v0 - - s s", "y", hidden_size=1)]),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_are_refused_in_little_time_and_memory(name: str, tmp_path: Path) -> None:
    value, nodes = HOSTILE[name]
    onnx(tmp_path / "a.onnx", nodes, [tensor("v0", value), integers("0", [0]), integers("4", [4])])
    model = built(L.Dense(6, use_bias=False), shape=(None, 0 if len(value) == 0 else 4))
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=r"has no weights that can be read: \S+"):
            model.load_weights(tmp_path / "a.onnx")
        assert tracemalloc.get_traced_memory()[1] < 5e7
    finally:
        tracemalloc.stop()


def test_a_recurrent_layer_written_as_its_steps(tmp_path: Path) -> None:
    steps = [node("MatMul", "x w", "s0")]
    for i in range(3):
        steps += [node("Tanh", f"s{i}", f"h{i}"), node("MatMul", f"h{i} u", f"s{i + 1}")]
    onnx(tmp_path / "a.onnx", steps, [tensor("w", np.ones((3, 4))), tensor("u", np.ones((4, 4)))])
    with pytest.raises(ValueError, match=r"no node of kind LSTM.* dynamo=False.* the state dict\n"):
        built(L.SimpleRNN(4)).load_weights(tmp_path / "a.onnx")
    assert "called with dynamo=False" in " ".join(describe(tmp_path / "a.onnx").notes)


@pytest.mark.optional
@pytest.mark.parametrize("kind", [*KINDS, "RNN"])
def test_what_torch_exports_by_default(kind: str, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    pytest.importorskip("onnx")
    pytest.importorskip("onnxscript")

    class Net(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.words = torch.nn.Embedding(9, 8)
            self.read = getattr(torch.nn, kind)(8, 64, 2, batch_first=True, bidirectional=True)
            self.out = torch.nn.Linear(128, 3)

        def forward(self, ids: Any) -> Any:
            return self.out(self.read(self.words(ids))[0])

    torch.manual_seed(7)
    net, ids = Net().eval(), torch.randint(1, 9, (2, 5))
    layer = KINDS.get(kind, L.SimpleRNN)
    two = [L.Bidirectional(layer(64, return_sequences=True)) for _ in range(2)]
    model = built(L.Embedding(9, 8), *two, L.Dense(3), shape=(None, None))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(net, (ids,), tmp_path / "a.onnx", dynamo=True, verbose=False)
    if kind == "RNN":
        with pytest.raises(ValueError, match=r"unless it is called with dynamo=False"):
            model.load_weights(tmp_path / "a.onnx")
        return
    model.load_weights(tmp_path / "a.onnx")
    with torch.no_grad():
        np.testing.assert_allclose(model(ids.numpy()), net(ids).numpy(), atol=1e-6)
