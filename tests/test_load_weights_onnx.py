"""Weights of ONNX files, written here by hand, and by onnx and torch if they are installed."""

from __future__ import annotations

import itertools
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastmask as fm
from fastmask import layers as L

from .weight_files import field, node, onnx, tensor

GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
LAYERS = {"LSTM": L.LSTM, "GRU": L.GRU, "RNN": L.SimpleRNN}


def built(*layers: Any, shape: tuple[int | None, ...] = (None, None, 2)) -> Any:
    model = fm.Sequential(layers)
    model.build(shape)
    return model


def lstm_of_onnx(x: Any, w: Any, r: Any, b: Any) -> Any:
    """The last output, as in the ONNX specification."""

    def sigmoid(z: Any) -> Any:
        return 1 / (1 + np.exp(-z))

    units = r.shape[1]
    h = c = np.zeros((len(x), units))
    for step in range(x.shape[1]):
        z = x[:, step] @ w.T + h @ r.T + b[: 4 * units] + b[4 * units :]
        i, o, f, g = np.split(z, 4, axis=1)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
    return h


class TestByHand:
    def arrays(self, seed: int) -> Any:
        random = np.random.default_rng(seed)
        shapes = {
            "W": (1, 12, 2),
            "R": (1, 12, 3),
            "B": (1, 24),
            "E": (5, 2),
            "D": (3, 4),
            "d": (4,),
        }
        return {name: random.normal(size=shape).astype("f4") for name, shape in shapes.items()}

    def write(self, path: Path, arrays: Any, **attributes: Any) -> None:
        nodes = [
            node("Gather", "E ids", "words"),
            node("Transpose", "words", "steps", perm=[1, 0, 2]),
            node("LSTM", "steps W R B", "all last cell", hidden_size=3, **attributes),
            node("Squeeze", "last", "flat"),
            node("MatMul", "flat D", "product"),
            node("Add", "d product", "y"),
            node("Softmax", "y", "out"),
        ]
        onnx(path, nodes, [tensor(name, value) for name, value in arrays.items()])

    def test_a_chain(self, tmp_path: Path) -> None:
        a = self.arrays(1)
        self.write(tmp_path / "a.onnx", a)
        model = built(L.Embedding(5, 2), L.LSTM(3), L.Dense(4), shape=(None, None))
        model.load_weights(tmp_path / "a.onnx")
        ids = np.array([[1, 4, 0], [2, 2, 3]])
        expected = lstm_of_onnx(a["E"][ids], a["W"][0], a["R"][0], a["B"][0]) @ a["D"] + a["d"]
        np.testing.assert_allclose(model(ids), expected, atol=1e-5)

    def test_what_a_layer_does_otherwise(self, tmp_path: Path) -> None:
        path = tmp_path / "a.onnx"
        model = built(L.Embedding(5, 2), L.LSTM(3, name="read"), L.Dense(4), shape=(None, None))
        for attributes, words in (
            ({"activations": ["Sigmoid", "Relu", "Relu"]}, "read: activation is 'tanh', but"),
            ({"activations": ["HardSigmoid", "Tanh", "Tanh"]}, "read: recurrent_activation is 's"),
            ({"activations": ["Sigmoid", "Relu", "Tanh"]}, "has 'relu and tanh'"),
            ({"direction": "reverse"}, "read: wants weight_ih"),
            ({"direction": "bidirectional"}, "must have weights of bidirectional directions"),
            ({"direction": "sideways"}, "must have weights of sideways directions"),
            ({"clip": 3.0}, "clips, couples gates or has peepholes"),
            ({"input_forget": 1}, "clips, couples gates or has peepholes"),
        ):
            self.write(path, self.arrays(2), **attributes)
            with pytest.raises(ValueError, match=words):
                model.load_weights(path)
        self.write(path, self.arrays(2), input_forget=0, activations=["Sigmoid", "Tanh", "Tanh"])
        model.load_weights(path)

    def test_backwards(self, tmp_path: Path) -> None:
        a = self.arrays(3)
        self.write(tmp_path / "a.onnx", a, direction="reverse")
        layers = L.Embedding(5, 2), L.LSTM(3, go_backwards=True), L.Dense(4)
        model = built(*layers, shape=(None, None))
        model.load_weights(tmp_path / "a.onnx")
        x = a["E"][[[1, 4, 0]]][:, ::-1]
        expected = lstm_of_onnx(x, a["W"][0], a["R"][0], a["B"][0]) @ a["D"] + a["d"]
        np.testing.assert_allclose(model([[1, 4, 0]]), expected, atol=1e-5)

    def test_forms_of_a_product(self, tmp_path: Path) -> None:
        random = np.random.default_rng(4)
        w, b = random.normal(size=(2, 3)).astype("f4"), random.normal(size=3).astype("f4")
        path, model = tmp_path / "a.onnx", built(L.Dense(3), shape=(None, 2))
        constant = node("Constant", "", "w", value=tensor("", w))
        for nodes, tensors in (
            ([node("Gemm", "x w b", "y")], {"w": w, "b": b}),
            ([node("Gemm", "x w b", "y", transB=1, alpha=1.0)], {"w": w.T, "b": b}),
            ([node("Gemm", "x w", "z", transB=0), node("Add", "z b", "y")], {"w": w, "b": b}),
            ([constant, node("MatMul", "x w", "z"), node("Add", "z b", "y")], {"b": b}),
            ([node("Transpose", "v", "w"), node("Gemm", "x w b", "y")], {"v": w.T, "b": b}),
        ):
            onnx(path, nodes, [tensor(name, value) for name, value in tensors.items()])
            model.set_weights([np.zeros((2, 3)), np.zeros(3)])
            model.load_weights(path)
            np.testing.assert_array_equal(model.weights[0], w)
            np.testing.assert_array_equal(model.weights[1], b)
        for attributes in ({"alpha": 2.0}, {"beta": 0.5}, {"transA": 1}):
            onnx(path, [node("Gemm", "x w b", "y", **attributes)], [tensor("w", w), tensor("b", b)])
            with pytest.raises(ValueError, match="scales its product, or transposes its input"):
                model.load_weights(path)

    def test_a_second_bias_is_none(self, tmp_path: Path) -> None:
        path, model = tmp_path / "a.onnx", built(L.Dense(3), shape=(None, 2))
        tensors = [tensor("w", np.ones((2, 3))), tensor("b", np.ones(3)), tensor("p", np.ones(3))]
        for nodes in (
            [node("Gemm", "x w b", "y"), node("Add", "y p", "z")],
            [node("MatMul", "x w", "y"), node("Add", "y b", "z"), node("Add", "y p", "a")],
        ):
            onnx(path, nodes, tensors)
            with pytest.raises(ValueError, match=r"the file's '[za]' has input 1 \(3,\)"):
                model.load_weights(path)

    def test_other_constants_are_told(self, tmp_path: Path) -> None:
        path, model = tmp_path / "a.onnx", built(L.Dense(3), shape=(None, 2))
        tensors = [tensor("w", np.ones((2, 3))), tensor("b", np.ones(3)), tensor("p", np.ones(3))]
        nodes = [node("Gemm", "x w b", "y"), node("Mul", "y p", "z"), node("Loop", "z", "out")]
        onnx(path, nodes, tensors)
        with pytest.raises(ValueError, match="do not fit") as caught:
            model.load_weights(path)
        assert "the file's 'z' has input 1 (3,), for which there is no layer" in str(caught.value)
        assert "the file has nodes of kind Loop, whose graphs are not read" in str(caught.value)

    def test_states(self, tmp_path: Path) -> None:
        path, model = tmp_path / "a.onnx", built(L.LSTM(3))
        a = self.arrays(5)
        for h, words in (
            (np.zeros((1, 1, 3)), ""),
            (np.ones((1, 1, 3)), "states that are not zero"),
        ):
            tensors = [tensor(name, a[name]) for name in "WRB"] + [tensor("h", h)]
            onnx(path, [node("LSTM", "x W R B - h h", "y", hidden_size=3)], tensors)
            if words:
                with pytest.raises(ValueError, match=words):
                    model.load_weights(path)
            else:
                model.load_weights(path)


