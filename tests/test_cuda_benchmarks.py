"""`python -m benchmarks.cuda` with stand-ins for everything that uses a device.

tests/cuda/test_benchmarks.py runs the real program in the simulator.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from dataclasses import asdict, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from benchmarks.cases import Case, make_problem, reference
from benchmarks.cuda import __main__ as program
from benchmarks.cuda import cases, expected, goals, outcomes, process, sanitizer, suite, timings
from benchmarks.cuda.process import Budget, Failed, Worker

TRIAL = cases.Trial(Case(2, 3, 4, 4, 0.5), False, ("fastmask", "cuDNN padded"))

STAND_IN = """
import json, os, sys, time
for line in sys.stdin:
    job = json.loads(line)
    what = job.get("contender", job["do"])
    if what == "hangs":
        time.sleep(60)
    if what == "crashes":
        print("Segmentation fault", file=sys.stderr, flush=True)
        os._exit(139)
    if what == "breaks":
        reply = {"error": "illegal address", "broken": True}
    elif what == "is wrong":
        reply = {"error": "AssertionError: off by 0.5", "broken": False}
    elif what == "describe":
        reply = {"ok": {"device": "Stand-in", "simulated": False, "absent": {"absent": "why"}}}
    elif what == "costs":
        reply = {"ok": ["launch, 1 argument"]}
    elif what == "cost":
        reply = {"ok": {"value": 4.0, "unit": "us"}}
    else:
        timing = dict.fromkeys(("median", "q25", "q75", "best"), 1e-3 * len(what))
        reply = {"ok": {**timing, "rounds": 5, "calls": 5, "error": 1e-6, "steps": os.getpid()}}
    print(json.dumps(reply), flush=True)
