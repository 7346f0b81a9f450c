"""`fastmask predict` by several processes on the real engines; one process is killed."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.folder_cases import assert_whole, make_folder, make_model

pytestmark = pytest.mark.optional
each_engine = pytest.mark.parametrize("engine", ["local", "ray", "dask"])
FILES, ROWS = 10, 1500


@pytest.fixture(autouse=True)
def _needs(request: pytest.FixtureRequest) -> None:
    engine = request.node.callspec.params["engine"]
    for package in ("pyarrow", *{"ray": ["ray"], "dask": ["distributed"]}.get(engine, [])):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{package} is not installed")
    if not Path("/proc/self/stat").exists():
        pytest.skip("processes are found in /proc")


def start(folder: Path, engine: str) -> subprocess.Popen[str]:
    given = [str(folder / "m.npz"), str(folder / "in"), "--output", str(folder / "out")]
    words = ["predict", *given, "--column", "ids", "--engine", engine, "--workers", "2"]
    return subprocess.Popen(
        [sys.executable, "-m", "fastmask", *words],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "FASTMASK_NUM_THREADS": "1"},
    )


def workers_of(process: int) -> list[int]:
    """The worker processes below a process, recognized by their command, which Ray changes."""
    parents: dict[int, int] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(path.parent.name)] = int(path.read_text().rpartition(")")[2].split()[1])
        except OSError:  # it has ended
            continue
    found = []
    for one in parents:
        above = one
        while above in parents and above != process:
            above = parents[above]
        try:
            command = Path(f"/proc/{one}/cmdline").read_bytes()
        except OSError:
            continue
        if above == process and (b"ray::compute" in command or b"spawn_main" in command):
            found.append(one)
    return found


def outputs(folder: Path) -> int:
    return len(list((folder / "out").rglob("*.parquet")))


def wait_for(condition: Any, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.01)


@each_engine
def test_a_worker_is_killed(engine: str, tmp_path: Path) -> None:
    model = make_model(tmp_path / "m.npz", 128)
    made = make_folder(tmp_path / "in", FILES, ROWS, 60)
    process = start(tmp_path, engine)
    try:
        wait_for(lambda: outputs(tmp_path) >= 1 and len(workers_of(process.pid)) >= 2, process)
        os.kill(workers_of(process.pid)[-1], signal.SIGKILL)
        assert outputs(tmp_path) < FILES
        _, told = process.communicate(timeout=150)
        written = f"fastmask: {FILES * ROWS:,} rows written to {tmp_path / 'out'}\n"
        assert (process.returncode, told) == (0, written)
    finally:
        process.kill()
    assert_whole(tmp_path / "in", tmp_path / "out", model, made)


@pytest.mark.parametrize("engine", ["dask"])  # the others do the same: it is the part's outcome
def test_a_bad_row(engine: str, tmp_path: Path) -> None:
    pq = importlib.import_module("pyarrow.parquet")
    make_model(tmp_path / "m.npz")
    make_folder(tmp_path / "in", 3, 30)
    path = tmp_path / "in" / "f2.parquet"
    table = pq.read_table(path)
    column = table["ids"].to_pylist()
    column[17] = [1, 5000]
    at = table.schema.get_field_index("ids")
    pq.write_table(table.set_column(at, "ids", [column]), path)
    process = start(tmp_path, engine)
    _, told = process.communicate(timeout=100)
    assert process.returncode == 2
    assert told.startswith(f"fastmask: {path}: ")
    assert "5000" in told
    assert not (tmp_path / "out" / "f2.parquet").exists()
