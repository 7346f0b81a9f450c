"""Threads of an OpenMP library."""

from __future__ import annotations

import io

import numpy as np
import pytest

from fastmask_kernels import cpu
from fastmask_kernels.cpu.parallel import pool as _pool
from fastmask_kernels.cpu.parallel import run
from fastmask_kernels.cpu.parallel.schedule import Schedule

from ..each import FORMS
from .shared_calls import fail, meet, run_shared

pytestmark = pytest.mark.usefixtures("own_pool")


def test_threads_from_an_openmp_library() -> None:
    pytest.importorskip("torch", reason="needs torch, which brings an OpenMP library")
    from fastmask.torch._interop import _openmp

    library = _openmp()
    if library is None:
        pytest.skip("this torch has no OpenMP library that can be told")
    with _pool.openmp_team(library):
        for _ in range(20):
            assert run_shared(meet, 2, 1)[:2].sum() >= 1
        with pytest.raises(RuntimeError, match="a thread of this call failed"):
            run_shared(fail, 2, 0)
    assert _pool.pool._started == 0  # ours were not needed
    assert run_shared(meet, 1, 1)[0] == 1


@pytest.mark.parametrize("sizes", [(5, 20, 8, 100), (40, 12, 16, 64)])
def test_a_layer_on_openmp_threads(sizes: tuple[int, ...]) -> None:
    pytest.importorskip("torch", reason="needs torch, which brings an OpenMP library")
    from fastmask.torch._interop import _openmp

    case = FORMS["lstm"](*sizes, kind="right")
    alone = case.run(cpu, threads=1)
    with pytest.MonkeyPatch.context() as patch, _pool.openmp_team(_openmp()):
        for schedule in (Schedule(2, 0, 0), Schedule(2, 4, 5)):
            patch.setattr(run, "make_schedule", lambda *_, schedule=schedule: schedule)
            for _ in range(50):
                for a, b in zip(alone, case.run(cpu, threads=2), strict=True):
                    np.testing.assert_array_equal(a, b)


def test_a_forked_process_takes_no_openmp_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch", reason="needs torch, which brings an OpenMP library")
    from fastmask.torch._interop import _openmp

    monkeypatch.setattr(_pool, "_forked", True)
    with _pool.openmp_team(_openmp()):
        assert not _pool._openmp.get()


@pytest.mark.parametrize("place", ["/a place/{}", "/place/{} (deleted)"])
def test_an_openmp_library_at_a_strange_place(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch", reason="needs torch, which brings an OpenMP library")
    from fastmask.torch import _interop

    def load(path: str) -> str:
        if path.endswith("(deleted)"):
            raise OSError(path)
        return path

    path = place.format("libgomp.so.1")
    maps = f"7f00-7f01 r--p 00000000 08:01 42                 {path}\n"
    monkeypatch.setattr(_interop.Path, "open", lambda _: io.StringIO(maps))
    monkeypatch.setattr(_interop.ctypes, "CDLL", load)
    monkeypatch.setattr(_interop.torch.__config__, "parallel_info", lambda: "OpenMP")
    assert _interop._openmp.__wrapped__() == (None if path.endswith("(deleted)") else path)
