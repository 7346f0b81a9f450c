"""`set_num_threads`, `get_num_threads` and FASTMASK_NUM_THREADS."""

from __future__ import annotations

import os

import pytest

import fastmask as fm
from fastmask.backends import threads as _threads


@pytest.fixture(autouse=True)
def _restored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FASTMASK_NUM_THREADS", raising=False)
    monkeypatch.setattr(_threads, "_chosen", None)


def test_default_is_the_processors_that_may_be_used() -> None:
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    assert fm.get_num_threads() == usable


def test_set_and_get() -> None:
    fm.set_num_threads(7)
    assert fm.get_num_threads() == 7


@pytest.mark.parametrize("text", ["3", " 3 "])
def test_environment(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("FASTMASK_NUM_THREADS", text)
    assert fm.get_num_threads() == 3
    fm.set_num_threads(1)
    assert fm.get_num_threads() == 1


def test_empty_environment_means_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FASTMASK_NUM_THREADS", "")
    assert fm.get_num_threads() >= 1


@pytest.mark.parametrize("text", ["0", "-1", "two", "1.5", "1_0", "²"])
def test_bad_environment(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("FASTMASK_NUM_THREADS", text)
    with pytest.raises(ValueError, match="FASTMASK_NUM_THREADS must be a positive integer, not"):
        fm.get_num_threads()


@pytest.mark.parametrize(
    ("value", "error"), [(0, ValueError), (-2, ValueError), (1.0, TypeError), ("2", TypeError)]
)
def test_bad_value(value: object, error: type[Exception]) -> None:
    with pytest.raises(error, match="n must be"):
        fm.set_num_threads(value)  # type: ignore[arg-type]  # on purpose
    with pytest.raises(TypeError, match="n must be an integer, not True"):
        fm.set_num_threads(True)
