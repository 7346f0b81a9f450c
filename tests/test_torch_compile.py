"""fastmask.torch's modules under torch.compile and torch.export."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from threading import Thread
from time import sleep
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import fastmask as fm

pytestmark = pytest.mark.optional
torch = pytest.importorskip("torch", reason="torch is not installed")

from torch.nn.utils.rnn import pack_sequence

from fastmask.torch import Recurrent, _skipped
from tests.torch_cases import (
    FLOAT64,
    NAMES,
    as_tuple,
    assert_all_close,
    loss_of,
    random_mask,
    random_states,
    twins,
)

each_module = pytest.mark.parametrize("name", NAMES)
SIZES = ((4, 7), (3, 9), (5, 8), (2, 11))  # of batches: from the second on, torch compiles for any
DENSE = fm.layers.Dense(2)


def lengths_of(x: Any) -> list[int]:
    return [7 - row % 7 for row in range(x.shape[0])]


def mask_of(x: Any) -> fm.Mask:
    return fm.Mask.from_lengths(lengths_of(x), x.shape[1])


# What a `forward` may call in fastmask, for x (B, T, 3).
CALLED: dict[str, Callable[[Any], Any]] = {
    "Mask": lambda x: torch.from_numpy(np.array(fm.Mask(x[..., 0] > 0))),
    "operator": lambda x: torch.from_numpy(mask_of(x) & ~fm.Mask(x[..., 0] > 0)),
    "lengths": lambda x: torch.from_numpy(mask_of(x).lengths),
    "fill": lambda x: x * mask_of(x).fill,
    "Masked": lambda x: torch.from_numpy(np.array(fm.get_mask(fm.Masked(x, mask_of(x))))),
    "pad": lambda x: torch.from_numpy(fm.pad(list(x)).data),
    "pad_sequences": lambda x: torch.from_numpy(fm.pad_sequences([[1], lengths_of(x)])),
    "unpad": lambda x: torch.from_numpy(fm.unpad(fm.Masked(x.numpy(), mask_of(x)))[0]),
    "ragged": lambda x: torch.from_numpy(fm.ragged([row[:3].numpy() for row in x]).values),
    "ops": lambda x: x * float(fm.losses.masked_mean(x[..., 0], mask_of(x))),
    "layer": lambda x: torch.from_numpy(DENSE(x)),
}


class TestCompile:
    @pytest.fixture(autouse=True)
    def _forget(self) -> None:
        torch._dynamo.reset()

    @each_module
    @pytest.mark.filterwarnings("ignore")  # of torch's own, while it compiles
    def test_whole_graph(self, name: str) -> None:
        _, ours = twins(name, 3, 5, num_layers=2, bidirectional=True)
        compiled = torch.compile(ours, fullgraph=True, backend="aot_eager")
        x = torch.randn(6, 4, 3, dtype=FLOAT64, requires_grad=True)
        hx = random_states(ours, 4)
        leaves = [x, *as_tuple(hx), *ours.parameters()]
        for mask in (None, random_mask("holes", 4, 6).T):
            found = []
            for function in (compiled, ours):
                out, last = function(x, hx, mask=mask)
                loss = loss_of(out, *as_tuple(last))
                twice = torch.autograd.grad(loss, leaves, retain_graph=True)
                found.append([out, *as_tuple(last), *twice, *torch.autograd.grad(loss, leaves)])
                with torch.no_grad():
                    found[-1].append(function(x, mask=mask)[0])
            assert_all_close(*found)

    @pytest.mark.filterwarnings("ignore")
    def test_sizes_that_vary(self) -> None:
        _, ours = twins("GRU", 3, 5, bidirectional=True, batch_first=True)
        compiled = torch.compile(ours, fullgraph=True, backend="aot_eager", dynamic=True)
        for batch, time in ((4, 6), (3, 9), (5, 7)):
            x = torch.randn(batch, time, 3, dtype=FLOAT64, requires_grad=True)
            mask = random_mask("holes", batch, time)
            found = []
            for module in (compiled, ours):
                out, _ = module(x, mask=mask)
                found.append([out, *torch.autograd.grad(out.sum(), [x, *ours.parameters()])])
            assert_all_close(*found)

    @each_module
    @pytest.mark.filterwarnings("ignore")
    @pytest.mark.parametrize("keep", [0, 1, 2])
    def test_operators_keep_their_promises(self, name: str, keep: int) -> None:
        _, ours = twins(name, 3, 5, bidirectional=True)
        states = [state.detach() for state in as_tuple(random_states(ours, 4))]
        # All steps are valid: the saved arrays have rows for all of them, so every row is written.
        plan = torch.ops.fastmask.plan(torch.ones(4, 6))
        weights = list(ours.parameters()) if keep == 2 else [p.detach() for p in ours.parameters()]
        arguments = (ours.mode, torch.randn(4, 6, 3, dtype=FLOAT64), states, weights, plan)
        torch.library.opcheck(torch.ops.fastmask.layer, (*arguments, True, keep))

    @pytest.mark.filterwarnings("ignore")
    def test_recompute(self) -> None:
        _, ours = twins("LSTM", 3, 5, recompute=True)
        compiled = torch.compile(ours, fullgraph=True, backend="aot_eager")
        x = torch.randn(6, 4, 3, dtype=FLOAT64)
        found = [
            torch.autograd.grad(module(x)[0].sum(), list(ours.parameters()))
            for module in (compiled, ours)
        ]
        assert_all_close(*found)

    @pytest.mark.filterwarnings("ignore")
    @pytest.mark.parametrize("mask", [None, random_mask("holes", 4, 6)])
    def test_export(self, mask: Any) -> None:
        _, ours = twins("LSTM", 3, 5, batch_first=True)
        x = torch.randn(4, 6, 3, dtype=FLOAT64)
        program = torch.export.export(ours, (x,), {"mask": mask}, strict=False)
        assert_all_close([program.module()(x, mask=mask)[0]], [ours(x, mask=mask)[0]])

    @pytest.mark.filterwarnings("ignore")
    @pytest.mark.parametrize("masked", [False, True])
    def test_export_for_batches_of_any_size(self, masked: bool) -> None:
        _, ours = twins("GRU", 3, 5, num_layers=2, bidirectional=True, batch_first=True)

        class Program(torch.nn.Module):  # type: ignore[misc]  # torch is Any here
            def __init__(self) -> None:
                super().__init__()
                self.layers = ours

            def forward(self, x: Any, mask: Any) -> Any:
                return self.layers(x, mask=mask if masked else None)[0]

        sizes = {0: torch.export.Dim("batch", min=2), 1: torch.export.Dim("time", min=2)}
        example = (torch.randn(4, 6, 3, dtype=FLOAT64), random_mask("holes", 4, 6))
        program = torch.export.export(Program(), example, dynamic_shapes=(sizes, sizes)).module()
        x, mask = torch.randn(7, 9, 3, dtype=FLOAT64), random_mask("holes", 7, 9)
        assert_all_close([program(x, mask)], [Program()(x, mask)])

    @pytest.mark.filterwarnings("ignore")
    @pytest.mark.parametrize("what", ["packed", "Mask", "array", "list"])
    def test_what_breaks_the_graph_still_works(self, what: str) -> None:
        _, ours = twins("GRU", 3, 5)
        compiled = torch.compile(ours, backend="aot_eager")
        if what == "packed":
            sequences = pack_sequence([torch.randn(n, 3, dtype=FLOAT64) for n in (5, 3)])
            assert_all_close([compiled(sequences)[0].data], [ours(sequences)[0].data])
        else:
            x = torch.randn(6, 4, 3, dtype=FLOAT64)
            valid = random_mask("holes", 4, 6).numpy()
            masks = {"Mask": fm.Mask(valid), "array": valid.T, "list": valid.T.tolist()}
            mask = masks[what]
            assert_all_close([compiled(x, mask=mask)[0]], [ours(x, mask=mask)[0]])

    @pytest.mark.filterwarnings("ignore")
    def test_a_formula_where_kernels_cannot_run(self) -> None:
        module = Recurrent(fm.cells.gru_reset_before, 3, 5).to(torch.bfloat16)
        x, mask = torch.randn(4, 2, 3, dtype=torch.bfloat16), random_mask("holes", 2, 4).T
        compiled = torch.compile(module, backend="aot_eager")
        assert torch.equal(compiled(x, mask=mask)[0], module(x, mask=mask)[0])

    @pytest.mark.filterwarnings("ignore")
    def test_a_mask_in_a_whole_graph(self) -> None:
        _, ours = twins("GRU", 3, 5)
        compiled = torch.compile(ours, fullgraph=True, backend="aot_eager")
        mask = fm.Mask(np.ones((4, 6)))
        message = r"with fullgraph=True .* torch.from_numpy\(numpy.array\(mask\)\) in place of"
        with pytest.raises(RuntimeError, match=message):
            compiled(torch.randn(6, 4, 3, dtype=FLOAT64), mask=mask)


class TestWhatIsNotTraced:
    """Calls of fastmask inside a program, which compute with NumPy and Numba."""

    @pytest.fixture(autouse=True)
    def _forget(self) -> None:
        torch._dynamo.reset()

    @pytest.mark.filterwarnings("ignore")  # of torch's own, about .grad, which it hides
    @pytest.mark.parametrize("as_list", [False, True])
    @pytest.mark.parametrize("train", [False, True])
    def test_a_mask_made_in_forward(self, train: bool, as_list: bool) -> None:
        _, ours = twins("GRU", 3, 5, batch_first=True)
        linear = torch.nn.Linear(5, 2, dtype=FLOAT64)
        leaves = [*ours.parameters(), *linear.parameters()]

        def program(x: Any, lengths: Any) -> Any:
            return linear(ours(x * 2, mask=fm.Mask.from_lengths(lengths, x.shape[1]))[0]) + 1

        compiled = torch.compile(program, backend="aot_eager")
        for batch, time in SIZES:
            x = torch.randn(batch, time, 3, dtype=FLOAT64)
            lengths = lengths_of(x) if as_list else torch.tensor(lengths_of(x))
            found = []
            for function in (compiled, program):
                with torch.set_grad_enabled(train):
                    out = function(x, lengths)
                found.append([out, *(torch.autograd.grad(out.sum(), leaves) if train else ())])
            assert_all_close(*found)

    @pytest.mark.parametrize("what", CALLED)
    def test_calls_break_the_graph(self, what: str) -> None:
        called = CALLED[what]
        compiled = torch.compile(lambda x: called(x * 2) + 1, backend="aot_eager")
        for batch, time in SIZES:
            x = torch.randn(batch, time, 3)
            assert_all_close([compiled(x)], [called(x * 2) + 1])

    def test_in_a_whole_graph_torch_says_which_call_breaks_it(self) -> None:
        whole = torch.compile(lambda x: CALLED["fill"](x), fullgraph=True, backend="aot_eager")
        with pytest.raises(torch._dynamo.exc.Unsupported, match=r"Mask\.from_lengths"):
            whole(torch.randn(4, 7, 3))

    @pytest.mark.parametrize("first", ["fastmask.torch", "torch._dynamo"])
    def test_kernels_that_are_not_compiled_yet(self, first: str, tmp_path: Path) -> None:
        code = (
            f"import {first}, fastmask.torch, fastmask as fm, torch\n"
            "@torch.compile(backend='aot_eager')\n"
            "def program(x):\n"
            "    return x * 2 + fm.Mask.from_lengths([2, 1], 4).fill\n"
            "print(program(torch.ones(1)).item())"
        )
        run = [sys.executable, "-W", "error::RuntimeWarning", "-c", code]
        there = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
        done = subprocess.run(run, env=there, capture_output=True, text=True, timeout=250)
        assert (done.stdout, done.stderr) == ("2.375\n", "")


class TestImportOfTheRules:
    """Programs import torch's rules as without fastmask, whatever else they do."""

    @pytest.fixture
    def rules(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str], str]:
        """A function that writes a module in place of torch's rules; `names` are those added."""

        def write(first: str) -> str:
            name = "rules_of_" + tmp_path.name
            code = "from importlib.util import find_spec\nnames = []\n"
            code += "def add(name):\n    find_spec(name)\n    names.append(name)\n"
            (tmp_path / f"{name}.py").write_text(f"{first}\n{code}")
            monkeypatch.syspath_prepend(tmp_path)
            monkeypatch.setattr(_skipped, "_RULES", name)
            finders = [one for one in sys.meta_path if not isinstance(one, _skipped._Waiting)]
            monkeypatch.setattr(sys, "meta_path", finders)
            return name

        return write

    def test_a_mocked_module(
        self, rules: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        name = rules("")
        _skipped.skip_numpy()
        monkeypatch.setitem(sys.modules, "numba", ModuleType("numba"))
        names = import_module(name).names
        assert {"fastmask.masks", "fastmask_kernels", "llvmlite"} < {*names}
        assert "numba" not in names

    def test_finders_set_back_meanwhile(self, rules: Callable[[str], str]) -> None:
        name = rules("import sys; del sys.meta_path[0]")
        _skipped.skip_numpy()
        assert "numba" in import_module(name).names

    def test_another_thread_is_importing_them(self, rules: Callable[[str], str]) -> None:
        name = rules("from time import sleep; sleep(0.5)")
        thread = Thread(target=import_module, args=(name,))
        thread.start()
        while name not in sys.modules:
            sleep(0.001)
        _skipped.skip_numpy()
        thread.join()
        assert "numba" in sys.modules[name].names
