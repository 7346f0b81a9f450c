"""`fastmask inspect` of Keras files with layers that cannot be loaded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fastmask import cli
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
    masking, lstm, norm, mine, dense = rows
    assert shown(rows, masking, lstm) == [
        ("(None, None, 6)", "made"),
        ("(None, None, 8)", "used, kept"),
    ]
    assert rows[norm].shapes == "(None, None, 8)"
    assert shown(rows, mine, dense) == [("?", "?")] * 2
    assert [rows[name].support == "yes" for name in (norm, mine, dense)] == [True, False, True]


def test_a_graph(written: Written) -> None:
    rows = rows_of(
        written.archive("multi_head", lambda c: named(c, "Add").update(class_name="Mine"))
    )
    assert describe(written.folder / "multi_head.keras").outputs == "outputs: dense_6"
    kinds = {row.type: name for name, row in rows.items()}
    known = shown(rows, kinds["Embedding"], kinds["MultiHeadAttention"])
    assert [shape for shape, _ in known] == ["(None, None, 8)"] * 2
    assert known[0][1] == "made"
    assert shown(rows, kinds["Mine"], kinds["GRU"], kinds["Dense"]) == [("?", "?")] * 3


def test_the_rows_are_those_of_a_model_that_can_be_loaded(
    written: Written, capsys: pytest.CaptureFixture[str]
) -> None:
    """Inputs have no row, nor have operations that only make masks."""
    for name in ("multi_head", "attention", "two_inputs"):
        whole = rows_of(written.archive(name, lambda _: None))
        names = list(whole)
        kind = whole[names[-1]].type
        changed = written.archive(
            name, lambda c, kind=kind: named(c, kind).update(class_name="Mine")
        )
        rows = rows_of(changed)
        assert set(rows) == set(names), name
        assert all(rows[one].type == "Operation" for one in names if whole[one].type == "Operation")
        assert cli.main(["inspect", str(changed)]) == 1
        lines = capsys.readouterr().out.splitlines()
        assert max(map(len, lines[:3])) <= 120
        bad = next(one for one, row in rows.items() if row.type == "Mine")
        assert any(
            line.startswith(f"{bad}: is of class Mine, which is not known") for line in lines
        )


def test_operations_whose_fault_shows_late(written: Written) -> None:
    """Two operations are wrong; what comes before them is still shown."""

    def change(config: Any) -> None:
        named(config, "GRU").update(class_name="Mine")
        named(config, "NotEqual").update(class_name="Odd")

    rows = rows_of(written.archive("multi_head", change))
    assert shown(rows, next(name for name, row in rows.items() if row.type == "Embedding"))[0] == (
        "(None, None, 8)",
        "made",
    )
    bad = {row.type for row in rows.values() if row.support != "yes"}
    assert bad == {"Mine", "Odd"}


def test_weights_that_are_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A whole model whose weights do not fit cannot be loaded, and inspect says so."""
    path = Written(tmp_path).archive(
        "masking_stack", lambda c: named(c, "Dense")["config"].update(units=77)
    )
    assert cli.main(["inspect", str(path)]) == 1
    assert (
        "layers/dense: bias must have shape (77,), and the file has (2,)" in capsys.readouterr().out
    )


def test_the_predict_command_points_to_python(written: Written) -> None:
    path = written.archive("masking_stack", lambda c: named(c, "GRU").update(class_name="Mine"))
    with pytest.raises(ValueError, match=r"(?s)class Mine.*in Python, fastmask.Predictor"):
        model_of(Options(path, path, path, ("x",)))
