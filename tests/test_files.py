"""How model files are opened and replaced: kinds of files, modes, links, names, killed writers."""

from __future__ import annotations

import os
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastmask as fm
from fastmask.loaders import _reading, _writing

posix = pytest.mark.skipif(os.name != "posix", reason="of POSIX's files")


def model(units: int = 2) -> fm.Sequential:
    made = fm.Sequential([fm.layers.Dense(units, "relu")])
    made.build((None, 3))
    return made


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "model.npz"


@pytest.fixture(params=[True, False], ids=["nameless", "named"])
def folder(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Files are written without a name at first, if the system can do that, or with one."""
    if not request.param:

        def cannot(*_: Any) -> int:
            raise _writing._NoName

        monkeypatch.setattr(_writing, "_open_nameless", cannot)
    return


class TestOnlyRegularFiles:
    def refused(self, path: Path, kind: str) -> None:
        for call in (lambda: fm.load_model(path), lambda: fm.save_model(model(), path)):
            with pytest.raises(ValueError, match=f"path must be a regular file, but .* is {kind}"):
                call()

    @posix
    def test_pipe(self, path: Path) -> None:
        os.mkfifo(path)
        self.refused(path, "a pipe")

    def test_folder(self, path: Path) -> None:
        path.mkdir()
        self.refused(path, "a folder")

    @posix
    def test_socket(self) -> None:
        with tempfile.TemporaryDirectory() as short, socket.socket(socket.AF_UNIX) as one:
            one.bind(f"{short}/a.npz")
            self.refused(Path(short, "a.npz"), "a socket")

    @posix
    @pytest.mark.parametrize("device", ["/dev/zero", "/dev/null"])
    def test_links_to_devices(self, path: Path, device: str) -> None:
        path.symlink_to(device)
        self.refused(path, "a device")
        assert stat.S_ISCHR(os.stat(device).st_mode)

    @posix
    def test_a_pipe_that_comes_between(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """It appears between the check and the opening."""
        os.mkfifo(path)
        regular, looked = Path(__file__).stat(), []

        def late(status: os.stat_result, name: Path) -> None:
            looked.append(status)
            check(regular if len(looked) == 1 else status, name)

        check = _reading.check_regular
        monkeypatch.setattr(_reading, "check_regular", late)
        with pytest.raises(ValueError, match="is a pipe"):
            fm.load_model(path)
        assert len(looked) == 2

    @posix
    def test_a_file_that_is_mostly_holes(self, path: Path) -> None:
        fm.save_model(model(), path)
        content = path.read_bytes()
        with open(path, "wb") as file:
            file.seek(2**40)
            file.write(content)
        with np.errstate(all="raise"):
            loaded = fm.load_model(path)  # a zip may come after something else
        assert loaded.get_config()["layers"] == fm.load_model(path).get_config()["layers"]
        with open(path, "r+b") as file:
            file.seek(-10, os.SEEK_END)
            file.write(b"\xff" * 8)  # the directory's size and place
        with pytest.raises(ValueError, match="is not a model that can be read"):
            fm.load_model(path)


class TestModes:
    @posix
    @pytest.mark.parametrize("mode", [0o640, 0o600, 0o664, 0o444])
    def test_stays(self, path: Path, mode: int, folder: None) -> None:  # noqa: ARG002 - a fixture
        fm.save_model(model(), path)
        path.chmod(mode)
        fm.save_model(model(5), path)
        assert stat.S_IMODE(path.stat().st_mode) == mode
        assert fm.load_model(path).count_params() == 20

    @posix
    @pytest.mark.parametrize("umask", [0o022, 0o077, 0o002])
    def test_a_new_file_has_that_of_the_umask(
        self,
        path: Path,
        umask: int,
        folder: None,  # noqa: ARG002 - a fixture
    ) -> None:
        before = os.umask(umask)
        try:
            fm.save_model(model(), path)
        finally:
            os.umask(before)
        assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~umask

    @posix
    def test_is_not_wider_while_it_is_written(
        self,
        path: Path,
        monkeypatch: pytest.MonkeyPatch,
        folder: None,  # noqa: ARG002 - a fixture
    ) -> None:
        fm.save_model(model(), path)
        path.chmod(0o600)
        savez, seen = np.savez, []

        def looks(file: Any, **arrays: Any) -> None:
            seen.append(stat.S_IMODE(os.fstat(file.fileno()).st_mode))
            savez(file, **arrays)

        monkeypatch.setattr(np, "savez", looks)
        fm.save_model(model(), path)
        assert seen == [0o600]


@posix
class TestLinks:
    def test_written_through(self, path: Path, tmp_path: Path) -> None:
        (tmp_path / "sub").mkdir()
        target = tmp_path / "sub" / "v1.bin"
        fm.save_model(model(), path)
        path.rename(target)
        middle = tmp_path / "sub" / "latest"
        middle.symlink_to("v1.bin")
        path.symlink_to("sub/latest")
        fm.save_model(model(5), path)
        assert path.is_symlink()
        assert middle.is_symlink()
        assert not target.is_symlink()
        assert fm.load_model(path).count_params() == 20
        assert sorted(os.listdir(tmp_path / "sub")) == ["latest", "v1.bin"]

    def test_to_nothing_yet(self, path: Path, tmp_path: Path) -> None:
        path.symlink_to("new.bin")
        fm.save_model(model(), path)
        assert path.is_symlink()
        assert (tmp_path / "new.bin").is_file()

    def test_in_a_circle(self, path: Path) -> None:
        path.symlink_to(path)
        for call in (lambda: fm.load_model(path), lambda: fm.save_model(model(), path)):
            with pytest.raises(OSError, match="symbolic links"):
                call()
        assert path.is_symlink()


class TestNames:
    def test_as_long_as_the_system_takes(self, tmp_path: Path, folder: None) -> None:  # noqa: ARG002 - a fixture
        for stem in ("a" * 251, "é" * 125 + "a"):
            path = tmp_path / f"{stem}.npz"
            assert len(os.fsencode(path.name)) == 255
            for _ in range(2):
                fm.save_model(model(), path)
            assert fm.load_model(path).count_params() == 8
            path.unlink()
        with pytest.raises(OSError, match="too long"):
            fm.save_model(model(), tmp_path / f"{'a' * 252}.npz")
        assert os.listdir(tmp_path) == []

    def test_a_missing_folder_is_named(self, tmp_path: Path) -> None:
        folder = tmp_path / "runs" / "today"
        with pytest.raises(FileNotFoundError) as caught:
            fm.save_model(model(), folder / "a.npz")
        assert caught.value.filename == str(folder)
        (tmp_path / "runs").write_text("")
        with pytest.raises(OSError, match="runs") as caught:
            fm.save_model(model(), tmp_path / "runs" / "a.npz")
        assert caught.value.filename == str(tmp_path / "runs")

    def test_other_errors_name_the_file(
        self,
        path: Path,
        monkeypatch: pytest.MonkeyPatch,
        folder: None,  # noqa: ARG002 - a fixture
    ) -> None:
        def full(descriptor: int) -> None:
            raise OSError(28, "No space left on device", f"{descriptor}.tmp")

        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space left") as caught:
            fm.save_model(model(), path)
        assert caught.value.filename == str(path)
        assert os.listdir(path.parent) == []


CHILD = """
import os, signal, sys
import numpy as np, fastmask as fm
from fastmask.loaders import _writing
if {named}:
    def cannot(*_): raise _writing._NoName
    _writing._open_nameless = cannot
def die(*_): os.kill(os.getpid(), signal.SIGKILL)
if {where} == "written":
    def half(file, **_):
        file.write(b"half"); file.flush(); die()
    np.savez = half
else:
    os.replace = die
model = fm.Sequential([fm.layers.Dense(7)]); model.build((None, 3))
fm.save_model(model, sys.argv[1])
"""


@posix
class TestKilled:
    @pytest.mark.parametrize("named", [False, True])
    @pytest.mark.parametrize("where", ["written", "replaced"])
    def test_old_file_whole_and_nothing_left_behind(
        self, path: Path, named: bool, where: str
    ) -> None:
        fm.save_model(model(), path)
        before = path.read_bytes()
        code = CHILD.format(named=named, where=repr(where))
        run = subprocess.run([sys.executable, "-c", code, str(path)], check=False)
        assert run.returncode == -signal.SIGKILL
        assert path.read_bytes() == before
        left = len(os.listdir(path.parent)) - 1
        assert left <= 1
        if sys.platform == "linux" and not named and where == "written":
            assert left == 0
        fm.save_model(model(5), path.with_name("other.npz"))
        assert sorted(os.listdir(path.parent)) == ["model.npz", "other.npz"]

    def test_what_others_are_writing_stays(self, path: Path, folder: None) -> None:  # noqa: ARG002 - a fixture
        """Many threads save to one folder, each removing what it takes for leftovers."""
        failures = []

        def save(number: int) -> None:
            for _ in range(20):
                try:
                    fm.save_model(model(number + 1), path.with_name(f"{number % 2}.npz"))
                except Exception as error:
                    failures.append(error)

        threads = [threading.Thread(target=save, args=(n,)) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failures == []
        assert sorted(os.listdir(path.parent)) == ["0.npz", "1.npz"]
        for number in range(2):
            assert fm.load_model(path.with_name(f"{number}.npz")).built

    def test_files_of_others_stay(self, path: Path) -> None:
        names = (".fastmask-notes", "a.tmp", ".fastmask.tmp")
        for name in names:
            path.with_name(name).write_text("mine")
        path.with_name(".fastmask-link.tmp").symlink_to("a.tmp")
        fm.save_model(model(), path)
        assert {*names, "model.npz"} < set(os.listdir(path.parent))
