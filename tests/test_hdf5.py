"""HDF5 files: what Keras writes is read; links, other files' data and wrong sizes are refused."""

from __future__ import annotations

import contextlib
import io
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from fastmask.loaders.hdf5 import Hdf5

pytestmark = pytest.mark.optional


@pytest.fixture(autouse=True)
def h5py() -> Any:
    return pytest.importorskip("h5py", reason="h5py is not installed")


def written(fill: Callable[[Any], object]) -> bytes:
    import h5py

    stream = io.BytesIO()
    with h5py.File(stream, "w") as file:
        fill(file)
    return stream.getvalue()


def read(content: bytes, use: Callable[[Hdf5], Any]) -> Any:
    return use(Hdf5(io.BytesIO(content), len(content)))


def refused(content: bytes, use: Callable[[Hdf5], Any], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        read(content, use)


class TestWhatIsRead:
    def test_arrays(self) -> None:
        rng = np.random.default_rng(4)
        values = {
            "a/b/0": rng.random((3, 2)).astype(np.float32),
            "a/b/1": rng.integers(-9, 9, (4,)).astype(np.int8),
            "a/half": rng.random(5).astype(np.float16),
            "scalar": np.float64(2.5),
            "nothing": np.zeros((0, 3), np.float32),
            "big": rng.random((2, 2)).astype(">f8"),
        }
        content = written(lambda file: [file.create_dataset(k, data=v) for k, v in values.items()])

        def use(file: Hdf5) -> None:
            assert file.members("") == ["a", "big", "nothing", "scalar"]
            assert file.members("a/b") == ["0", "1"]
            assert file.members("missing") == []
            assert "a/b" in file
            assert "a/c" not in file
            assert "a/b/0/c" not in file
            assert file.is_array("a/b/0")
            assert not file.is_array("a/b")
            for path, value in values.items():
                assert file.info(path) == (value.shape, value.dtype)
                np.testing.assert_array_equal(file.array(path), value)
            into = np.empty((3, 2))  # of another dtype
            assert file.array("a/b/0", into) is into
            np.testing.assert_array_equal(into, values["a/b/0"])

        read(content, use)

    def test_many_members(self) -> None:
        def fill(file: Any) -> None:
            for i in range(300):
                file[f"layers/dense_{i}/vars/0"] = float(i)

        def use(file: Hdf5) -> None:
            assert file.members("layers") == sorted(f"dense_{i}" for i in range(300))
            assert [file.array(f"layers/dense_{i}/vars/0") for i in range(300)] == list(range(300))

        read(written(fill), use)

    def test_a_part_of_a_file(self) -> None:
        content = written(lambda file: file.create_dataset("x", data=[1.0, 2.0]))
        around = io.BytesIO(b"PK" * 7 + content + bytes(99))
        assert list(Hdf5(around, len(content), 14).array("x")) == [1, 2]

    def test_texts(self) -> None:
        def fill(file: Any) -> None:
            file.attrs["text"] = "ü" * 70_000
            file.attrs["bytes"] = np.bytes_("old")
            file.attrs["list"] = ["a", "ö"]
            file.attrs["fixed"] = np.array([b"one", b"three"])
            file.attrs["empty"] = []
            file.attrs["parts0"], file.attrs["parts1"] = [b"a", b"b"], [b"c"]

        def use(file: Hdf5) -> None:
            assert file.text("", "text") == "ü" * 70_000
            assert file.text("", "bytes") == "old"
            assert file.text("", "missing") is file.texts("", "missing") is None
            assert file.text("nowhere", "missing") is None
            assert file.texts("", "list") == ["a", "ö"]
            assert file.texts("", "fixed") == ["one", "three"]
            assert file.texts("", "empty") == []
            assert file.texts("", "parts") == ["a", "b", "c"]

        read(written(fill), use)


class TestWhatIsRefused:
    def array(self, create: Callable[[Any], object], match: str) -> None:
        refused(written(create), lambda file: file.array("x"), f"^'x' .*{match}")

    def test_links(self, h5py: Any) -> None:
        for link in (h5py.SoftLink("/y"), h5py.ExternalLink("other.h5", "/y")):

            def fill(file: Any, link: Any = link) -> None:
                file["y"] = [1.0]
                file["x"] = link

            content = written(fill)
            for use in (Hdf5.info, Hdf5.array, Hdf5.members, Hdf5.is_array, Hdf5.__contains__):
                refused(content, lambda file, use=use: use(file, "x"), "'x' is a link")
            refused(content, lambda file: "x/z" in file, "'x' is a link")

    def test_data_elsewhere(self, h5py: Any) -> None:
        self.array(
            lambda file: file.create_dataset("x", (9,), "f4", external=[("/etc/passwd", 0, 36)]),
            "data in another file",
        )
        layout = h5py.VirtualLayout((9,), "f4")
        layout[:] = h5py.VirtualSource("other.h5", "y", (9,))
        self.array(lambda file: file.create_virtual_dataset("x", layout), "put together")

    def test_filters(self) -> None:
        for options in ({"compression": "gzip"}, {"shuffle": True}, {"compression": "lzf"}):
            self.array(
                lambda file, options=options: file.create_dataset(
                    "x", data=np.zeros(99, "f4"), chunks=(9,), **options
                ),
                "compressed or filtered",
            )

    def test_no_numbers(self, h5py: Any) -> None:
        for value, dtype in (
            (["text"], h5py.string_dtype()),
            (np.array([(1, 2.0)], "i4,f4"), None),
            (np.array([b"ab"]), None),
            (np.array([1j]), None),
        ):
            self.array(
                lambda file, value=value, dtype=dtype: file.create_dataset("x", None, dtype, value),
                "must hold numbers",
            )
        self.array(lambda file: file.create_dataset("x", data=h5py.Empty("f4")), "have a shape")
        refused(written(lambda f: f.create_group("x")), lambda f: f.info("x"), "no array 'x'")

    def test_sizes(self) -> None:
        for size in (2**30, 2**50):
            self.array(
                lambda file, size=size: file.create_dataset("x", (size,), "f4"), "not in the file"
            )
        self.array(
            lambda file: file.create_dataset("x", (2**40,), "f4", chunks=(2**10,)), "in pieces"
        )

        def linked(file: Any) -> None:  # ten names for one array
            file["x0"] = np.zeros(1000)
            for i in range(1, 10):
                file[f"x{i}"] = file["x0"]

        def all_of_them(file: Hdf5) -> None:
            assert file.array("x0").sum() == file.array("x0").sum() == 0  # is read twice
            for i in range(10):
                file.array(f"x{i}")

        refused(written(linked), all_of_them, "claim to be longer than it is")

    def test_a_cut_file(self) -> None:
        content = written(lambda file: file.create_dataset("x", data=np.arange(4000.0)))
        refused(content[:-9000], lambda file: file.array("x"), "truncated")

    def test_attributes(self) -> None:
        def fill(file: Any) -> None:
            file.attrs["number"] = 3
            file.attrs["numbers"] = np.zeros(2**12, "u1")
            file.attrs["two"] = ["a", "b"]
            file.attrs["latin"] = np.bytes_(b"\xff")

        content = written(fill)
        for name in ("number", "numbers"):
            refused(content, lambda f, n=name: f.texts("", n), f"'{name}', must be text, or a list")
        refused(content, lambda file: file.text("", "two"), "must be one text")
        refused(content, lambda file: file.text("", "latin"), "attribute 'latin', .*utf-8")

    def test_newer_forms(self, h5py: Any) -> None:
        stream = io.BytesIO()
        with h5py.File(stream, "w", libver="latest") as file:
            file["x"] = [1.0]
        refused(stream.getvalue(), lambda _: None, "libver='latest', which is not supported")

    def test_another_shape(self) -> None:
        content = written(lambda file: file.create_dataset("x", data=np.zeros((2, 3))))
        refused(content, lambda file: file.array("x", np.empty((3, 2))), r"shape \(3, 2\), not")

    def test_other_files(self) -> None:
        for content in (b"", b"PK\3\4" * 99, bytes(4096)):
            refused(content, lambda _: None, "is not an HDF5 file|is a zip file")


def test_damaged_files_are_value_errors() -> None:
    def fill(file: Any) -> None:
        file["layers/dense/vars/0"] = np.ones((3, 2), "f4")
        file["layers/dense/vars/1"] = np.ones(2, "f4")
        file["layers"].attrs["names"] = ["dense", "lstm"]

    def all_of_it(file: Hdf5, path: str = "", depth: int = 0) -> None:
        file.texts(path, "names")
        if file.is_array(path):
            file.array(path)
        for name in file.members(path) if depth < 9 else ():
            all_of_it(file, f"{path}/{name}".lstrip("/"), depth + 1)

    content, dice = written(fill), random.Random(5)
    for _ in range(300):
        damaged = bytearray(content)
        for _ in range(dice.randrange(1, 5)):
            damaged[dice.randrange(len(damaged))] = dice.choice((0, 1, 255, dice.randrange(256)))
        with contextlib.suppress(ValueError):
            read(bytes(damaged), all_of_it)
