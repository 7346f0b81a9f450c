"""`fastmask predict` on a folder, in this process: parts, what is kept, names, resuming."""

from __future__ import annotations

import importlib
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import fastmask as fm
from fastmask import cli
from fastmask import layers as L
from fastmask.commands import engines, parts
from tests.folder_cases import WORDS, assert_whole, make_folder, make_model

pytestmark = pytest.mark.optional
pa = pytest.importorskip("pyarrow")
pq = importlib.import_module("pyarrow.parquet")


@pytest.fixture
def model(tmp_path: Path) -> Any:
    return make_model(tmp_path / "m.npz")


def run(folder: Path, *options: str, source: str = "in", output: str = "out") -> int:
    given = [str(folder / "m.npz"), str(folder / source), "--output", str(folder / output)]
    return cli.main(["predict", *given, "--column", "ids", "--workers", "1", *options])


def times(folder: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in folder.rglob("*.parquet")}


def test_files(model: Any, tmp_path: Path) -> None:
    made = make_folder(tmp_path / "in", 3, 40)
    (tmp_path / "in" / "_metadata.parquet").write_bytes(b"nothing")
    (tmp_path / "in" / "readme.txt").write_text("nothing")
    none = pq.read_table(tmp_path / "in" / "f0.parquet").slice(0, 0)
    pq.write_table(none, tmp_path / "in" / "none.parquet")
    assert run(tmp_path, "--batch-size", "7") == 0
    assert pq.read_table(tmp_path / "out" / "none.parquet").num_rows == 0
    (tmp_path / "out" / "none.parquet").unlink()
    assert_whole(tmp_path / "in", tmp_path / "out", model, made)


def test_parts_of_files(model: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "PART_BYTES", 1)  # a part for each row group
    made = make_folder(tmp_path / "in", 2, 31)
    assert run(tmp_path, "--batch-size", "4", "--name", "prediction") == 0
    assert len(times(tmp_path / "out")) == 6
    assert_whole(tmp_path / "in", tmp_path / "out", model, made, split=True)


