"""`fastmask predict`: the rows of a file with a model's predictions, in every format."""

from __future__ import annotations

import csv
import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastmask as fm
from fastmask import cli, tables
from fastmask import layers as L
from fastmask.commands import predict as _predict
from fastmask.tables import computation as _computation
from fastmask.tables import inputs as _inputs
from fastmask.tables import predictor as _predictor

ENDINGS = ("jsonl", "csv", "txt")


def saved(path: Path, *layers: Any, shape: tuple[int | None, ...] = (None, None)) -> Any:
    """Save a model to a file, with the same seeded weights each time."""
    model = fm.Sequential(layers)
    model.build(shape)
    random = np.random.default_rng(3)
    model.set_weights([random.normal(size=weight.shape) for weight in model.weights])
    fm.save_model(model, path)
    return model


@pytest.fixture
def reader(tmp_path: Path) -> Any:
    return saved(tmp_path / "m.npz", L.Embedding(20, 3, mask_zero=True), L.SimpleRNN(2))


def rows_of_ids(count: int, seed: int = 4) -> list[list[int]]:
    random = np.random.default_rng(seed)
    return [random.integers(1, 20, size=random.integers(0, 12)).tolist() for _ in range(count)]


def write(path: Path, rows: list[list[int]]) -> None:
    """Write the rows as a column ids, or text, with another column beside it."""
    with path.open("w", encoding="utf-8", newline="") as file:
        if path.suffix == ".jsonl":
            file.writelines(
                json.dumps({"who": f"é{i}", "ids": r}) + "\n" for i, r in enumerate(rows)
            )
        elif path.suffix == ".csv":
            csv.writer(file).writerows(
                [["who", "ids"], *([f"é{i}", r] for i, r in enumerate(rows))]
            )
        else:
            file.writelines(" ".join(map(str, row)) + "\n" for row in rows)


def read(path: Path, name: str = "prediction") -> list[Any]:
    with path.open(encoding="utf-8", newline="") as file:
        if path.suffix == ".jsonl":
            return [json.loads(line)[name] for line in file]
        if path.suffix == ".csv":
            return [json.loads(row[name]) for row in csv.DictReader(file)]
        return [json.loads(line.split("\t")[-1]) for line in file]


def run(folder: Path, source: str, target: str, *options: str, column: str = "") -> int:
    column = column or ("text" if source.endswith("txt") else "ids")
    given = [str(folder / "m.npz"), str(folder / source), "--output", str(folder / target)]
    return cli.main(["predict", *given, "--column", column, *options])


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


