"""`fastmask inspect` of Keras files with layers that cannot be loaded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fastmask.commands.predict import Options, model_of
from fastmask.loaders.description import Row, describe

from .keras_files import Written


def rows_of(path: Path) -> dict[str, Row]:
    return {row.layer: row for row in describe(path).rows}


def shown(rows: dict[str, Row], *names: str) -> list[tuple[str, str]]:
    return [(rows[name].shapes, rows[name].mask) for name in names]


@pytest.fixture
def written(tmp_path: Path) -> Written:
    return Written(tmp_path)


def named(config: Any, kind: str) -> Any:
    return next(one for one in config["config"]["layers"] if one["class_name"] == kind)


def test_layers_in_a_row(written: Written) -> None:
    rows = rows_of(
        written.archive("masking_stack", lambda c: named(c, "GRU").update(class_name="Mine"))
    )
    masking, lstm, norm, mine, dense = list(rows)[1:]
    assert shown(rows, masking, lstm) == [
        ("(None, None, 6)", "made"),
        ("(None, None, 8)", "used, kept"),
    ]
    assert rows[norm].shapes == "(None, None, 8)"
    assert shown(rows, mine, dense) == [("?", "?")] * 2
    assert [rows[name].support[:2] for name in (norm, mine, dense)] == ["ye", "no", "ye"]


def test_a_graph(written: Written) -> None:
    rows = rows_of(
        written.archive("multi_head", lambda c: named(c, "Add").update(class_name="Mine"))
    )
    kinds = {row.type: name for name, row in rows.items()}
    known = shown(rows, kinds["Embedding"], kinds["MultiHeadAttention"])
    assert [shape for shape, _ in known] == ["(None, None, 8)"] * 2
    assert known[0][1] == "made"
    assert shown(rows, kinds["Mine"], kinds["GRU"], kinds["Dense"]) == [("?", "?")] * 3


def test_the_predict_command_points_to_python(written: Written) -> None:
    path = written.archive("masking_stack", lambda c: named(c, "GRU").update(class_name="Mine"))
    with pytest.raises(ValueError, match=r"(?s)class Mine.*in Python, fastmask.Predictor"):
        model_of(Options(path, path, path, ("x",)))
