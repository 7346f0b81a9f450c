"""Pictures of masks: the valid steps are drawn, and bad input raises clear errors."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastmask as fm

VALID = np.array([[1, 0, 1, 0], [0, 0, 0, 0], [1, 1, 1, 0]], bool)
ROOT = Path(__file__).parents[1]


def test_without_matplotlib_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [*filter(lambda name: name.startswith("matplotlib"), sys.modules), "matplotlib"]:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ImportError, match="pip install matplotlib"):
        fm.plot_masks(VALID)


def test_what_cannot_be_drawn() -> None:
    with pytest.raises(TypeError, match="batch must carry a mask or be one, not None"):
        fm.plot_masks(None)  # type: ignore[arg-type]  # wrong on purpose
    instead = r"^batch must carry a mask .*fastmask\.trace_masks\(model, x\)\.plot\(\)"
    for wrong in (fm.Sequential(), fm.layers.LSTM(2, name="read"), fm.layers.LSTM):
        with pytest.raises(TypeError, match=instead):
            fm.plot_masks(wrong)  # type: ignore[arg-type]  # wrong on purpose
    for shape in ((0, 4), (3, 0), (2, 3, 4)):
        with pytest.raises(ValueError, match=r"batch must have a mask \(B, T\) with steps"):
            fm.plot_masks(np.ones(shape, bool))


@pytest.mark.optional
def test_the_steps_that_are_drawn() -> None:
    pytest.importorskip("matplotlib")
    batch = fm.Masked(np.zeros((3, 4, 2)), VALID)
    for given in (VALID, fm.Mask(VALID), batch):
        figure = fm.plot_masks(given)
        before, plan = (drawn(axes) for axes in figure.axes)
        np.testing.assert_array_equal(before, VALID)
        np.testing.assert_array_equal(plan, [[1, 1, 1, 0], [1, 1, 0, 0], [0, 0, 0, 0]])
    rows, _ = fm.plot_masks(fm.Ragged(np.zeros(5), [0, 2, 5])).axes
    np.testing.assert_array_equal(drawn(rows), [[1, 1, 0], [1, 1, 1]])
    assert len(fm.plot_masks(batch, plan=False).axes) == 1


@pytest.mark.optional
def test_the_way_through_a_model() -> None:
    pytest.importorskip("matplotlib")
    embedding = fm.layers.Embedding(9, 2, mask_zero=True)
    trace = fm.trace_masks(fm.Sequential([embedding, fm.layers.LSTM(3)]), VALID.astype(int))
    made, used = trace.plot().axes
    np.testing.assert_array_equal(drawn(made), VALID)
    assert made.get_xlabel() == "made"
    assert used.get_xlabel() == "used"
    assert not used.collections


@pytest.mark.optional
def test_the_guides_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("matplotlib")
    monkeypatch.setattr(sys, "argv", ["draw_masks.py", str(tmp_path)])
    runpy.run_path(str(ROOT / "examples/draw_masks.py"), run_name="__main__")
    for name in ("masks.svg", "trace.svg"):
        assert (tmp_path / name).read_text().startswith("<?xml")
        assert (ROOT / "docs" / name).exists()


def drawn(axes: Any) -> Any:
    (mesh,) = axes.collections
    return np.asarray(mesh.get_array())


@pytest.mark.optional
def test_a_picture_says_how_many_of_the_rows_it_shows() -> None:
    pytest.importorskip("matplotlib")
    layer = fm.layers.Embedding(9, 2, mask_zero=True)
    for rows, label in ((32, ""), (33, "first 32 of 33 rows")):
        (axes,) = fm.trace_masks(layer, np.ones((rows, 3), int)).plot().axes
        assert axes.get_ylabel() == label
        assert drawn(axes).shape == (32, 3)