class TestModels:
    def test_sequences_out(self, tmp_path: Path) -> None:
        model = saved(
            tmp_path / "m.npz",
            L.Embedding(20, 3, mask_zero=True),
            L.SimpleRNN(2, return_sequences=True),
        )
        rows = rows_of_ids(20)
        write(tmp_path / "a.jsonl", rows)
        assert run(tmp_path, "a.jsonl", "b.jsonl", "--batch-size", "6") == 0
        for row, found in zip(rows, read(tmp_path / "b.jsonl"), strict=True):
            assert len(found) == len(row)
            if row:
                np.testing.assert_allclose(found, model([row]).data[0], atol=1e-6)

    def test_vectors_in_and_one_number_out(self, tmp_path: Path) -> None:
        model = saved(tmp_path / "m.npz", L.SimpleRNN(2), L.Dense(1), shape=(None, None, 3))
        random = np.random.default_rng(6)
        rows = [random.normal(size=(n, 3)).round(3).tolist() for n in (4, 0, 2, 7)]
        write(tmp_path / "a.jsonl", rows)  # type: ignore[arg-type]  # of floats
        assert run(tmp_path, "a.jsonl", "b.csv") == 0
        expected = model.predict(rows, verbose=0)[:, 0]
        np.testing.assert_allclose(read(tmp_path / "b.csv"), expected, atol=1e-6)

    def test_a_single_layer(self, tmp_path: Path) -> None:
        layer = L.SimpleRNN(2)
        layer.build((None, None, 3))
        fm.save_model(layer, tmp_path / "m.npz")
        rows = np.random.default_rng(7).normal(size=(4, 5, 3)).round(3)
        write(tmp_path / "a.jsonl", rows.tolist())
        assert run(tmp_path, "a.jsonl", "b.jsonl") == 0
        np.testing.assert_allclose(read(tmp_path / "b.jsonl"), layer(rows), atol=1e-6)

    def test_features(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        model = saved(tmp_path / "m.npz", L.Dense(2), shape=(None, 3))
        (tmp_path / "a.csv").write_text('ids\n1 2 3\n"[0.5, -1, 4]"\n')
        assert run(tmp_path, "a.csv", "b.csv") == 0
        expected = model([[1, 2, 3], [0.5, -1, 4]])
        np.testing.assert_allclose(read(tmp_path / "b.csv"), expected, atol=1e-5)
        (tmp_path / "a.csv").write_text("ids\n1 2 3\n1 2\n")
        assert run(tmp_path, "a.csv", "b.csv") == 2
        assert (
            "row 2 of column 'ids' has 2 values, but the model takes 3" in capsys.readouterr().err
        )

    def test_a_number_of_steps_that_the_model_wants(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        ids = fm.Input((5,), "int32")
        y = L.SimpleRNN(2, return_sequences=True)(L.Embedding(20, 3, mask_zero=True)(ids))
        model = fm.Model(ids, L.SimpleRNN(2)(y))
        fm.save_model(model, tmp_path / "m.npz")
        write(tmp_path / "a.jsonl", [[3, 4], [1, 2, 3, 4, 5], []])
        assert run(tmp_path, "a.jsonl", "b.jsonl") == 0
        expected = model([[3, 4, 0, 0, 0], [1, 2, 3, 4, 5], [0] * 5])
        np.testing.assert_allclose(read(tmp_path / "b.jsonl"), expected, atol=1e-6)
        write(tmp_path / "a.jsonl", [[3, 4], [1, 2, 3, 4, 5, 6]])
        assert run(tmp_path, "a.jsonl", "b.jsonl") == 2
        assert (
            "row 2 of column 'ids' has 6 values, but the model takes 5" in capsys.readouterr().err
        )

    def test_several_inputs_and_outputs(self, tmp_path: Path) -> None:
        words, number = fm.Input((None,), "int32"), fm.Input((1,))
        read_ = L.SimpleRNN(2)(L.Embedding(20, 3, mask_zero=True)(words))
        model = fm.Model([words, number], [L.Concatenate()([read_, number]), read_])
        fm.save_model(model, tmp_path / "m.npz")
        rows = [{"w": [1, 2, 3], "n": 0.5}, {"w": [4], "n": -2}]
        (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        assert run(tmp_path, "a.jsonl", "b.jsonl", "--column", "n", column="w") == 0
        first, second = model([[[1, 2, 3], [4, 0, 0]], [[0.5], [-2.0]]])
        np.testing.assert_allclose(read(tmp_path / "b.jsonl", "prediction_0"), first, atol=1e-6)
        np.testing.assert_allclose(read(tmp_path / "b.jsonl", "prediction_1"), second, atol=1e-6)

    def test_what_makes_no_mask_needs_none(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        model = saved(tmp_path / "m.npz", L.Embedding(20, 3), L.SimpleRNN(2))
        write(tmp_path / "a.jsonl", [[1, 2, 3], [4, 5]])
        assert run(tmp_path, "a.jsonl", "b.jsonl") == 0
        assert "warning" not in capsys.readouterr().err
        expected = np.concatenate([model([[1, 2, 3]]), model([[4, 5]])])
        np.testing.assert_allclose(read(tmp_path / "b.jsonl"), expected, atol=1e-6)

    def test_a_model_that_needs_padding(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        layers = L.Embedding(20, 3, mask_zero=True), L.Permute((1, 2)), L.SimpleRNN(2)
        model = saved(tmp_path / "m.npz", *layers)
        rows = [[1, 2, 3], [4, 5], [6], [7, 8, 9, 10]]
        write(tmp_path / "a.jsonl", rows)
        assert run(tmp_path, "a.jsonl", "b.jsonl", "--batch-size", "2") == 0
        said = capsys.readouterr().err
        assert said.startswith("fastmask: warning: Layer 'permute")
        assert said.count("\n") == 2
        padded = [[[1, 2, 3], [4, 5, 0]], [[6, 0, 0, 0], [7, 8, 9, 10]]]
        with pytest.warns(UserWarning, match="destroy the mask"):
            expected = np.concatenate([model(batch) for batch in padded])
        np.testing.assert_allclose(read(tmp_path / "b.jsonl"), expected, atol=1e-6)


class TestTexts:
    WORDS = ("good", "bad", "film")
    TEXTS = ("A good film", "", "bad, bad film", "3")

    def test_in_each_format(self, tmp_path: Path) -> None:
        model = fm.Sequential(
            [
                L.TextVectorization(vocabulary=self.WORDS),
                L.Embedding(5, 3, mask_zero=True),
                L.SimpleRNN(2),
            ]
        )
        expected = model(list(self.TEXTS))
        fm.save_model(model, tmp_path / "m.npz")
        rows = "".join(json.dumps({"ids": text}) + "\n" for text in self.TEXTS)
        (tmp_path / "a.jsonl").write_text(rows)
        (tmp_path / "a.csv").write_text('ids\nA good film\n""\n"bad, bad film"\n3\n')
        (tmp_path / "a.txt").write_text("A good film\n\nbad, bad film\n3\n")
        np.savez(tmp_path / "a.npz", ids=np.array(self.TEXTS))
        for ending in (*ENDINGS, "npz"):
            assert run(tmp_path, f"a.{ending}", "b.jsonl", "--batch-size", "3") == 0
            np.testing.assert_allclose(read(tmp_path / "b.jsonl"), expected, atol=1e-6)

    def test_with_an_axis_of_one(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        texts = fm.Input((1,), dtype="string")
        ids = L.TextVectorization(vocabulary=self.WORDS)(texts)
        model = fm.Model(texts, L.SimpleRNN(2)(L.Embedding(5, 3, mask_zero=True)(ids)))
        fm.save_model(model, tmp_path / "m.npz")
        (tmp_path / "a.txt").write_text("A good film\nbad, bad film\n")
        assert run(tmp_path, "a.txt", "b.txt") == 0
        expected = model([["A good film"], ["bad, bad film"]])
        np.testing.assert_allclose(read(tmp_path / "b.txt"), expected, atol=1e-6)
        (tmp_path / "a.jsonl").write_text('{"ids": 3}\n')
        assert run(tmp_path, "a.jsonl", "b.txt") == 2
        assert "row 1 of column 'ids' must hold text, not 3" in capsys.readouterr().err

    def test_lists_of_words(self, tmp_path: Path) -> None:
        words = fm.Input((None,), dtype="string")
        ids = L.StringLookup(vocabulary=self.WORDS, mask_token="")(words)
        model = fm.Model(words, L.SimpleRNN(2)(L.Embedding(5, 3, mask_zero=True)(ids)))
        fm.save_model(model, tmp_path / "m.npz")
        rows = [["good", "film"], ["bad"], [], ["odd", "bad", "film"]]
        (tmp_path / "a.jsonl").write_text("".join(json.dumps({"ids": r}) + "\n" for r in rows))
        assert run(tmp_path, "a.jsonl", "b.jsonl") == 0
        expected = [model([row or [""]])[0] for row in rows]
        np.testing.assert_allclose(read(tmp_path / "b.jsonl"), expected, atol=1e-6)


def test_models_of_keras(tmp_path: Path) -> None:
    saved_models = Path(__file__).parent / "data" / "models"
    for name in ("text_bilstm.keras", "siamese.keras"):
        with np.load(saved_models / f"{Path(name).stem}.io.npz") as file:
            columns = {key: file[key] for key in file.files if key.startswith("x")}
            expected = file["y0"]
        with (tmp_path / "a.jsonl").open("w") as rows:
            for row in range(len(expected)):
                values = {key: array[row].tolist() for key, array in columns.items()}
                rows.write(json.dumps(values) + "\n")
        options = [word for key in columns for word in ("--column", key)]
        given = [str(saved_models / name), str(tmp_path / "a.jsonl")]
        assert cli.main(["predict", *given, *options, "--output", str(tmp_path / "b.jsonl")]) == 0
        np.testing.assert_allclose(read(tmp_path / "b.jsonl"), expected[:, 0], atol=3e-5)


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
        ("a.csv", 'ids\n"1 2', "line 2, is not CSV"),
        ("a.csv", "", "must begin with names of columns"),
        ("a.csv", "a,a\n", "must begin with names of columns"),
        ("a.csv", "a\n1\n", "there is no column 'ids', only a"),
        ("a.npz", "nothing", "is not a .npz file that can be read"),
        ("a.arrow", "", "a.arrow must end in .parquet, .pq, .jsonl"),
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

    def test_arguments(self, capsys: pytest.CaptureFixture[str]) -> None:
        for words in (["predict"], ["predict", "m.npz", "a.csv", "--output", "b.csv"]):
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
        assert "pip install 'fastmask-rnn[data]'" in capsys.readouterr().err


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

    def test_over_the_input(self, reader: Any, tmp_path: Path) -> None:
        rows = rows_of_ids(9)
        write(tmp_path / "a.jsonl", rows)
        assert run(tmp_path, "a.jsonl", "a.jsonl", "--batch-size", "2") == 0
        expected = reader.predict(rows, verbose=0)
        np.testing.assert_allclose(read(tmp_path / "a.jsonl"), expected, atol=1e-6)


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
