"""fastmask.torch's modules in the settings of real programs."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.optional
torch = pytest.importorskip("torch", reason="torch is not installed")


import fastmask.torch as ft
from tests.torch_cases import (
    FLOAT64,
    NAMES,
    as_tuple,
    assert_all_close,
    gradients,
    loss_of,
    random_mask,
    twins,
)

each_module = pytest.mark.parametrize("name", NAMES)


class TestConvert:
    def test_models_keep_their_parameters(self) -> None:
        model = torch.nn.ModuleDict(
            {
                "lstm": torch.nn.LSTM(3, 5, 2, bidirectional=True, batch_first=True),
                "rest": torch.nn.ModuleList([torch.nn.GRU(3, 5), torch.nn.RNN(3, 5)]),
                "dense": torch.nn.Linear(3, 5),
            }
        )
        before = dict(model.named_parameters())
        x = torch.randn(4, 6, 3)
        expected = [model["lstm"](x)[0], model["rest"][0](x)[0], model["rest"][1](x)[0]]
        optimizer = torch.optim.SGD(model.parameters(), 0.1)
        assert ft.convert(model) is model
        assert type(model["lstm"]) is ft.LSTM
        assert [type(module) for module in model["rest"]] == [ft.GRU, ft.RNN]
        assert type(model["dense"]) is torch.nn.Linear
        after = dict(model.named_parameters())
        assert before.keys() == after.keys()
        assert all(before[name] is after[name] for name in before)
        found = [model["lstm"](x)[0], model["rest"][0](x)[0], model["rest"][1](x)[0]]
        assert_all_close(found, expected, 1e-5)
        found[0].sum().backward()
        optimizer.step()
        assert not torch.allclose(model["lstm"](x)[0], expected[0])

    @each_module
    def test_a_single_module(self, name: str) -> None:
        module = getattr(torch.nn, name)(3, 5)
        assert type(ft.convert(module)) is getattr(ft, name)
        assert type(ft.convert(module)) is getattr(ft, name)  # twice makes no difference

    def test_hooks_stay(self) -> None:
        module = torch.nn.GRU(3, 5)
        calls: list[str] = []
        module.register_forward_hook(lambda *_: calls.append("after"))
        module.register_forward_pre_hook(lambda *_: calls.append("before"))
        ft.convert(module)(torch.randn(6, 4, 3), mask=torch.ones(6, 4))
        assert calls == ["before", "after"]

    def test_error(self) -> None:
        with pytest.raises(TypeError, match=r"model must be a torch\.nn\.Module, not int"):
            ft.convert(3)  # type: ignore[type-var]  # on purpose


class Recordings(torch.utils.data.Dataset):  # type: ignore[misc]  # torch is Any here
    """Features of random sequences, computed on access."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        self.module = ft.LSTM(3, 5, batch_first=True)
        self.inputs = torch.randn(6, 4, 8, 3)

    def __len__(self) -> int:
        return len(self.inputs)

    @torch.no_grad()
    def __getitem__(self, index: int) -> Any:
        return self.module(self.inputs[index], mask=torch.ones(4, 8))[0]


@pytest.mark.filterwarnings("ignore:.*fork")
def test_workers_of_a_data_loader() -> None:
    recordings = Recordings()
    expected = torch.stack([recordings[i] for i in range(6)])  # helper threads run before the fork
    context = "fork" if sys.platform == "linux" else None
    loader = torch.utils.data.DataLoader(
        recordings, batch_size=2, num_workers=2, multiprocessing_context=context
    )
    assert torch.equal(torch.cat(list(loader)), expected)