def test_what_is_done_is_not_done_again(
    model: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = make_folder(tmp_path / "in", 3, 10)
    assert run(tmp_path) == 0
    before = times(tmp_path / "out")
    assert capsys.readouterr().err == f"fastmask: 30 rows written to {tmp_path / 'out'}\n"
    assert run(tmp_path) == 0
    assert times(tmp_path / "out") == before
    assert "3 of 3 outputs exist already and stay as they are" in capsys.readouterr().err
    removed = tmp_path / "out" / "f2.parquet"
    removed.unlink()
    assert run(tmp_path) == 0
    after = times(tmp_path / "out")
    assert {name for name in after if after[name] != before[name]} == {str(removed)}
    assert_whole(tmp_path / "in", tmp_path / "out", model, made)
    pq.write_table(pq.read_table(removed).slice(1), removed)
    assert run(tmp_path) == 2
    message = capsys.readouterr().err
    assert f"{removed} has 9 rows, but {tmp_path / 'in' / 'f2.parquet'} has 10" in message


def test_an_interrupt(
    model: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made = make_folder(tmp_path / "in", 4, 10)
    real, calls = parts.write_part, []

    def third(options: Any, threads: Any, part: Any) -> None:
        calls.append(part)
        if len(calls) == 3:
            raise KeyboardInterrupt
        real(options, threads, part)

    monkeypatch.setattr(parts, "write_part", third)
    assert run(tmp_path) == 130
    assert capsys.readouterr().err == "fastmask: interrupted: start again to continue\n"
    assert len(times(tmp_path / "out")) == 2
    assert run(tmp_path) == 0
    assert [part.source.name for part in calls[3:]] == [calls[2].source.name, calls[4].source.name]
    assert_whole(tmp_path / "in", tmp_path / "out", model, made)


def test_warnings_of_workers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A warning that several workers give is shown once."""
    model = fm.Sequential([L.Embedding(WORDS, 2), L.Permute((1, 2)), L.SimpleRNN(1)])
    model.build((None, None))
    fm.save_model(model, tmp_path / "m.npz")
    make_folder(tmp_path / "in", 2, 4)
    monkeypatch.setattr(parts, "predictor_of", parts.predictor_of.__wrapped__)  # one for each file
    assert run(tmp_path) == 0
    said = capsys.readouterr().err
    assert said.count("needs padding: layer 'permute") == 1


def test_a_bad_row(model: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert model
    make_folder(tmp_path / "in", 2, 30)
    path = tmp_path / "in" / "f0.parquet"
    table = pq.read_table(path)
    column = table["ids"].to_pylist()
    column[24] = None
    at = table.schema.get_field_index("ids")
    pq.write_table(table.set_column(at, "ids", [column]), path, row_group_size=10)
    assert run(tmp_path) == 2
    wanted = f"fastmask: {path}: row 25 of column 'ids' has no value\n"
    assert capsys.readouterr().err == wanted
    assert not (tmp_path / "out" / "f0.parquet").exists()


def test_other_errors(
    model: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert model
    make_folder(tmp_path / "in", 1, 3)
    (tmp_path / "empty").mkdir()
    (tmp_path / "same").mkdir()
    for name in ("a.parquet", "a.PARQUET"):
        pq.write_table(pq.read_table(tmp_path / "in" / "f0.parquet"), tmp_path / "same" / name)
    (tmp_path / "linked").symlink_to("in")
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / "f0.parquet").symlink_to("../in/f0.parquet")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "b.parquet").write_bytes(b"PAR1")
    monkeypatch.setattr(engines, "find_spec", lambda _name: None)
    for options, source, output, words in (
        (
            ("--engine", "ray"),
            "in",
            "out",
            "pip install ray",
        ),
        (("--workers", "0"), "in", "out", "--workers must be at least 1, not 0"),
        (("--batch-size", "0"), "in", "out", "--batch-size must be at least 1, not 0"),
        ((), "empty", "out", "empty has no .parquet files"),
        ((), "in", "in/deeper", "must not be in"),
        ((), "in", "linked/deeper", "must not be in"),
        ((), "in", "links", "f0.parquet is the same file as an input, "),
        ((), "broken", "out", "b.parquet is not a Parquet file that can be read"),
        ((), "in/f0.parquet", "out.parquet", "--workers is for a folder"),
        (("--column", "row"), "in", "out", "so it needs as many columns, not 2"),
    ):
        assert run(tmp_path, *options, source=source, output=output) == 2
        assert words in capsys.readouterr().err
    assert run(tmp_path, source="same") == 0


def test_workers_that_end_again_and_again(
    model: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made = make_folder(tmp_path / "in", 3, 4)
    ends = [BrokenProcessPool()] * 2

    @contextmanager
    def engine(_workers: int) -> Any:
        def submit(function: Any, *arguments: Any) -> Any:
            future: Any = Future()
            if ends and outputs:
                future.set_exception(ends.pop())
            else:
                outputs.append(arguments)
                future.set_result(function(*arguments))
            return future

        outputs: list[Any] = []
        yield submit

    monkeypatch.setitem(engines.ENGINES, "local", engine)
    assert run(tmp_path) == 0
    assert not ends
    assert_whole(tmp_path / "in", tmp_path / "out", model, made)
    for error, words in (
        (BrokenProcessPool(), "workers ended 3 times; 3 parts are not computed"),
        (RuntimeError("out of memory"), ".parquet is not computed: out of memory"),
    ):
        ends = [error] * 9
        monkeypatch.setitem(engines.ENGINES, "local", lambda _, ends=ends: failing(ends))
        assert run(tmp_path, output=f"to{words[:2]}") == 2
        assert words in capsys.readouterr().err


@contextmanager
def failing(ends: list[Exception]) -> Any:
    def submit(*_arguments: Any) -> Any:
        future: Any = Future()
        future.set_exception(ends.pop())
        return future

    yield submit
