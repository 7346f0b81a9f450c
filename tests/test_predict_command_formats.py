"""`fastmask predict` on files of every format, into files of every format."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastmask as fm
from fastmask import layers as L

from .predict_files import ENDINGS, read, rows_of_ids, run, saved, saved_reader, write


@pytest.fixture
def reader(tmp_path: Path) -> Any:
    return saved_reader(tmp_path)


class TestFormats:
    @pytest.mark.usefixtures("reader")
    def test_each_into_each(self, reader: Any, tmp_path: Path) -> None:
        rows = rows_of_ids(40)
        expected = reader.predict(rows, verbose=0)
        for one in ENDINGS:
            write(tmp_path / f"a.{one}", rows)
            for other in ENDINGS:
                assert run(tmp_path, f"a.{one}", f"b.{other}", "--batch-size", "7") == 0
                np.testing.assert_allclose(read(tmp_path / f"b.{other}"), expected, atol=1e-6)

    @pytest.mark.usefixtures("reader")
    def test_the_rows_stay(self, tmp_path: Path) -> None:
        write(tmp_path / "a.jsonl", rows_of_ids(5))
        assert run(tmp_path, "a.jsonl", "b.jsonl", "--name", "score") == 0
        before = [
            json.loads(line) for line in (tmp_path / "a.jsonl").read_text("utf-8").splitlines()
        ]
        after = [
            json.loads(line) for line in (tmp_path / "b.jsonl").read_text("utf-8").splitlines()
        ]
        assert [list(row) for row in after] == [["who", "ids", "score"]] * 5
        assert [{**row, "score": 0} for row in before] == [{**row, "score": 0} for row in after]

    def test_npz(self, reader: Any, tmp_path: Path) -> None:
        ids = np.random.default_rng(5).integers(0, 20, size=(30, 6))
        names = np.array([f"é{i}" for i in range(30)])
        np.savez_compressed(tmp_path / "a.npz", ids=ids, who=names)
        assert run(tmp_path, "a.npz", "b.npz", "--batch-size", "8") == 0
        with np.load(tmp_path / "b.npz") as file:
            np.testing.assert_array_equal(file["who"], names)
            np.testing.assert_allclose(file["prediction"], reader(ids), atol=1e-6)
        assert run(tmp_path, "a.npz", "b.csv") == 0
        np.testing.assert_allclose(read(tmp_path / "b.csv"), reader(ids), atol=1e-6)

    @pytest.mark.usefixtures("reader")
    def test_no_rows(self, tmp_path: Path) -> None:
        (tmp_path / "a.csv").write_text("who,ids\n")
        assert run(tmp_path, "a.csv", "b.csv") == 0
        assert (tmp_path / "b.csv").read_text() == "who,ids,prediction\n"
        (tmp_path / "a.jsonl").write_text("\n")
        assert run(tmp_path, "a.jsonl", "b.jsonl") == 0
        assert (tmp_path / "b.jsonl").read_text() == ""

    def test_the_only_column(self, reader: Any, tmp_path: Path) -> None:
        expected = reader([[4, 9, 2], [7, 0, 0]])
        np.savez(tmp_path / "a.npz", x=np.array([[4, 9, 2], [7, 0, 0]]))
        for name, content in (
            ("a.txt", "4 9 2\n7\n"),
            ("a.csv", "x\n4 9 2\n7\n"),
            ("a.jsonl", '{"x": [4, 9, 2]}\n{"x": [7]}\n'),
            ("a.npz", None),
        ):
            if content is not None:
                (tmp_path / name).write_text(content)
            assert run(tmp_path, name, "b.jsonl", column=None) == 0
            np.testing.assert_allclose(read(tmp_path / "b.jsonl"), expected, atol=1e-6)
        (tmp_path / "a.txt").write_text("")
        assert run(tmp_path, "a.txt", "b.txt", column=None) == 0

    def test_blank_lines(self, reader: Any, tmp_path: Path) -> None:
        for content, expected in (
            ("ids\n4 9\n\n3\n", [[4, 9], [0, 0], [3, 0]]),
            ("ids\r\n\r\n4 9\r\n", [[0, 0], [4, 9]]),
            ("who,ids\na,4 9\n\nb,3\n", [[4, 9], [3, 0]]),
        ):
            (tmp_path / "a.csv").write_bytes(content.encode())
            assert run(tmp_path, "a.csv", "b.csv") == 0
            np.testing.assert_allclose(read(tmp_path / "b.csv"), reader(expected), atol=1e-6)

    @pytest.mark.usefixtures("reader")
    def test_which_columns_there_are(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        write(tmp_path / "a.csv", rows_of_ids(2))
        (tmp_path / "a.jsonl").write_text("")
        for name, words in (
            ("a.csv", "a.csv has columns who, ids"),
            ("a.jsonl", "a.jsonl has no rows that would show its columns"),
        ):
            assert run(tmp_path, name, "b.jsonl", column=None) == 2
            said = capsys.readouterr().err
            assert said == f"fastmask: --column is needed, because {tmp_path / words}\n"

    def test_lists_in_texts(self, reader: Any, tmp_path: Path) -> None:
        lists = "4 9 2", '"4,9,2"', '"4, 9, 2"', '"[4, 9, 2]"', '" 4  9 2 "', '"[4,9,2]"'
        (tmp_path / "a.csv").write_text("\n".join(["ids", *lists]) + "\n")
        assert run(tmp_path, "a.csv", "b.csv") == 0
        expected = np.repeat(reader([[4, 9, 2]]), len(lists), axis=0)
        np.testing.assert_allclose(read(tmp_path / "b.csv"), expected, atol=1e-6)

    def test_steps_with_several_features(self, tmp_path: Path) -> None:
        model = saved(tmp_path / "m.npz", L.LSTM(3), shape=(None, None, 2))
        rows: list[Any] = [[[0.1, 2], [0.3, -4]], [[5, 6e-1]]]
        for ending in ("jsonl", "csv"):
            write(tmp_path / f"a.{ending}", rows)
            assert run(tmp_path, f"a.{ending}", f"b.{ending}") == 0
            expected = model.predict(rows, verbose=0)
            np.testing.assert_allclose(read(tmp_path / f"b.{ending}"), expected, atol=1e-6)
        (tmp_path / "c.csv").write_text('ids\n"[[0.1, 2], [0.3, -4]]"\n"[[5, 0.6]]"\n')
        assert run(tmp_path, "c.csv", "d.csv") == 0
        np.testing.assert_allclose(read(tmp_path / "d.csv"), expected, atol=1e-6)

    @pytest.mark.optional
    def test_parquet(self, reader: Any, tmp_path: Path) -> None:
        pa = pytest.importorskip("pyarrow")
        pq = importlib.import_module("pyarrow.parquet")
        rows = rows_of_ids(50)
        columns = {"ids": rows, "when": pa.array(range(0, 50_000, 1000), pa.timestamp("ns"))}
        pq.write_table(pa.table(columns), tmp_path / "a.parquet", row_group_size=9)
        expected = reader.predict(rows, verbose=0)
        for options in ((), ("--batch-size", "7")):
            assert run(tmp_path, "a.parquet", "b.parquet", *options) == 0
            found = pq.read_table(tmp_path / "b.parquet")
            assert found.drop(["prediction"]).equals(pa.table(columns))
            np.testing.assert_allclose(found["prediction"].to_pylist(), expected, atol=1e-6)
        for ending in ENDINGS:
            write(tmp_path / f"a.{ending}", rows)
            assert run(tmp_path, f"a.{ending}", "c.pq", "--batch-size", "16") == 0
            found = pq.read_table(tmp_path / "c.pq")["prediction"].to_pylist()
            np.testing.assert_allclose(found, expected, atol=1e-6)
            assert run(tmp_path, "a.parquet", f"d.{ending}") == 0
            np.testing.assert_allclose(read(tmp_path / f"d.{ending}"), expected, atol=1e-6)
        pq.write_table(pa.table(columns).slice(0, 0), tmp_path / "none.parquet")
        assert run(tmp_path, "none.parquet", "b.parquet") == 0
        assert pq.read_table(tmp_path / "b.parquet").num_rows == 0

    @pytest.mark.optional
    def test_row_groups_of_parquet(
        self, reader: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Batches share row groups, and only the input's columns are dictionary-encoded."""
        pa = pytest.importorskip("pyarrow")
        pq = importlib.import_module("pyarrow.parquet")
        parquet = importlib.import_module("fastmask.tables.parquet")
        rows = rows_of_ids(50)
        expected = reader.predict(rows, verbose=0)
        parts = [{"a": i, "b": [{"c": [i]}]} for i in range(50)]
        pq.write_table(pa.table({"ids": rows, "parts": parts}), tmp_path / "a.parquet")
        for most, groups in ((1 << 20, 1), (1, 8)):
            monkeypatch.setattr(parquet, "GROUP_BYTES", most)
            assert run(tmp_path, "a.parquet", "b.parquet", "--batch-size", "7") == 0
            with pq.ParquetFile(tmp_path / "b.parquet") as file:
                assert file.metadata.num_row_groups == groups
                group = file.metadata.row_group(0)
                columns = [group.column(i) for i in range(group.num_columns)]
                found = {one.path_in_schema: one.has_dictionary_page for one in columns}
                np.testing.assert_allclose(
                    file.read()["prediction"].to_pylist(), expected, atol=1e-6
                )
            assert found.pop("prediction.list.element") is False
            assert len(found) == 3
            assert all(found.values())

    @pytest.mark.optional
    def test_a_row_group_is_not_in_memory(self, tmp_path: Path) -> None:
        pa = pytest.importorskip("pyarrow")
        pq = importlib.import_module("pyarrow.parquet")
        batches = importlib.import_module("fastmask.tables.parquet").batches
        numbers = np.random.default_rng(8).integers(0, 2**60, (30_000, 100))
        whole = fm.ragged(numbers).to_arrow()
        pq.write_table(pa.table({"x": whole}), tmp_path / "a.parquet", row_group_size=len(whole))
        before, most, rows = pa.total_allocated_bytes(), 0, 0
        for batch in batches(tmp_path / "a.parquet", 500):
            most = max(most, pa.total_allocated_bytes() - before)
            rows += len(batch)
        assert rows == 30_000
        assert most < numbers.nbytes / 2

    @pytest.mark.optional
    def test_wrong_parquet(
        self, reader: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        pa = pytest.importorskip("pyarrow")
        assert reader
        pq = importlib.import_module("pyarrow.parquet")
        (tmp_path / "a.parquet").write_bytes(b"PAR1 nothing PAR1")
        assert run(tmp_path, "a.parquet", "b.parquet") == 2
        assert "a.parquet is not a Parquet file that can be read" in capsys.readouterr().err
        pq.write_table(pa.table({"ids": [[1, 2], None]}), tmp_path / "a.parquet")
        assert run(tmp_path, "a.parquet", "b.parquet") == 2
        assert "row 2 of column 'ids' has no value" in capsys.readouterr().err
        (tmp_path / "a.jsonl").write_text('{"ids": [1], "n": 1}\n{"ids": [2], "n": "a"}\n')
        assert run(tmp_path, "a.jsonl", "b.parquet", "--batch-size", "1") == 2
        assert "rows from 2 on do not fit" in capsys.readouterr().err
        assert not (tmp_path / "b.parquet").exists()