@pytest.mark.skipif(sys.platform != "linux", reason="forks beside threads")
def test_a_forked_child_computes_with_one_thread() -> None:
    code = """
import os, signal, warnings
import torch
import fastmask.torch as ft
warnings.simplefilter("ignore")  # of forks beside threads
torch.set_num_threads(2)
module, x = ft.LSTM(64, 128, batch_first=True), torch.randn(32, 50, 64)
module(x)[0].sum().backward()
child = os.fork()
if child == 0:
    signal.alarm(60)
    torch.set_num_threads(1)
    module(x)[0].sum().backward()
    os._exit(0)
print(os.waitpid(child, 0)[1])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=200)
    assert done.stdout == "0\n", done.stderr


@each_module
def test_eight_threads(name: str) -> None:
    _, ours = twins(name, 8, 16, num_layers=2, bidirectional=True, batch_first=True)
    inputs = [torch.randn(6, 9, 8, dtype=FLOAT64, requires_grad=True) for _ in range(8)]
    masks = [random_mask("holes", 6, 9, seed) for seed in range(8)]

    def work(number: int) -> list[Any]:
        x = inputs[number]
        out, last = ours(x, mask=masks[number])
        found = [out, *gradients(loss_of(out, *as_tuple(last)), x, *ours.parameters())]
        with torch.no_grad():
            return [*found, ours(x, mask=masks[number])[0]]

    alone = [work(number) for number in range(8)]
    with ThreadPoolExecutor(8) as pool:
        for _ in range(3):
            for one, together in zip(alone, pool.map(work, range(8)), strict=True):
                assert_all_close(together, one, 0)


def test_parametrized_weights() -> None:
    from torch.nn.utils.parametrizations import weight_norm

    theirs, ours = twins("LSTM", 3, 5)
    x = torch.randn(6, 4, 3, dtype=FLOAT64)
    for module in (theirs, ours):
        weight_norm(module, "weight_hh_l0")
        with torch.no_grad():
            module.parametrizations.weight_hh_l0.original0.mul_(2)
    found = [
        torch.autograd.grad(module(x)[0].sum(), list(module.parameters()))
        for module in (ours, theirs)
    ]
    assert_all_close(*found)
    with torch.no_grad():
        assert_all_close([ours(x)[0]], [theirs(x)[0]])


@each_module
def test_checkpoints(name: str) -> None:
    from torch.utils.checkpoint import checkpoint

    _, ours = twins(name, 3, 5)
    x = torch.randn(6, 4, 3, dtype=FLOAT64, requires_grad=True)
    leaves = [x, *ours.parameters()]
    expected = torch.autograd.grad(ours(x)[0].sum(), leaves)
    again = torch.autograd.grad(checkpoint(ours, x, use_reentrant=False)[0].sum(), leaves)
    assert_all_close(again, expected)
    with torch.autograd.graph.saved_tensors_hooks(torch.clone, torch.clone):
        out, _ = ours(x)
    assert_all_close(torch.autograd.grad(out.sum(), leaves), expected)


DISTRIBUTED = """
import sys
import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel
import fastmask.torch as ft

rank, folder = int(sys.argv[1]), sys.argv[2]
dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
torch.manual_seed(0)
module = ft.LSTM(3, 5, num_layers=2, bidirectional=True, batch_first=True, dtype=torch.float64)
x = torch.randn(4, 6, 3, dtype=torch.float64)
mask = torch.rand(4, 6) < 0.6
model = DistributedDataParallel(module)
mine = slice(2 * rank, 2 * rank + 2)
for _ in range(2):  # the first pass finds the order of buckets
    model.zero_grad()
    model(x[mine], mask=mask[mine])[0].square().sum().backward()
averaged = [parameter.grad.clone() for parameter in module.parameters()]
whole = torch.autograd.grad(module(x, mask=mask)[0].square().sum() / 2, list(module.parameters()))
for a, b in zip(averaged, whole, strict=True):
    torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)
dist.destroy_process_group()
print("equal")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="gloo's store needs a path without a drive")
def test_distributed_data_parallel(tmp_path: Path) -> None:
    if not torch.distributed.is_available():
        pytest.skip("this torch has no torch.distributed")
    script = tmp_path / "train.py"
    script.write_text(DISTRIBUTED)
    processes = [
        subprocess.Popen(
            [sys.executable, str(script), str(rank), str(tmp_path)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in range(2)
    ]
    try:
        for process in processes:
            output, _ = process.communicate(timeout=250)
            assert process.returncode == 0, output
            assert "equal" in output
    finally:
        for process in processes:
            process.kill()


def test_importing_does_not_import_the_compiler() -> None:
    code = "import sys, fastmask.torch; print('torch._dynamo' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=250)
    assert done.stdout == "False\n", done.stderr


def test_example(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    import runpy

    path = Path(__file__).parents[1] / "examples" / "packed_against_padded.py"
    arguments = ["--lengths", "5", "--batch", "3", "--units", "8", "--seconds", "0"]
    monkeypatch.setattr(sys, "argv", [str(path), *arguments])
    runpy.run_path(str(path), run_name="__main__")
    assert "    5 " in capsys.readouterr().out


def test_code_of_the_documentation() -> None:
    page = Path(__file__).parents[1] / "docs" / "torch.md"
    blocks = page.read_text("utf-8").split("```python\n")[1:]
    names: dict[str, Any] = {}
    for block in blocks:
        exec(block.split("```")[0], names)
    assert len(blocks) == 7
    assert isinstance(names["model"][1], ft.GRU)
    assert names["tensor"].shape == (4, 2)
    assert type(names["critic"][1]) is torch.nn.LSTM
    assert names["critic"][1].weight_hh_l0.grad.any()


@pytest.mark.parametrize("module", ["_modules", "_convert", "_own_cells", "_sampler"])
def test_examples_in_docstrings(module: str) -> None:
    import doctest
    import importlib

    failed, tried = doctest.testmod(importlib.import_module(f"fastmask.torch.{module}"))
    assert tried
    assert not failed
