"""`fastmask predict` with models of every kind: what they take, and what comes out."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import fastmask as fm
from fastmask import cli
from fastmask import layers as L

from .keras_files import MODELS
from .predict_files import ENDINGS, read, rows_of_ids, run, saved, write


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
        padding, written = capsys.readouterr().err.splitlines()
        assert padding.startswith("fastmask: warning: model 'sequential")
        assert "needs padding: layer 'permute" in padding
        assert written.startswith("fastmask: 4 rows written")
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

    def test_lists_of_words(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        words = fm.Input((None,), dtype="string")
        ids = L.StringLookup(vocabulary=self.WORDS, mask_token="")(words)
        model = fm.Model(words, L.SimpleRNN(2)(L.Embedding(5, 3, mask_zero=True)(ids)))
        fm.save_model(model, tmp_path / "m.npz")
        rows = [["good", "film"], ["bad"], [], ["odd", "bad", "film"]]
        (tmp_path / "a.jsonl").write_text("".join(json.dumps({"ids": r}) + "\n" for r in rows))
        assert run(tmp_path, "a.jsonl", "b.jsonl") == 0
        expected = [model([row or [""]])[0] for row in rows]
        np.testing.assert_allclose(read(tmp_path / "b.jsonl"), expected, atol=1e-6)
        (tmp_path / "a.csv").write_text("ids\ngood film\n")
        assert run(tmp_path, "a.csv", "b.csv") == 2
        wanted = """must be a list like ["good", "film"], not 'good film'"""
        assert wanted in capsys.readouterr().err


def test_models_of_keras(tmp_path: Path) -> None:
    for name in ("text_bilstm.keras", "siamese.keras"):
        with np.load(MODELS / f"{Path(name).stem}.io.npz") as file:
            columns = {key: file[key] for key in file.files if key.startswith("x")}
            expected = file["y0"]
        with (tmp_path / "a.jsonl").open("w") as rows:
            for row in range(len(expected)):
                values = {key: array[row].tolist() for key, array in columns.items()}
                rows.write(json.dumps(values) + "\n")
        options = [word for key in columns for word in ("--column", key)]
        given = [str(MODELS / name), str(tmp_path / "a.jsonl")]
        assert cli.main(["predict", *given, *options, "--output", str(tmp_path / "b.jsonl")]) == 0
        np.testing.assert_allclose(read(tmp_path / "b.jsonl"), expected[:, 0], atol=3e-5)
