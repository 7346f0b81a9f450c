"""fastmask.torch's modules under torch.compile and torch.export."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fastmask as fm

pytestmark = pytest.mark.optional
torch = pytest.importorskip("torch", reason="torch is not installed")

from torch.nn.utils.rnn import pack_sequence

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
    def test_a_mask_in_a_whole_graph(self) -> None:
        _, ours = twins("GRU", 3, 5)
        compiled = torch.compile(ours, fullgraph=True, backend="aot_eager")
        mask = fm.Mask(np.ones((4, 6)))
        message = r"with fullgraph=True .* torch.from_numpy\(numpy.array\(mask\)\) in place of"
        with pytest.raises(RuntimeError, match=message):
            compiled(torch.randn(6, 4, 3, dtype=FLOAT64), mask=mask)
