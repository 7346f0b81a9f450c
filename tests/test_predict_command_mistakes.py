"""Mistakes in the use of `fastmask predict`: one clear line on stderr, and no output."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fastmask import cli, tables

from .keras_files import MODELS
from .predict_files import rows_of_ids, run, saved_reader, write


@pytest.fixture
def reader(tmp_path: Path) -> Any:
    return saved_reader(tmp_path)


class TestMistakes:
    """One clear line on stderr, exit status 2, and no output."""

    CASES = (
        ("a.jsonl", '{"ids": [1]}\n{"other": 1}\n', "row 2 has no 'ids'"),
        ("a.jsonl", '{"who": 1}\n', "there is no column 'ids', only who"),
        ("a.jsonl", '{"ids": [1]}\n{"ids": [1}\n', "line 2, is not JSON: "),
        ("a.jsonl", '{"ids": [1]}\n[1]\n', "line 2, must be an object, not [1]"),
        ("a.jsonl", '{"ids": ["a"]}\n', "row 1 of column 'ids' must hold numbers, not ['a']"),
        ("a.jsonl", '{"ids": "a b"}\n', "row 1 of column 'ids' must hold numbers, not 'a b'"),
        ("a.jsonl", '{"ids": null}\n', "row 1 of column 'ids' has no value"),
        ("a.jsonl", '{"ids": 3}\n', "row 1 of column 'ids' must be a list, not 3"),
        ("a.jsonl", '{"ids": {"a": 1}}\n', "row 1 of column 'ids' must hold numbers"),
        ("a.jsonl", '{"ids": [[1], [2, 3]]}\n', "must hold numbers, not [[1], [2, 3]]"),
        ("a.jsonl", '{"ids": [1]}\n{"ids": [99]}\n', "row 2 of column 'ids': inputs of layer"),
        ("a.jsonl", '{"ids": [1], "prediction": 1}\n', "there is a column 'prediction' already"),
        ("a.jsonl", "\xff", "line 1, is not UTF-8"),
        ("a.csv", "who,ids\na\n", "line 2, has 1 cells, but line 1 has 2"),
        ("a.csv", "ids\n1,2\n", "2 cells, but line 1 has 1: a cell with commas must be in quotes"),
        ("a.csv", 'ids\n"1 2', "line 2, is not CSV"),
        ("a.csv", "", "must begin with names of columns"),
        ("a.csv", "a,a\n", "must begin with names of columns"),
        ("a.csv", "a\n1\n", "there is no column 'ids', only a"),
        ("a.csv", "ids\n1;2;3\n", "not '1;2;3'; write a list as 4 9 2, as [4, 9, 2] or as 4,9,2"),
        ("a.csv", 'ids\n"[1; 2"\n', "not '[1; 2'; write a list as 4 9 2"),
        ("a.csv", 'ids\n"1,,2"\n', "not '1,,2'; write a list as"),
        ("a.npy", "", ".txt; for an array, write a .npz file with a name for its column: numpy.sa"),
        ("a.npz", "nothing", "is not a .npz file that can be read"),
        ("a.arrow", "", "a.arrow must end in .parquet, .pq, .jsonl, .ndjson, .csv, .npz or .txt"),
        ("none.csv", None, "none.csv"),
    )

    def test_files_and_columns(
        self, reader: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert reader
        for name, content, words in self.CASES:
            if content is not None:
                (tmp_path / name).write_bytes(content.encode("latin1"))
            before = sorted(tmp_path.iterdir())
            status = run(tmp_path, name, "b.jsonl")
            said = capsys.readouterr()
            assert status == 2, (name, content)
            assert said.err.startswith("fastmask: "), said.err
            assert words in said.err, said.err
            assert said.err.count("\n") == 1
            assert not said.out
            assert sorted(tmp_path.iterdir()) == before

    def test_other_files(
        self, reader: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert reader
        write(tmp_path / "a.jsonl", rows_of_ids(3))
        for target, options, words in (
            ("b.xlsx", (), "b.xlsx must end in"),
            ("none/b.csv", (), "No such folder"),
            ("b.csv", ("--column", "who"), "has 1 input, so it needs as many columns, not 2"),
            ("b.csv", ("--batch-size", "0"), "--batch-size must be at least 1, not 0"),
        ):
            assert run(tmp_path, "a.jsonl", target, *options) == 2
            assert words in capsys.readouterr().err
        (tmp_path / "m.npz").write_bytes(b"nothing")
        assert run(tmp_path, "a.jsonl", "b.csv") == 2
        assert "m.npz is not a model that can be read" in capsys.readouterr().err

    def test_layers_of_ones_own(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """Only for custom layers does the error point to Python."""
        write(tmp_path / "a.jsonl", rows_of_ids(3))
        (tmp_path / "custom_objects.npz").write_bytes(b"damaged")
        for model, needed in (
            (MODELS / "custom_layer.keras", True),
            (tmp_path / "custom_objects.npz", False),
        ):
            files = [str(model), str(tmp_path / "a.jsonl")]
            out = ["--column", "ids", "--output", str(tmp_path / "b.csv")]
            assert cli.main(["predict", *files, *out]) == 2
            said = capsys.readouterr().err
            assert ("fastmask.Predictor(" in said) == ("docs/commands.md" in said) == needed

    def test_arguments(self, capsys: pytest.CaptureFixture[str]) -> None:
        for words in (["predict"], ["predict", "m.npz", "a.csv", "--column", "b"]):
            with pytest.raises(SystemExit) as caught:
                cli.main(words)
            assert caught.value.code == 2
            assert "usage: fastmask predict" in capsys.readouterr().err

    def test_without_pyarrow(
        self,
        reader: Any,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        assert reader
        monkeypatch.setattr(tables, "find_spec", lambda _name: None)
        assert run(tmp_path, "a.parquet", "b.csv") == 2
        assert "pip install pyarrow" in capsys.readouterr().err