"""


@pytest.fixture
def stand_in(tmp_path: Path) -> tuple[str, ...]:
    """The command of a worker that needs no device."""
    file = tmp_path / "stand_in.py"
    file.write_text(STAND_IN)
    return sys.executable, str(file)


def measured(
    stand_in: tuple[str, ...], *contenders: str, seconds: float = 60.0, section: Any = None
) -> dict[str, Any]:
    """The timings section of one trial."""
    section = {} if section is None else section
    trial = cases.Trial(TRIAL.case, False, contenders)
    with Worker(command=stand_in) as worker:
        budget = Budget.of(seconds)
        timings.measure(worker, [trial], [], {"absent": ""}, 0.1, budget, section, lambda: None)
    return section


def test_who_fails_stops_nobody_else(
    stand_in: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timings, "JOB_SECONDS", {"hangs": 0.5})
    names = ("first", "hangs", "crashes", "breaks", "second", "is wrong", "absent", "third")
    (group,) = measured(stand_in, *names)["groups"]
    assert list(group["seconds"]) == list(group["errors"]) == ["first", "second", "third"]
    assert group["seconds"]["second"]["median"] == pytest.approx(6e-3)
    assert "took longer than 0 s" in group["failed"]["hangs"]
    assert group["failed"]["crashes"] == "its process ended with 139: Segmentation fault"
    assert group["failed"]["breaks"] == "illegal address"
    assert group["failed"]["is wrong"] == "AssertionError: off by 0.5"


def test_what_does_not_fit_is_named_and_can_be_resumed(stand_in: tuple[str, ...]) -> None:
    section = measured(stand_in, "one", "two", seconds=0.0)
    assert [name.rpartition(", ")[2] for name in section["left_out"]] == ["one", "two"]
    section = measured(stand_in, "one", section=section)
    first = section["groups"][0]["steps"]
    section = json.loads(json.dumps(measured(stand_in, "one", "two", section=section)))
    (group,) = section["groups"]
    assert set(group["seconds"]) == {"one", "two"}
    assert not section["left_out"]
    assert group["steps"] != first, "two alone was measured by the second process"


@pytest.fixture
def run(
    stand_in: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., tuple[int, Path]]:
    """The program with a stand-in for the worker."""
    monkeypatch.setattr(program, "Worker", lambda simulated: Worker(simulated, stand_in))
    monkeypatch.setattr(program.signal, "signal", lambda *_: None)
    monkeypatch.setattr(program.system, "queried", lambda: None)

    def call(out: Path | None, *arguments: str) -> int:
        given = ["--out", str(out)] if out else []
        return program.main([*given, "--seconds", "0.01", *arguments])

    return call


def test_json_page_and_pictures(
    run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    flashrnn = Case(16, 1024, 768, 768)
    trials = [
        cases.Trial(cases.square(64, 64), False, cases.FLOAT32),
        cases.Trial(cases.square(64, 128), False, cases.FLOAT32),
        cases.Trial(cases.square(64, 128), True, cases.FLOAT32),
        cases.Trial(cases.square(64, 64), True, cases.FLOAT32),
        cases.Trial(flashrnn, False, (cases.OURS_BF16, cases.FLASHRNN, "cuDNN padded fp16")),
    ]
    monkeypatch.setattr(program.cases, "trials", lambda: trials)
    out = tmp_path / "new" / "device.json"
    assert run(out, "--only", "timings") == 0
    report = json.loads(out.read_text())
    assert [len(group["seconds"]) for group in report["timings"]["groups"]] == [4, 4, 4, 4, 3]
    page = out.with_suffix(".md").read_text()
    assert "| LSTM, 64 x 256, H = 128 | 1 | right | 8.00 | 20.0 | 12.0 | 12.0 |" in page
    assert "| launch, one argument, us | 6 | estimate, of an array | 4.00 |" in page
    assert "FlashRNN, fused, bf16, ms | 4.87 | reported by FlashRNN's authors, H100 | 13.0" in page
    assert "- device: Stand-in" in page
    assert "| at least 1 times | 1.5 times | yes |" in page
    assert page.count("at least 1 times | 1.5 times") == 1
    assert "| at least 1 times | 1.5 times | yes |" in capsys.readouterr().out
    for name in ("forward", "training"):
        picture = out.with_name(f"device-{name}.svg")
        assert picture.exists() == (find_spec("matplotlib") is not None)
        assert (picture.name in page) == picture.exists()
    out.with_suffix(".md").unlink()
    assert run(out, "--only", "none") == 0
    assert out.with_suffix(".md").read_text() == page
    assert not list(out.parent.glob(".*"))
    assert run(out, "--only", "timings", "--resume") == 0
    assert json.loads(out.read_text())["timings"] == report["timings"]
    out.write_text(out.read_text().replace('"Stand-in"', '"Another"'))
    assert run(out, "--only", "timings", "--resume") == 2
    assert "is of another device, Another" in capsys.readouterr().err


def test_without_out_results_go_to_a_folder_that_git_ignores(
    run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(program.cases, "trials", lambda: [TRIAL])
    assert run(None, "--only", "timings") == 0
    out = Path("build", "benchmarks", "cuda.json")
    assert json.loads(out.read_text())["timings"]["groups"]
    assert capsys.readouterr().out.splitlines()[-1] == f"written to {out} and cuda.md"
    assert out.with_suffix(".md").exists()
    assert "/build/" in (process.ROOT / ".gitignore").read_text().splitlines()


@pytest.mark.parametrize(
    ("about", "caveat"),
    [("simulated", "Made in the simulator"), ("dry_run", "DRY RUN on a driver"), ("", "")],
)
def test_what_no_gpu_measured_is_said_on_the_screen_too(
    about: str,
    caveat: str,
    run: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(program.cases, "trials", lambda: [TRIAL])
    out = tmp_path / "device.json"
    assert run(out, "--only", "timings") == 0
    report = json.loads(out.read_text())
    report["about"][about] = True
    out.write_text(json.dumps(report))
    capsys.readouterr()
    assert run(out, "--only", "none") == 0
    for text in (capsys.readouterr().out, out.with_suffix(".md").read_text()):
        assert ("no figure" in text) == bool(caveat)
        assert caveat in text


def test_a_part_that_fails_is_recorded(
    run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise OSError("no room left")

    monkeypatch.setattr(program.suite, "run", fail)
    monkeypatch.setattr(program.sanitizer, "program", lambda: None)
    monkeypatch.setattr(program.cases, "trials", lambda: [TRIAL])
    out = tmp_path / "device.json"
    assert run(out) == 1
    report = json.loads(out.read_text())
    assert report["tests"]["error"] == "OSError: no room left"
    assert report["timings"]["groups"][0]["seconds"].keys() == set(TRIAL.contenders)
    page = out.with_suffix(".md").read_text()
    assert "OSError: no room left" in page
    assert "Not installed." in page


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--only", "tests,naps"],
            "--only takes compile, tests, timings, sanitizer or none, not naps",
        ),
        (["--minutes", "0"], "--minutes must be positive, not 0.0"),
        (["--out", "results"], "--out must end in .json, not results"),
    ],
)
def test_bad_arguments(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        program.parse(["--out", "x.json", *arguments])
    assert message in capsys.readouterr().err


def test_nothing_to_measure_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(_: Worker) -> None:
        raise Failed("there is no CUDA device")

    monkeypatch.setattr(program.timings, "describe", refuse)
    monkeypatch.setattr(program.signal, "signal", lambda *_: None)
    assert program.main(["--out", str(tmp_path / "x.json")]) == 2
    assert capsys.readouterr().err.splitlines() == [
        "benchmarks.cuda: nothing to measure with: there is no CUDA device"
    ]
    assert program.main(["--out", str(tmp_path / "x.json"), "--only", "none"]) == 2
    assert not list(tmp_path.iterdir())


SUITE = """
import os, pytest
def test_right(): pass
def test_wrong(): assert 1 + 1 == 3, "sums"
@pytest.mark.skip(reason="not here")
def test_skipped(): pass
def test_crash(): os._exit(7)
def test_after(): pass
"""


def test_tests_are_counted_up_to_a_crash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "test_some.py").write_text(SUITE)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    monkeypatch.setattr(suite, "TESTS", tmp_path)
    found = suite.run_file("test_some.py", False, Budget.of(60), tmp_path)
    assert found["ended"].startswith("exit code 7")
    assert [found[outcome] for outcome in ("passed", "failed", "skipped")] == [1, 1, 1]
    ((name, message),) = found["failures"].items()
    assert name.endswith("::test_wrong")
    assert message == "AssertionError: sums"
    assert [test.rpartition("::")[2] for test in found["unfinished"]] == ["test_crash"]
    late = suite.run_file("test_some.py", False, Budget.of(0), tmp_path / "none")
    assert late["ended"] == "not begun: no time left"


def test_files_of_the_suite_begin_with_the_fragment_layouts() -> None:
    if find_spec("numba_cuda") is None:
        pytest.skip("needs numba-cuda: pip install numba-cuda")
    found = suite.files(simulated=False)
    assert found[0] == "test_ptx.py"
    assert {"test_recurrent.py", "test_numba_arrays.py", "../test_torch_gpu.py"} <= set(found)
    assert all((suite.TESTS / name).exists() for name in found)
    assert not {"test_simulated.py", "test_compiled.py"} & set(found)


FAKE = """#!/bin/sh
case "$2" in
memcheck) echo "========= ERROR SUMMARY: 0 errors" ;;
racecheck) echo "========= RACECHECK SUMMARY: 2 hazards displayed (2 errors, 0 warnings)"; exit 9 ;;
synccheck) sleep 60 ;;
*) echo "Device not supported"; exit 1 ;;
esac
"""


@pytest.mark.skipif(os.name != "posix", reason="the stand-in is a shell script")
def test_sanitizer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = tmp_path / "compute-sanitizer"
    fake.write_text(FAKE)
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    assert sanitizer.program() == str(fake)

    def run(tool: str, seconds: float = 60.0) -> dict[str, Any]:
        return sanitizer.run_tool(str(fake), tool, False, Budget.of(seconds))

    assert (run("memcheck")["result"], run("memcheck")["clean"]) == ("0 errors", True)
    racecheck = run("racecheck")
    assert (racecheck["errors"], racecheck["clean"], len(racecheck["report"])) == (2, False, 1)
    assert run("synccheck", 0.2)["result"] == "ended when its time was up"
    assert run("initcheck")["result"] == "no summary, exit code 1: Device not supported"


@pytest.mark.parametrize("kind", ["right", "holes"])
def test_gradients_that_are_expected(kind: Any) -> None:
    """By finite differences of the expected output."""
    rng = np.random.default_rng(0)
    problem = make_problem(Case(3, 6, 4, 5, 0.5, kind))
    dout = expected.upstream_of(problem, [0, 2])
    found = expected.gradients(problem, dout)
    for name in ("x", "kernel", "recurrent_kernel", "bias"):
        direction = rng.standard_normal(getattr(problem, name).shape)
        sums = []
        for step in (1e-5, -1e-5):
            moved = getattr(problem, name) + step * direction
            sums.append(np.vdot(dout, reference(replace(problem, **{name: moved}))))
        slope = (sums[0] - sums[1]) / 2e-5
        assert np.vdot(found[f"d{name}"], direction) == pytest.approx(slope, rel=1e-6), name
        assert abs(slope) > 1e-3


def test_wrong_results_are_not_timed() -> None:
    problem = expected.cached_problem(Case(4, 5, 3, 6, 0.5))
    rows = expected.chosen_rows(problem)
    out = np.full((4, 5, 6), 0.5)
    out[rows] = expected.wanted_output(problem.case)
    assert expected.error(problem, False, {"out": out}) == 0
    out[0, 0, 0] += 0.1
    assert expected.error(problem, False, {"out": out}) == pytest.approx(0.1)
    out[:, 0, 0] = np.nan
    assert not expected.error(problem, False, {"out": out}) <= 1


def test_every_trial_is_there_once_and_goals_come_first() -> None:
    trials = cases.trials()
    jobs = [(t.case, t.training, name) for t in trials for name in t.contenders]
    assert len(jobs) == len(set(jobs))
    assert {t.case.units for t in trials} == set(cases.UNITS)
    names = {name for t in trials for name in t.contenders}
    assert names == set(program.page.CONTENDERS)
    ones = {name: {"median": 1.0} for name in names}
    first = [{**asdict(t.case), "training": t.training, "seconds": ones} for t in trials[:13]]
    assert all(goal.value == 1.0 for goal in goals.goals(first))


def test_the_last_line_of_a_failure() -> None:
    assert outcomes.last_line("def f():\nE  first\nE  second\nfile.py:1") == "first"
    assert outcomes.last_line("Killed\nfile.py:1: Error") == "file.py:1: Error"
    assert outcomes.last_line("") == ""
