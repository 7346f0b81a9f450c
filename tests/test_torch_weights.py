"""After any kind of change of weights has returned, fastmask.torch uses the new ones."""

from __future__ import annotations

import copy
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

pytestmark = pytest.mark.optional
torch = pytest.importorskip("torch", reason="torch is not installed")

from torch.nn.utils.rnn import PackedSequence

import fastmask as fm
import fastmask.torch as ft
from fastmask.torch import _weight_cache
from tests.torch_cases import (
    CHANGES,
    FLOAT64,
    NAMES,
    as_tuple,
    assert_all_close,
    twins,
)

each_module = pytest.mark.parametrize("name", NAMES)
each_change = pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)


@torch.no_grad()
def results(module: Any, x: Any) -> list[Any]:
    out, last = module(x)
    return [out, *as_tuple(last)]


@each_module
@each_change
def test_however_they_change(name: str, change: Any) -> None:
    theirs, ours = twins(name, 3, 5, bidirectional=True)
    x = torch.randn(6, 4, 3, dtype=FLOAT64)
    before = results(ours, x)
    change(ours)
    theirs.load_state_dict(ours.state_dict())
    after = results(ours, x)
    assert_all_close(after, results(theirs, x))
    assert not torch.equal(after[0], before[0])


def test_unchanged_weights_are_packed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    packs: list[Any] = []
    pack = _weight_cache.packed
    monkeypatch.setattr(
        _weight_cache, "packed", lambda *arguments: packs.append(arguments) or pack(*arguments)
    )
    _, ours = twins("LSTM", 3, 5, bidirectional=True)
    x = torch.randn(6, 4, 3, dtype=FLOAT64)
    for expected in (2, 2, 2):
        results(ours, x)
        assert len(packs) == expected
    ours.weight_hh_l0.data.mul_(0.5)
    results(ours, x)
    assert len(packs) == 4


def test_modules_of_two_cells_that_share_all_weights() -> None:
    one, other = (
        ft.Recurrent(fm.cells.CELLS[name], 3, 5, dtype=FLOAT64)
        for name in ("gru_reset_before", "coupled_lstm")
    )
    expected = copy.deepcopy(other)
    expected.load_state_dict(one.state_dict())
    for name, parameter in one.named_parameters():
        setattr(other, name, parameter)
    x = torch.randn(6, 4, 3, dtype=FLOAT64)
    results(one, x)
    assert_all_close(results(other, x), results(expected, x), 0)


def test_weights_lent_for_one_call() -> None:
    theirs, ours = twins("GRU", 3, 5)
    x = torch.randn(6, 4, 3, dtype=FLOAT64)
    before = results(ours, x)
    others = {name: torch.randn_like(value) for name, value in ours.named_parameters()}
    with torch.no_grad():
        for names in (others, ("weight_hh_l0",)):
            lent = {name: others[name] for name in names}
            found = torch.func.functional_call(ours, lent, (x,))
            assert_all_close([*found], [*torch.func.functional_call(theirs, lent, (x,))])
            assert_all_close(results(ours, x), before, 0)


def test_weights_in_shared_memory() -> None:
    theirs, ours = twins("RNN", 3, 5)
    x = torch.randn(6, 4, 3, dtype=FLOAT64)
    ours.share_memory()
    other = copy.copy(ours)  # as in another process: only the memory is the same
    other._parameters = {
        name: torch.nn.Parameter(value.data) for name, value in ours.named_parameters()
    }
    results(ours, x)
    with torch.no_grad():
        other.weight_hh_l0.mul_(0.5)
    theirs.load_state_dict(ours.state_dict())
    assert_all_close(results(ours, x), results(theirs, x))


@each_module
@pytest.mark.parametrize("through_data", [True, False])
def test_beside_calls_of_another_thread(name: str, through_data: bool) -> None:
    theirs, ours = twins(name, 3, 5)
    x = torch.randn(6, 4, 3, dtype=FLOAT64)
    done = threading.Event()

    def call() -> None:
        while not done.is_set():
            results(ours, x)

    with ThreadPoolExecutor(1) as pool:
        other = pool.submit(call)
        try:
            for _ in range(60):
                with torch.no_grad():
                    for parameter in ours.parameters():
                        (parameter.data if through_data else parameter).mul_(-0.99)
                theirs.load_state_dict(ours.state_dict())
                assert_all_close(results(ours, x), results(theirs, x))
        finally:
            done.set()
        other.result()


@each_module
def test_a_change_while_another_thread_packs(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    theirs, ours = twins(name, 3, 5)
    x = torch.randn(6, 4, 3, dtype=FLOAT64)
    packing, changed = threading.Event(), threading.Event()
    pack = _weight_cache.packed

    def slow(*arguments: Any) -> Any:
        found = pack(*arguments)
        packing.set()
        assert changed.wait(60)
        return found

    monkeypatch.setattr(_weight_cache, "packed", slow)
    with ThreadPoolExecutor(1) as pool:
        other = pool.submit(results, ours, x)
        assert packing.wait(60)
        ours.weight_hh_l0.data.mul_(0.5)
        changed.set()
        other.result()
    theirs.load_state_dict(ours.state_dict())
    assert_all_close(results(ours, x), results(theirs, x))


def test_a_change_between_copying_and_packing(monkeypatch: pytest.MonkeyPatch) -> None:
    theirs, ours = twins("LSTM", 3, 5)
    x = torch.randn(6, 4, 3, dtype=FLOAT64)
    pack = _weight_cache.packed

    def late(*arguments: Any) -> Any:
        ours.weight_hh_l0.data.mul_(0.5)
        return pack(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(_weight_cache, "packed", late)
        results(ours, x)
    theirs.load_state_dict(ours.state_dict())
    assert_all_close(results(ours, x), results(theirs, x))
    assert len(_weight_cache._entries[id(ours.weight_ih_l0)].packed) == 1


@pytest.mark.parametrize("how", ["copy_", "data", "numpy"])
def test_sizes_of_a_packed_sequence_that_change(how: str) -> None:
    module = ft.GRU(3, 5)
    data, sizes = torch.randn(7, 3), torch.tensor([3, 2, 2])
    sequences = PackedSequence(data, sizes)
    with torch.no_grad():
        before = module(sequences)[0].data
        new = torch.tensor([4, 2, 1])
        if how == "numpy":
            sizes.numpy()[...] = new
        else:
            (sizes if how == "copy_" else sizes.data).copy_(new)
        after = module(sequences)[0].data
        assert_all_close([after], [module(PackedSequence(data, new))[0].data], 0)
    assert not torch.equal(before, after)


def test_weights_that_only_look_the_same() -> None:
    """A view that negates its memory, and another order of the same memory, are other weights."""
    theirs, ours = twins("RNN", 4, 4)
    x = torch.randn(6, 4, 4, dtype=FLOAT64)
    results(ours, x)
    weight = ours.weight_hh_l0.detach()
    for other in (torch._neg_view(weight), weight.t()):
        del ours.weight_hh_l0
        ours.weight_hh_l0 = torch.nn.Parameter(other)
        with torch.no_grad():
            theirs.weight_hh_l0.copy_(other)
        assert_all_close(results(ours, x), results(theirs, x))
