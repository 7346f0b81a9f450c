"""`fm.Predictor` on workers: pickled, batch after batch, and with how many threads."""

from __future__ import annotations

import os
import pickle
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastmask as fm
from fastmask.backends import threads as _threads
from fastmask.tables import predictor as _predictor

from .predictor_cases import ROWS, reader, tagger


class TestProcesses:
    def test_pickled_by_path(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        fm.save_model(reader(), tmp_path / "m.npz")
        monkeypatch.chdir(tmp_path)
        reads: list[Any] = []
        real = _predictor.load_model
        monkeypatch.setattr(
            _predictor, "load_model", lambda path: (reads.append(path), real(path))[1]
        )
        predict = fm.Predictor("m.npz", "ids", "p", 2, 1)
        sent = pickle.dumps(predict)
        assert len(sent) < 300
        monkeypatch.chdir("/")
        again = pickle.loads(sent)  # noqa: S301 - of this test
        path = str(tmp_path / "m.npz")
        assert repr(again) == repr(predict) == f"Predictor({path!r}, 'ids', 'p')"
        fm.Predictor(tmp_path / "m.npz", ["ids"])
        assert len(reads) == 1
        np.testing.assert_array_equal(again({"ids": ROWS})["p"], predict({"ids": ROWS})["p"])
        fm.save_model(tagger(), tmp_path / "m.npz")
        os.utime(tmp_path / "m.npz", (1, 1))
        third = pickle.loads(sent)  # noqa: S301 - of this test
        assert third({"ids": ROWS})["p"].dtype == object
        assert len(reads) == 2

    def test_pickled_as_a_whole(self) -> None:
        predict = fm.Predictor(reader(), "ids")
        again = pickle.loads(pickle.dumps(predict))  # noqa: S301 - of this test
        np.testing.assert_array_equal(
            again({"ids": ROWS})["prediction"], predict({"ids": ROWS})["prediction"]
        )

    def test_one_batch_after_the_other(self) -> None:
        predict = fm.Predictor(reader(), "ids")
        given = iter([{"ids": ROWS[:2]}, {"ids": ROWS[2:]}])
        each = pickle.loads(pickle.dumps(predict.each))  # noqa: S301 - of this test
        found = each(given)
        first = next(found)
        assert next(given)["ids"] == ROWS[2:]
        assert len(first["prediction"]) == 2


class TestThreads:
    @pytest.fixture(autouse=True)
    def _nobody_said(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ("FASTMASK_NUM_THREADS", "OMP_NUM_THREADS"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setattr(_threads, "_chosen", 11)
        monkeypatch.setattr(_threads, "_by_user", False)

    def used(self, monkeypatch: pytest.MonkeyPatch, threads: int | None = None) -> int:
        """The threads that a call's kernels may use."""
        seen: list[int] = []
        predict = fm.Predictor(reader(), "ids", threads=threads)

        def compute(_rows: Any) -> dict[str, Any]:
            seen.append(fm.get_num_threads())
            return {}

        monkeypatch.setattr(predict, "_compute", compute)
        predict({"ids": ROWS})
        assert fm.get_num_threads() == _threads._chosen
        return seen[0]

    def test_who_says(self, monkeypatch: pytest.MonkeyPatch) -> None:
        assert self.used(monkeypatch) == 11
        worker: list[Any] = []

        class Distributed:
            @staticmethod
            def get_worker() -> Any:
                if not worker:
                    raise ValueError("No worker found")
                return worker[0]

        monkeypatch.setitem(sys.modules, "distributed", Distributed)
        assert self.used(monkeypatch) == 11
        worker.append("one of Dask's")
        assert self.used(monkeypatch) == 1
        for text, count in (("3", 3), ("4,2", 4), ("many", 1), ("", 1)):
            monkeypatch.setenv("OMP_NUM_THREADS", text)
            assert self.used(monkeypatch) == count
        monkeypatch.setenv("OMP_NUM_THREADS", "3")
        fm.set_num_threads(5)
        assert self.used(monkeypatch) == 5
        assert self.used(monkeypatch, threads=2) == 2
