"""`fastmask predict` at work: whole files or none, batches, progress, fewer bits."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fastmask import tables
from fastmask.commands import predict as _predict
from fastmask.tables import computation as _computation
from fastmask.tables import inputs as _inputs
from fastmask.tables import predictor as _predictor

from .predict_files import ENDINGS, read, rows_of_ids, run, saved_reader, write


@pytest.fixture
def reader(tmp_path: Path) -> Any:
    return saved_reader(tmp_path)


class TestWhole:
    """An output file is complete or absent."""

    def test_an_error_in_the_middle(self, reader: Any, tmp_path: Path) -> None:
        assert reader
        write(tmp_path / "a.jsonl", rows_of_ids(20))
        with (tmp_path / "a.jsonl").open("a") as file:
            file.write("{\n")
        (tmp_path / "b.csv").write_text("before")
        assert run(tmp_path, "a.jsonl", "b.csv", "--batch-size", "2") == 2
        assert (tmp_path / "b.csv").read_text() == "before"

    def test_an_interrupt(
        self,
        reader: Any,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        assert reader
        write(tmp_path / "a.jsonl", rows_of_ids(20))
        before = sorted(tmp_path.iterdir())
        real, calls = _predictor.Predictor.columns, []

        def third(self: Any, batch: Any) -> Any:
            calls.append(batch)
            if len(calls) == 3:
                raise KeyboardInterrupt
            return real(self, batch)

        monkeypatch.setattr(_predictor.Predictor, "columns", third)
        assert run(tmp_path, "a.jsonl", "b.csv", "--batch-size", "2") == 130
        assert capsys.readouterr().err == "fastmask: interrupted, nothing is written\n"
        assert sorted(tmp_path.iterdir()) == before

    @pytest.mark.slow
    def test_a_signal(self, reader: Any, tmp_path: Path) -> None:
        """Ctrl-C while rows are computed, in a process of its own."""
        assert reader
        program = (
            "import os, signal, sys\n"
            "from fastmask import cli\n"
            "from fastmask.tables import json_lines\n"
            "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
            "real = json_lines.Writer.write\n"
            "def write(self, batch, more):\n"
            "    real(self, batch, more)\n"
            "    if batch.first == 4: os.kill(os.getpid(), signal.SIGINT)\n"
            "json_lines.Writer.write = write\n"
            "sys.exit(cli.main(sys.argv[1:]))\n"
        )
        write(tmp_path / "a.jsonl", rows_of_ids(20))
        before = sorted(tmp_path.iterdir())
        files = [str(tmp_path / name) for name in ("m.npz", "a.jsonl")]
        options = ["--column", "ids", "--output", str(tmp_path / "b.jsonl"), "--batch-size", "2"]
        done = subprocess.run(
            [sys.executable, "-c", program, "predict", *files, *options],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 130, done.stderr
        assert done.stderr == "fastmask: interrupted, nothing is written\n"
        assert sorted(tmp_path.iterdir()) == before

    def test_over_a_file_that_is_read(
        self, reader: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert reader
        write(tmp_path / "a.jsonl", rows_of_ids(9))
        (tmp_path / "link.jsonl").symlink_to("a.jsonl")
        (tmp_path / "hard.jsonl").hardlink_to(tmp_path / "a.jsonl")
        (tmp_path / "deeper").mkdir()
        before = {path: path.read_bytes() for path in tmp_path.glob("*.*")}
        for source, target, what in (
            ("a.jsonl", "a.jsonl", "the input"),
            ("a.jsonl", "deeper/../a.jsonl", "the input"),
            ("a.jsonl", "link.jsonl", "the input"),
            ("link.jsonl", "a.jsonl", "the input"),
            ("a.jsonl", "hard.jsonl", "the input"),
            ("a.jsonl", "m.npz", "the model"),
        ):
            assert run(tmp_path, source, target) == 2
            of = tmp_path / (source if what == "the input" else "m.npz")
            words = f"--output {tmp_path / target} is the same file as {what}, {of}"
            assert words in capsys.readouterr().err
        assert {path: path.read_bytes() for path in tmp_path.glob("*.*")} == before


class TestBatches:
    def test_are_bounded_by_steps(
        self, reader: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        rows = [[1] * n for n in (3, 1, 30, 2, 0, 200, 5, 5, 5)]
        write(tmp_path / "a.jsonl", rows)
        sizes: list[tuple[int, int]] = []
        real = _inputs.Input.batch

        def noted(self: Any, values: Any, padded: bool) -> Any:
            x = real(self, values, padded)
            sizes.append((len(x), x.shape[1] or len(x.values)))
            return x

        monkeypatch.setattr(_inputs.Input, "batch", noted)
        monkeypatch.setattr(_computation, "MOST_STEPS", 60)
        for padded, expected in (
            (False, [(5, 36), (1, 200), (3, 15)]),
            (True, [(2, 3), (2, 30), (1, 1), (1, 200), (3, 5)]),
        ):
            sizes.clear()
            monkeypatch.setattr(_computation.Computation, "_padded", padded)
            assert run(tmp_path, "a.jsonl", "b.jsonl") == 0
            assert sizes == expected
            np.testing.assert_allclose(
                read(tmp_path / "b.jsonl"), reader.predict(rows, verbose=0), atol=1e-6
            )

    def test_a_file_is_read_as_it_is_needed(
        self, reader: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert reader
        for ending in ENDINGS:
            write(tmp_path / f"a.{ending}", rows_of_ids(30))
            source = tables.format_of(tmp_path / f"a.{ending}")
            found = [(one.first, one.share) for one in source.batches(tmp_path / f"a.{ending}", 10)]
            assert [first for first, _ in found] == [0, 10, 20]
            assert 0.1 < found[0][1] < 0.6 < found[1][1] < found[2][1] == 1.0
        assert monkeypatch


class TestProgress:
    @pytest.fixture
    def clock(self, monkeypatch: pytest.MonkeyPatch) -> list[float]:
        now = [0.0]

        def tick() -> float:
            now[0] += 0.8
            return now[0]

        monkeypatch.setattr(_predict.time, "monotonic", tick)
        return now

    @pytest.mark.usefixtures("clock", "reader")
    def test_on_a_terminal(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        write(tmp_path / "a.jsonl", rows_of_ids(8))
        monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
        assert run(tmp_path, "a.jsonl", "b.jsonl", "--batch-size", "2") == 0
        shown = capsys.readouterr().err
        assert "a.jsonl [" in shown
        assert "100%, 8 rows" in shown
        assert shown.endswith("\n")

    @pytest.mark.usefixtures("clock", "reader")
    def test_elsewhere(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        write(tmp_path / "a.jsonl", rows_of_ids(8))
        assert run(tmp_path, "a.jsonl", "b.jsonl", "--batch-size", "2") == 0
        written = f"fastmask: 8 rows written to {tmp_path / 'b.jsonl'}\n"
        assert capsys.readouterr().err == written


class TestQuantize:
    @pytest.mark.slow
    def test_fewer_bits(self, reader: Any, tmp_path: Path) -> None:
        rows = rows_of_ids(40)
        write(tmp_path / "a.jsonl", rows)
        exact = reader.predict(rows, verbose=0)
        for mode, most in (("bfloat16", 0.05), ("int8", 0.1)):
            assert run(tmp_path, "a.jsonl", "b.jsonl", "--quantize", mode) == 0
            found = np.array(read(tmp_path / "b.jsonl"))
            reader.quantize(mode)
            np.testing.assert_allclose(found, reader.predict(rows, verbose=0), atol=1e-6)
            assert 0 < np.abs(found - exact).max() < most

    def test_unknown_mode(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(SystemExit):
            run(tmp_path, "a.jsonl", "b.jsonl", "--quantize", "int4")
        assert "--quantize" in capsys.readouterr().err
