"""Your own CUDA kernel, in the style of fastmask's: simulated, compiled and launched.

    pip install -e ".[cuda,simulator]" nvidia-cuda-nvcc nvidia-cuda-nvdisasm
    python examples/own_cuda_kernel.py

It runs in the simulator, where it is compared with NumPy; it is compiled, which shows registers and
machine instructions; and it runs on a GPU, if there is one. To write another kernel, replace `ROW`,
`_mean`, `masked_mean` and `expected`.
"""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import numpy as np
from numba import cuda

from fastmask_kernels.cuda.runtime.checks import checked
from fastmask_kernels.cuda.runtime.kernel import family, int64, kernel, number, pointer, uint8
from fastmask_kernels.spec import Argument, Kernel

THREADS = 128  # in a block, a power of two; `runtime.kernel.THREADS` is smaller in the simulator

# Arguments of a call: equal letters mean equal sizes, "real" is float32 or float64.
ROW = Kernel(
    "masked_mean",
    "Mean over the valid steps of each row, 0 where there are none",
    (
        Argument("out", "real", ("B", "F"), output=True),
        Argument("x", "real", ("B", "T", "F")),
        Argument("valid", "bool", ("B", "T")),
    ),
)


@family("f4", "f8")  # those that `fastmask compile` compiles
def _mean(dtype: np.dtype[Any]) -> Any:
    """One block per row takes one feature after the other; its threads share the steps."""
    real, zero = number(dtype), dtype.type(0)  # a plain 0.0 would be a double

    @kernel(pointer(real), pointer(real), pointer(uint8), int64, int64, int64)
    def mean(out: Any, x: Any, valid: Any, rows: int, time: int, features: int) -> None:
        sums, counts = cuda.shared.array(THREADS, real), cuda.shared.array(THREADS, int64)
        thread, row = cuda.threadIdx.x, cuda.blockIdx.x
        while row < rows:
            for f in range(features):
                total, count = zero, 0
                t = thread
                while t < time:
                    if valid[row * time + t]:
                        total += x[(row * time + t) * features + f]
                        count += 1
                    t += THREADS
                sums[thread], counts[thread] = total, count
                half = THREADS // 2
                while half:
                    cuda.syncthreads()  # the simulator shows what happens without it
                    if thread < half:
                        sums[thread] += sums[thread + half]
                        counts[thread] += counts[thread + half]
                    half //= 2
                if thread == 0:
                    out[row * features + f] = sums[0] / real(max(counts[0], 1))
                cuda.syncthreads()  # the next feature's sums replace these
            row += cuda.gridDim.x

    return mean


def _masked_mean(out: Any, x: Any, valid: Any) -> None:
    """Arguments are already checked; they are addresses with shapes, from any array library."""
    rows, time, features = x.shape
    blocks = min(rows, 1024)
    _mean(x.dtype).launch(blocks, THREADS, out, x, valid, rows, time, features)


masked_mean = checked(_masked_mean, ROW)


def expected(x: Any, valid: Any) -> Any:
    """The same in NumPy, slow and obvious."""
    sums = np.where(valid[:, :, np.newaxis], x, 0).sum(axis=1)
    return sums / np.maximum(valid.sum(axis=1, keepdims=True), 1)


def check() -> None:
    """Compare the kernel with NumPy, in the simulator or on a GPU."""
    rng = np.random.default_rng(0)
    x, valid = rng.normal(size=(3, 70, 2)).astype("f4"), rng.random((3, 70)) < 0.5
    valid[1] = False
    out = cuda.to_device(np.full((3, 2), np.nan, "f4"))
    masked_mean(out, cuda.to_device(x), cuda.to_device(valid))
    np.testing.assert_allclose(out.copy_to_host(), expected(x, valid), atol=1e-6)


def main() -> None:
    """All three; Numba is a simulator or a compiler, so the simulator has a process of its own."""
    if sys.argv[1:] == ["check"]:
        check()
        return
    again = [sys.executable, __file__, "check"]
    subprocess.run(again, env={**os.environ, "NUMBA_ENABLE_CUDASIM": "1"}, check=True)
    print("in the simulator: as NumPy", flush=True)
    command = [sys.executable, "-m", "fastmask", "compile", f"{__file__}:_mean"]
    subprocess.run(command, check=False)  # it reports what is missing
    if cuda.is_available():
        check()
        print("on the GPU: as NumPy")
    else:
        print("not launched: there is no GPU")


if __name__ == "__main__":
    main()
