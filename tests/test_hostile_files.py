"""Damaged or hostile model files are refused."""

from __future__ import annotations

import json
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastmask as fm

from .saved_model import Members, header, members_of, npy, saved, with_config, write

X = np.random.default_rng(0).normal(size=(3, 5, 2)).astype(np.float32)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return saved(tmp_path)


def lstm(config: Any) -> Any:
    return config["model"]["config"]["layers"][1]


HOSTILE: dict[str, Callable[[Members], Any]] = {
    "no config": lambda m: m.pop("config.npy"),
    "weight missing": lambda m: m.pop("w4.npy"),
    "weight in the middle missing": lambda m: m.pop("w2.npy"),
    "weight too many": lambda m: m.update({"w5.npy": npy(np.zeros(3, np.float32))}),
    "strange member": lambda m: m.update({"../evil.npy": b""}),
    "pickle": lambda m: m.update({"w0.npy": npy(np.array([print], object), allow_pickle=True)}),
    "other shape": lambda m: m.update({"w2.npy": npy(np.zeros(11, np.float32))}),
    "transposed": lambda m: m.update({"w0.npy": npy(np.zeros((12, 2), np.float32))}),
    "fortran order": lambda m: m.update({"w0.npy": npy(np.zeros((2, 12), np.float32, "F"))}),
    "other dtype": lambda m: m.update({"w2.npy": npy(np.zeros(12, np.float64))}),
    "other byte order": lambda m: m.update({"w2.npy": npy(np.zeros(12, ">f4"))}),
    "structured dtype": lambda m: m.update({"w2.npy": npy(np.zeros(12, [("a", "<f4")]))}),
    "object dtype in the header": lambda m: m.update({"w2.npy": header("(12,)", "|O")}),
    "header without data": lambda m: m.update({"w2.npy": header("(12,)")}),
    "header of absurd size": lambda m: m.update({"w2.npy": header("(10**18,)")}),
    "negative size": lambda m: m.update({"w2.npy": header("(-12,)") + b"\0" * 48}),
    "code in the header": lambda m: m.update({"w2.npy": header("__import__('os').getcwd()")}),
    "deeply nested header": lambda m: m.update({"w2.npy": header("(" * 5000 + ")" * 5000)}),
    "data too long": lambda m: m.update({"w2.npy": m["w2.npy"] + b"\0"}),
    "data too short": lambda m: m.update({"w2.npy": m["w2.npy"][:-1]}),
    "empty member": lambda m: m.update({"w2.npy": b""}),
    "no npy": lambda m: m.update({"w2.npy": b"hello"}),
    "npy of another version": lambda m: m.update({"w2.npy": b"\x93NUMPY\x02\x00" + b"\0" * 99}),
    "config of floats": lambda m: m.update({"config.npy": npy(np.zeros(3))}),
    "config of two axes": lambda m: m.update({"config.npy": npy(np.zeros((3, 3), np.uint8))}),
    "config empty": with_config(lambda _: b""),
    "config garbage": with_config(lambda _: b"\xff\x00{"),
    "config cut": with_config(lambda c: json.dumps(c).encode()[:-2]),
    "config nested deeply": with_config(lambda _: b"[" * 100_000 + b"]" * 100_000),
    "config a list": with_config(lambda c: [c]),
    "config with a huge number": with_config(lambda _: b"1" * 10_000),
    "other format": with_config(lambda c: c.update(format="keras")),
    "other version": with_config(lambda c: c.update(version=2)),
    "no model": with_config(lambda c: c.pop("model") and None),
    "model a string": with_config(lambda c: c.update(model="LSTM")),
    "unknown class": with_config(lambda c: lstm(c).update({"class": "Lambda"})),
    "class is no name": with_config(lambda c: lstm(c).update({"class": ["LSTM"]})),
    "base class": with_config(lambda c: lstm(c).update({"class": "Layer"})),
    "dunder class": with_config(lambda c: lstm(c).update({"class": "__class__"})),
    "extra key": with_config(lambda c: lstm(c).update(code="1")),
    "missing key": with_config(lambda c: lstm(c).pop("build_shape") and None),
    "config of a layer a list": with_config(lambda c: lstm(c).update(config=[])),
    "unknown option": with_config(lambda c: lstm(c)["config"].update(evil=1)),
    "no units": with_config(lambda c: lstm(c)["config"].pop("units") and None),
    "other units": with_config(lambda c: lstm(c)["config"].update(units=4)),
    "absurd units": with_config(lambda c: lstm(c)["config"].update(units=10**9)),
    "overflowing units": with_config(lambda c: lstm(c)["config"].update(units=10**30)),
    "units a string": with_config(lambda c: lstm(c)["config"].update(units="3")),
    "units a float": with_config(lambda c: lstm(c)["config"].update(units=3.0)),
    "other activation": with_config(lambda c: lstm(c)["config"].update(activation="os.system")),
    "activation a list": with_config(lambda c: lstm(c)["config"].update(activation=[1])),
    "initializer": with_config(lambda c: lstm(c)["config"].update(kernel_initializer={"class": 3})),
    "name a number": with_config(lambda c: lstm(c)["config"].update(name=3)),
    "same names": with_config(lambda c: c["model"]["config"]["layers"].append(lstm(c))),
    "layers a string": with_config(lambda c: c["model"]["config"].update(layers="abc")),
    "layers a number": with_config(lambda c: c["model"]["config"].update(layers=7)),
    "layer not built": with_config(lambda c: lstm(c).update(build_shape=None)),
    "build shape too long": with_config(lambda c: lstm(c).update(build_shape=[1] * 1000)),
    "build shape a string": with_config(lambda c: lstm(c).update(build_shape="abc")),
    "build shape negative": with_config(lambda c: lstm(c).update(build_shape=[None, None, -2])),
    "build shape absurd": with_config(lambda c: lstm(c).update(build_shape=[None, None, 2**62])),
    "build shape nested": with_config(lambda c: lstm(c).update(build_shape=[[None, 2]])),
}


