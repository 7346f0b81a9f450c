"""The command `fastmask`: demo, info, bench."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numba import njit

import fastmask as fm
from fastmask import cli
from fastmask.commands import demo as _demo
from fastmask.commands import naive as _naive
from fastmask.commands import system as _system
from fastmask.layers import LSTM, Dense, Masking


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "fastmask", *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=250,
    )


class TestDemo:
    @pytest.fixture
    def _short(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """As few rounds of measuring as possible."""
        monkeypatch.setattr(_demo, "_ROUNDS", 2)

    @pytest.mark.usefixtures("_short")
    def test_as_a_user_sees_it(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert cli.main(["demo"]) == 0
        shown = capsys.readouterr().out
        lines = shown.rstrip().splitlines()
        assert "370 utterances of 9 speakers,\n7 to 29 frames each" in shown
        assert "47.0 % of all steps are padding" in shown
        assert lines[3].startswith("  #######......................  speaker ")
        assert any(
            line.split() == "lstm (LSTM) (None, None, 64) 19,712 used, kept".split()
            for line in lines
        )
        assert "naive padded loop in NumPy" in shown
        assert lines[-1].startswith("fastmask names the speaker right 9")
        assert lines[-1].endswith("times as fast as the padded loop in NumPy.")
        assert max(map(len, lines)) <= 100

    @pytest.mark.usefixtures("_short")
    def test_result(self) -> None:
        result = _demo.run(lambda _line: None)
        assert result.utterances == 370
        assert (result.shortest, result.longest, result.speakers) == (7, 29, 9)
        assert 0.4 < result.skipped < 0.5
        assert result.accuracy >= 0.96
        assert result.difference < 1e-5
        assert not result.faults

    @pytest.mark.parametrize(
        ("change", "words"),
        [
            ({"accuracy": 0.9}, "the accuracy is 90.0%, below 96%"),
            ({"accuracy": float("nan")}, "the accuracy is nan"),
            ({"difference": 2e-5}, "the outputs differ from Keras's by 2.0e-05, not less than"),
            ({"difference": float("nan")}, "the outputs differ from Keras's by nan"),
        ],
    )
    def test_faults_are_told(
        self,
        change: dict[str, float],
        words: str,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        good = _demo.Result(370, 7, 29, 9, 0.45, [], [], 0.97, 40.0, 4.0, 1e-7)
        assert not good.faults
        monkeypatch.setattr(_demo, "run", lambda _say: good._replace(**change))  # type: ignore[arg-type]  # on purpose
        assert cli.main(["demo"]) == 1
        assert words in capsys.readouterr().err

    def test_damaged_data_are_told(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (tmp_path / "japanese_vowels_lstm.keras").write_bytes(b"nothing")
        monkeypatch.setattr(_demo, "_DATA", tmp_path)
        assert cli.main(["demo"]) == 1
        assert "japanese_vowels_lstm.keras is not" in capsys.readouterr().err

    @pytest.mark.usefixtures("_short")
    def test_compiling_is_told_where_it_happens(self) -> None:
        said: list[str] = []
        _demo.run(lambda _line: None)
        _demo.run(said.append)
        assert not said  # everything was compiled before

        with _demo._telling(lambda: said.append("compiling")):
            assert njit(lambda: 1)() + njit(lambda: 2)() == 3
        assert said == ["compiling"]

    def test_naive_loop_is_right(self) -> None:
        random = np.random.default_rng(0)
        mask = random.random((4, 6)) < 0.5
        x = np.where(mask[:, :, None], random.normal(size=(4, 6, 3)), 0).astype(np.float32)
        model = fm.Sequential(
            [Masking(), LSTM(5, return_sequences=True), LSTM(4), Dense(3, "softmax")]
        )
        expected = model(x)
        ours = _naive.classify(x, model.get_weights())
        np.testing.assert_allclose(ours, expected, atol=1e-5)


class TestInfo:
    def test_shows_everything(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert cli.main(["info"]) == 0
        shown = capsys.readouterr().out
        for name in ("fastmask", "python", "numpy", "numba", "llvmlite", "SIMD width"):
            assert name in shown
        for name in ("threads", "cache folder", "CUDA", "CUDA compiler"):
            assert name in shown
        assert fm.__version__ in shown
        assert np.__version__ in shown

    def test_without_a_driver(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def missing(_name: str) -> Any:
            raise OSError("no such library")

        monkeypatch.setattr(_system.ctypes, "CDLL", missing)
        assert _system.cuda_devices() == []
        assert dict(_system.describe())["CUDA"] == "no device seen"

    @pytest.mark.parametrize(
        ("reason", "shown"),
        [
            (None, "found, for fastmask compile"),
            ("needs ptxas: pip install it", "none, compiling needs ptxas: pip install it"),
        ],
    )
    def test_whether_kernels_for_cuda_can_be_compiled(
        self, reason: str | None, shown: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("fastmask_kernels.machine_code.missing", lambda *_: reason)
        assert dict(_system.describe())["CUDA compiler"] == shown

    def test_with_a_driver(self, monkeypatch: pytest.MonkeyPatch) -> None:
        class Driver:
            def cuInit(self, _flags: int) -> int:
                return 0

            def cuDeviceGetCount(self, count: Any) -> int:
                count._obj.value = 2
                return 0

            def cuDeviceGet(self, device: Any, number: int) -> int:
                device._obj.value = number
                return 0

            def cuDeviceGetName(self, name: Any, _size: int, device: Any) -> int:
                name.value = b"Fast Card"
                return int(device.value)  # the second one fails

        monkeypatch.setattr(_system.ctypes, "CDLL", lambda _name: Driver())
        assert _system.cuda_devices() == ["Fast Card", "device 1"]

    def test_driver_that_fails(self, monkeypatch: pytest.MonkeyPatch) -> None:
        class Driver:
            def cuInit(self, _flags: int) -> int:
                return 100

        monkeypatch.setattr(_system.ctypes, "CDLL", lambda _name: Driver())
        assert _system.cuda_devices() == []

    def test_unknown_package(self) -> None:
        assert _system._version("no-such-package-anywhere") == "not installed"


class TestBench:
    def test_runs_the_report_of_the_checkout(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        (tmp_path / "benchmarks").mkdir()
        (tmp_path / "benchmarks" / "report.py").write_text("")
        monkeypatch.setattr(cli, "__file__", str(tmp_path / "src" / "fastmask" / "cli.py"))
        seen: dict[str, Any] = {}

        def fake(command: list[str], cwd: Path, check: bool) -> Any:
            seen.update(command=command, cwd=cwd, check=check)
            return subprocess.CompletedProcess(command, 3)

        monkeypatch.setattr(subprocess, "run", fake)
        for option in ("--quick", "--help"):
            assert cli.main(["bench", option]) == 3
            assert seen["command"] == [sys.executable, "-m", "benchmarks.report", option]
        assert seen["cwd"] == tmp_path

    def test_outside_a_checkout(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setattr(cli, "__file__", str(tmp_path / "a" / "fastmask" / "cli.py"))
        monkeypatch.chdir(tmp_path)
        assert cli.main(["bench"]) == 1
        assert "the benchmarks are in the source checkout" in capsys.readouterr().err

    def test_installed_package_in_a_checkout(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (tmp_path / "benchmarks").mkdir()
        (tmp_path / "benchmarks" / "report.py").write_text("")
        (tmp_path / "pyproject.toml").write_text('[project]\nname = "fastmask-rnn"\n')
        monkeypatch.setattr(cli, "__file__", str(tmp_path / "a" / "b" / "fastmask" / "cli.py"))
        monkeypatch.chdir(tmp_path / "benchmarks")
        seen: list[Path] = []

        def fake(command: list[str], cwd: Path, check: bool) -> Any:
            assert not check
            seen.append(cwd)
            return subprocess.CompletedProcess(command, 0)

        monkeypatch.setattr(subprocess, "run", fake)
        assert cli.main(["bench"]) == 0
        assert seen == [tmp_path]
        (tmp_path / "pyproject.toml").write_text('[project]\nname = "another"\n')
        assert cli.main(["bench"]) == 1
        assert "the benchmarks are in the source checkout" in capsys.readouterr().err

    def test_help_needs_no_extra_and_docs_stay(self) -> None:
        program = (
            "import sys\n"
            "for name in 'torch onnx onnxruntime keras matplotlib threadpoolctl pytest'.split():\n"
            "    sys.modules[name] = None\n"
            "from benchmarks import report\n"
            "assert report.parse([]).out == report.OUT\n"
            "report.main(['--help'])\n"
        )
        checkout = Path(__file__).parents[1]
        done = subprocess.run(
            [sys.executable, "-c", program],
            capture_output=True,
            text=True,
            check=False,
            cwd=checkout,
            timeout=250,
        )
        assert done.returncode == 0, done.stderr
        assert "--out" in done.stdout
        ignored = (checkout / ".gitignore").read_text().split()
        assert "/build/" in ignored


class TestArguments:
    @pytest.mark.parametrize("arguments", [[], ["nonsense"], ["demo", "--what"], ["info", "x"]])
    def test_wrong_ones(self, arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(SystemExit) as caught:
            cli.main(arguments)
        assert caught.value.code == 2
        assert "usage: fastmask" in capsys.readouterr().err

    def test_version(self, capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(SystemExit) as caught:
            cli.main(["--version"])
        assert caught.value.code == 0
        assert capsys.readouterr().out == f"fastmask {fm.__version__}\n"

    def test_help(self) -> None:
        done = run("--help")
        assert done.returncode == 0
        assert "demo" in done.stdout

    def test_bad_environment_is_told(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("FASTMASK_NUM_THREADS", "many")
        done = run("info")
        assert done.returncode == 1
        assert done.stderr == (
            "fastmask: FASTMASK_NUM_THREADS must be a positive integer, not 'many'\n"
        )


@pytest.mark.parametrize("words", [["info"], ["--help"]])
@pytest.mark.parametrize("buffering", [-1, 1], ids=["a buffer", "a line"])
def test_a_reader_that_is_gone(
    words: list[str],
    buffering: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """As `head` is after a few lines."""
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w", buffering) as closed:
        monkeypatch.setattr(sys, "stdout", closed)
        with pytest.raises(SystemExit) as ended:
            cli.main(words)
    assert ended.value.code in ({141} if words == ["info"] else {0, 141}), "argparse may not mind"
    assert capsys.readouterr().err == ""