class TestHostile:
    """Sizes and names of other files in a file are not trusted."""

    def load(self, path: Path) -> None:
        built(L.Dense(3, use_bias=False), shape=(None, 2)).load_weights(path)

    @pytest.mark.parametrize(
        ("more", "words"),
        [
            ([field(9, b"1234")], "must have 6 numbers of F32"),
            ([field(4, b"")], "must have 6 numbers of F32"),
            ([field(4, 3)], "holds numbers of another kind"),
            ([field(14, 1)], "names '', which must be a file in its own folder"),
            ([field(14, 1), field(13, field(1, "location") + field(2, "../x"))], "its own folder"),
            ([field(14, 1), field(13, field(1, "location") + field(2, "/etc/passwd"))], "its own"),
            ([field(14, 1), field(13, field(1, "location") + field(2, "link"))], "which is a link"),
            (
                [field(14, 1), field(13, field(1, "location") + field(2, "short"))],
                "does not lie in",
            ),
        ],
    )
    def test_tensors(self, more: list[bytes], words: str, tmp_path: Path) -> None:
        (tmp_path / "short").write_bytes(bytes(20))
        (tmp_path / "link").symlink_to(tmp_path / "short")
        tensors = [tensor("w", np.ones((2, 3)), *more)]
        onnx(tmp_path / "a.onnx", [node("MatMul", "x w", "y")], tensors)
        with pytest.raises(ValueError, match=words):
            self.load(tmp_path / "a.onnx")

    @pytest.mark.parametrize(
        ("content", "words"),
        [
            (b"", "it has no graph"),
            (field(7, 3), "it has no graph"),
            (b"\x3a\xff\x01abc", "a field is longer than its message"),
            (b"\x3b", "unknown wire type 3"),
            (b"\xff" * 12, "a number does not end"),
            (
                field(7, field(5, field(1, 2**62) + field(2, 1))),
                "must have 4611686018427387904 num",
            ),
            (field(7, field(5, field(1, -1) + field(2, 1))), "sizes of at least 0"),
            (field(7, field(1, field(4, "LSTM"))), "has no weights that can be read"),
            (field(7, field(1, field(4, b"\xff"))), "has no weights that can be read"),
        ],
    )
    def test_contents(self, content: bytes, words: str, tmp_path: Path) -> None:
        (tmp_path / "a.onnx").write_bytes(content)
        with pytest.raises(ValueError, match=words):
            self.load(tmp_path / "a.onnx")

    def test_data_beside_it(self, tmp_path: Path) -> None:
        w = np.arange(6, dtype="f4").reshape(2, 3)
        (tmp_path / "data").write_bytes(bytes(8) + w.tobytes())
        entries = {"location": "data", "offset": "8", "length": "24"}
        more = [field(13, field(1, key) + field(2, value)) for key, value in entries.items()]
        tensors = [tensor("w", w, field(14, 1), *more)]
        onnx(tmp_path / "a.onnx", [node("MatMul", "x w", "y")], tensors)
        model = built(L.Dense(3, use_bias=False), shape=(None, 2))
        model.load_weights(tmp_path / "a.onnx")
        np.testing.assert_array_equal(model.weights[0], w)