class TestRefusesHostileFiles:
    def refuse(self, path: Path, words: str = "") -> str:
        with pytest.raises(ValueError, match=r"is not a model that can be read: .+") as caught:
            fm.load_model(path)
        message = str(caught.value)
        assert str(path) in message
        assert words in message
        return message

    @pytest.mark.parametrize("edit", HOSTILE.values(), ids=HOSTILE)
    def test_edited(self, path: Path, edit: Callable[[Members], Any]) -> None:
        members = members_of(path)
        edit(members)
        write(path, members)
        self.refuse(path)

    @pytest.mark.parametrize(
        "name", ["absurd units", "build shape absurd", "header of absurd size", "other units"]
    )
    def test_sizes_are_checked_before_memory_is_taken(self, path: Path, name: str) -> None:
        members = members_of(path)
        HOSTILE[name](members)
        write(path, members)
        tracemalloc.start()
        try:
            self.refuse(path)
            assert tracemalloc.get_traced_memory()[1] < 5e6
        finally:
            tracemalloc.stop()

    def test_unedited_but_rewritten(self, path: Path) -> None:
        expected = fm.load_model(path)(X)
        write(path, members_of(path))
        np.testing.assert_array_equal(fm.load_model(path)(X), expected)

    def test_compressed(self, path: Path) -> None:
        write(path, members_of(path), zipfile.ZIP_DEFLATED)
        self.refuse(path, "compressed")

    def test_zip_bomb(self, path: Path) -> None:
        members = members_of(path)
        members["w0.npy"] = header("(2, 12)") + b"\0" * 50_000_000
        write(path, members, zipfile.ZIP_DEFLATED)
        assert path.stat().st_size < 100_000
        self.refuse(path, "compressed")

    @pytest.mark.filterwarnings("ignore:Duplicate name")
    def test_two_members_of_one_name(self, path: Path) -> None:
        with zipfile.ZipFile(path, "a") as archive:
            archive.writestr("w0.npy", npy(np.zeros((2, 12), np.float32)))
        self.refuse(path, "members")

    def test_claims_more_than_the_file_holds(self, path: Path) -> None:
        members = members_of(path)
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in members.items():
                archive.writestr(name, content)
            for info in archive.infolist():
                if info.filename == "w0.npy":
                    info.file_size = info.compress_size = 2**31
        self.refuse(path, "longer than the file")

    @pytest.mark.parametrize("content", [b"", b"PK", b"hello" * 100, b"PK\x05\x06" + b"\0" * 18])
    def test_not_a_zip(self, path: Path, content: bytes) -> None:
        path.write_bytes(content)
        self.refuse(path)

    def test_cut_anywhere(self, path: Path) -> None:
        content = path.read_bytes()
        for end in range(0, len(content), 23):
            path.write_bytes(content[:end])
            self.refuse(path)

    def test_flipped_bits(self, path: Path) -> None:
        """The file is refused, or the bit does not matter and the model is the same."""
        content = path.read_bytes()
        expected = fm.load_model(path)(X)
        random = np.random.default_rng(1)
        refused = 0
        positions = random.permutation(8 * len(content))[:1500]
        for position in positions:
            flipped = bytearray(content)
            flipped[position // 8] ^= 1 << position % 8
            path.write_bytes(flipped)
            try:
                model = fm.load_model(path)
            except ValueError:
                refused += 1
            else:
                np.testing.assert_array_equal(model(X), expected)
        assert refused > len(positions) / 2

    def test_ending_and_absence(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match=r"path must end in \.npz, .*not"):
            fm.load_model(tmp_path / "model.pkl")
        with pytest.raises(TypeError, match="path must be the name of a file, not None"):
            fm.load_model(None)  # type: ignore[arg-type]  # on purpose
        with pytest.raises(FileNotFoundError):
            fm.load_model(tmp_path / "model.npz")
