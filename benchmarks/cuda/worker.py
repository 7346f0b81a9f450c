"""The process that uses the device: each line in is a job, each line out an answer.

    {"do": "describe"} | {"do": "costs"} | {"do": "cost", "name", "seconds"}
    {"do": "compile", "contender", "case", "training"}
    {"do": "time", "contender", "case", "training", "seconds"}

    {"ok": ...} | {"error": "...", "broken": whether the device is no longer usable}

After a kernel error a process can no longer use CUDA; it ends, and the next job gets a new one.
Libraries may print what they like: their standard output goes to the log.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import traceback
from typing import Any

from benchmarks.cases import Case
from benchmarks.cuda import system


def answer(job: dict[str, Any]) -> Any:
    """Do one job."""
    system.require_device()
    from benchmarks.cuda import contenders, costs

    if job["do"] == "describe":
        return {**system.describe(), "absent": contenders.absent()}
    if job["do"] == "costs":
        return costs.names()
    if job["do"] == "cost":
        return costs.cost(job["name"], job["seconds"])
    case = Case(**job["case"])
    if job["do"] == "compile":
        return contenders.compile_contender(job["contender"], case, job["training"])
    return contenders.time_contender(job["contender"], case, job["training"], job["seconds"])


def is_broken() -> bool:
    """Whether this process can no longer use the device."""
    if system.SIMULATED:
        return False
    try:
        from numba import cuda

        cuda.synchronize()
    except Exception:
        return True
    return False


def tidy() -> None:
    """Free the memory of a job."""
    gc.collect()
    if "torch" in sys.modules and system.torch_device() == "cuda":
        import torch

        torch.cuda.empty_cache()


def main() -> None:
    """Answer until there are no more jobs."""
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    if system.SIMULATED:
        system.enter_simulator()
    for line in sys.stdin:
        reply: dict[str, Any]
        try:
            reply = {"ok": answer(json.loads(line))}
        except system.Unusable as reason:
            reply = {"error": str(reason), "broken": True}
        except Exception as error:
            traceback.print_exc()
            reply = {"error": f"{type(error).__name__}: {error}", "broken": is_broken()}
        out.write(json.dumps(reply) + "\n")
        out.flush()
        if reply.get("broken"):
            os._exit(1)  # a broken context makes clean-up fail, too
        tidy()


if __name__ == "__main__":
    main()
