"""Files of functional models: saved models load again, and hostile files are refused."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastmask as fm
from fastmask.layers import LSTM, Embedding

from .graph_models import IDS, MORE, same, two_by_two
from .saved_model import members_of, npy, write

X = np.random.default_rng(0).normal(size=(3, 5, 4)).astype(np.float32)


class TestFiles:
    def test_go_round(self, tmp_path: Path) -> None:
        model = two_by_two()
        path = tmp_path / "a.npz"
        fm.save_model(model, path)
        again = fm.load_model(path)
        assert type(again) is type(model)
        assert again.get_config() == model.get_config()
        for one, other in zip(again([MORE, IDS]), model([MORE, IDS]), strict=True):
            same(one, other)
        outer = fm.Sequential([fm.load_model(path)])
        fm.save_model(outer, path)
        for one, other in zip(fm.load_model(path)([MORE, IDS]), model([MORE, IDS]), strict=True):
            same(one, other)

    def test_masks_and_options(self, tmp_path: Path) -> None:
        x, ids = fm.Input((None, 4)), fm.Input((None,), "int32")
        embedded = Embedding(10, 2, mask_zero=True)(ids)
        y = LSTM(3)(x, mask=fm.get_mask(embedded), training=False)
        model = fm.Model([x, ids], [y, embedded])
        fm.save_model(model, tmp_path / "a.npz")
        for one, other in zip(
            fm.load_model(tmp_path / "a.npz")([X, IDS]), model([X, IDS]), strict=True
        ):
            same(one, other)
        constant = fm.Model(x, LSTM(3)(x, mask=np.ones((3, 5))))
        with pytest.raises(ValueError, match="cannot be saved"):
            fm.save_model(constant, tmp_path / "b.npz")

    HOSTILE: dict[str, Callable[[Any], Any]] = {  # noqa: RUF012 - never changed
        "later value": lambda c: c["steps"][0].update(inputs={"value": 2}),
        "own value": lambda c: c["steps"][1].update(inputs={"value": 3}),
        "negative value": lambda c: c["steps"][0].update(inputs={"value": -1}),
        "value a float": lambda c: c["steps"][0].update(inputs={"value": 0.0}),
        "value a bool": lambda c: c["steps"][0].update(inputs={"value": True}),
        "other part": lambda c: c["steps"][0].update(inputs={"__class__": 0}),
        "two parts": lambda c: c["steps"][0].update(inputs={"value": 0, "mask": 0}),
        "no value": lambda c: c["steps"][0].update(inputs={}),
        "constant": lambda c: c["steps"][0].update(inputs=3),
        "no inputs of a step": lambda c: c["steps"][0].update(inputs=[]),
        "layer too many": lambda c: c["steps"][0].update(layer=99),
        "layer a string": lambda c: c["steps"][0].update(layer="words"),
        "step without layer": lambda c: c["steps"][0].pop("layer"),
        "step with more": lambda c: c["steps"][0].update(code="1"),
        "step a list": lambda c: c["steps"].append([]),
        "steps a string": lambda c: c.update(steps="abc"),
        "no steps": lambda c: c.update(steps=[]),
        "options a list": lambda c: c["steps"][0].update(options=[]),
        "endless outputs": lambda c: c["steps"][0].update(outputs=10**12),
        "other numbers of outputs": lambda c: c["steps"][0].update(outputs=[3]),
        "outputs nested": lambda c: c["steps"][0].update(outputs=[[2]]),
        "no outputs of a step": lambda c: c["steps"][0].update(outputs=[]),
        "outputs missing": lambda c: c.pop("outputs"),
        "outputs nothing": lambda c: c.update(outputs=[]),
        "outputs too far": lambda c: c.update(outputs={"value": 100}),
        "outputs deep": lambda c: c.update(outputs=json.loads("[" * 900 + "]" * 900)),
        "inputs a number": lambda c: c.update(inputs=3),
        "input a list": lambda c: c.update(inputs=[[]]),
        "input shape a string": lambda c: c["inputs"][0].update(shape="abc"),
        "input shape long": lambda c: c["inputs"][0].update(shape=[1] * 1000),
        "input dtype code": lambda c: c["inputs"][0].update(dtype="O"),
        "input dtype unknown": lambda c: c["inputs"][0].update(dtype="no"),
        "input name a list": lambda c: c["inputs"][0].update(name=[1]),
        "layers missing": lambda c: c.pop("layers"),
        "layer without a step": lambda c: c["layers"].append(c["layers"][0]),
        "name a number": lambda c: c.update(name=3),
        "extra key": lambda c: c.update(more=3),
        "build shape of a model": lambda c: next(
            layer for layer in c["layers"] if layer["class"] == "Sequential"
        ).update(build_shape=[None, None, 4]),
    }

    def test_files_of_before_say_whether_a_layer_has_many_outputs(self, tmp_path: Path) -> None:
        path = tmp_path / "a.npz"
        model = two_by_two()
        fm.save_model(model, path)
        members = members_of(path)
        config = json.loads(members["config.npy"][128:])
        for step in config["model"]["config"]["steps"]:
            step["many"] = False
        members["config.npy"] = npy(np.frombuffer(json.dumps(config).encode(), np.uint8))
        write(path, members)
        for weight, loaded in zip(model.weights, fm.load_model(path).weights, strict=True):
            np.testing.assert_array_equal(weight, loaded)

    @pytest.mark.parametrize("edit", HOSTILE.values(), ids=HOSTILE)
    def test_hostile(self, edit: Callable[[Any], Any], tmp_path: Path) -> None:
        path = tmp_path / "a.npz"
        fm.save_model(two_by_two(), path)
        members = members_of(path)
        config = json.loads(members["config.npy"][128:])
        edit(config["model"]["config"])
        members["config.npy"] = npy(np.frombuffer(json.dumps(config).encode(), np.uint8))
        write(path, members)
        tracemalloc.start()
        try:
            with pytest.raises(ValueError, match=r"is not a model that can be read: .+"):
                fm.load_model(path)
            assert tracemalloc.get_traced_memory()[1] < 5e6
        finally:
            tracemalloc.stop()