@pytest.mark.optional
@pytest.mark.parametrize("kind", list(GATES))
def test_nodes_as_onnxruntime_runs_them(kind: str, tmp_path: Path) -> None:
    helper = pytest.importorskip("onnx").helper
    runtime = pytest.importorskip("onnxruntime")
    random, path = np.random.default_rng(6), tmp_path / "a.onnx"
    rows, f, u = GATES[kind] * 3, 2, 3
    for direction, bias, before in itertools.product(
        ("forward", "reverse", "bidirectional"), (True, False), (0, 1) if kind == "GRU" else (1,)
    ):
        d = 2 if direction == "bidirectional" else 1
        arrays = {"W": (d, rows, f), "R": (d, rows, u), "B": (d, 2 * rows)}
        if not bias:
            del arrays["B"]
        w = {name: random.normal(size=shape).astype("f4") for name, shape in arrays.items()}
        more = {"linear_before_reset": before} if kind == "GRU" else {}
        graph = helper.make_graph(
            [helper.make_node(kind, ["x", *w], ["y"], direction=direction, hidden_size=u, **more)],
            "g",
            [helper.make_tensor_value_info("x", 1, ["t", "b", f])],
            [helper.make_tensor_value_info("y", 1, None)],
            [helper.make_tensor(name, 1, v.shape, v.reshape(-1)) for name, v in w.items()],
        )
        saved = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        path.write_bytes(saved.SerializeToString())
        x = random.normal(size=(4, 5, f)).astype("f4")
        session = runtime.InferenceSession(path, providers=["CPUExecutionProvider"])
        expected = session.run(None, {"x": x.swapaxes(0, 1)})[0].transpose(2, 0, 1, 3)
        options = {"reset_after": bool(before)} if kind == "GRU" else {}
        layer = LAYERS[kind](
            u, return_sequences=True, use_bias=bias, go_backwards=direction == "reverse", **options
        )
        model = built(L.Bidirectional(layer) if d == 2 else layer, shape=(None, None, f))
        model.load_weights(path)
        found = model(x)[:, ::-1] if direction == "reverse" else model(x)
        np.testing.assert_allclose(found, expected.reshape(4, 5, d * u), atol=1e-5)


@pytest.mark.optional
@pytest.mark.parametrize("kind", list(GATES))
def test_what_torch_exports(kind: str, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    pytest.importorskip("onnx")

    class Net(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.words = torch.nn.Embedding(9, 4)
            make = getattr(torch.nn, kind)
            self.read = make(4, 3, 2, batch_first=True, bidirectional=True)
            self.first, self.second = torch.nn.Linear(6, 5), torch.nn.Linear(5, 1)

        def forward(self, ids: Any) -> Any:
            return self.second(torch.relu(self.first(self.read(self.words(ids))[0])))

    torch.manual_seed(7)
    net, ids = Net().eval(), torch.randint(1, 9, (2, 5))
    model = built(
        L.Embedding(9, 4),
        *(L.Bidirectional(LAYERS[kind](3, return_sequences=True)) for _ in range(2)),
        L.Dense(5, "relu"),
        L.Dense(1),
        shape=(None, None),
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(net, (ids,), tmp_path / "a.onnx", dynamo=False)
    model.load_weights(tmp_path / "a.onnx")
    with torch.no_grad():
        np.testing.assert_allclose(model(ids.numpy()), net(ids).numpy(), atol=1e-6)
