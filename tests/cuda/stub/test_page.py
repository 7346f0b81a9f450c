"""The page's code for a kernel on a GPU: it is launched and timed, and nothing is computed."""

from __future__ import annotations

from typing import Any

import pytest

from ... import cuda_page
from . import logged


@pytest.mark.filterwarnings("ignore:Grid size")
def test_a_kernel_is_tested_and_timed(capsys: pytest.CaptureFixture[str]) -> None:
    names: dict[str, Any] = {}
    test, timing = cuda_page.kernel_tested_and_timed()
    exec(compile(test, str(cuda_page.PAGE), "exec"), names)
    with logged() as log, pytest.raises(AssertionError):
        names["test_row_sums"]()
    (launch,) = log.launches
    assert "row_sums" in launch.name
    assert (launch.grid, launch.block) == ((3, 1, 1), (32, 1, 1))
    with logged() as log:
        exec(compile(timing, str(cuda_page.PAGE), "exec"), names)
    assert len(log.launches) == 15 * 20
    assert 0 < float(capsys.readouterr().out) < 1
