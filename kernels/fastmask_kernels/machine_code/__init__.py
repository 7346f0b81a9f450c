"""What CUDA kernels compile to, without a driver or a GPU.

    from fastmask_kernels.machine_code import compile_report

    report = compile_report(kernel, arch="sm_90a")     # a cuda.runtime.kernel.Kernel
    report = compile_report(function, (pointer(float32), int32), "sm_90a", launch_bounds=(256, 1))
    report.registers, report.spills, report.shared    # a thread, bytes a thread, bytes a block
    report.ptx, report.sass                           # texts
    report.count("HMMA", "FFMA")                      # machine instructions that begin with these
    report.loops(), report.step                       # machine instructions of each loop

It needs numba-cuda with NVVM, and programs of the CUDA toolkit, see `missing`. `launches` records
what a kernel of the table launches, `occupancy` says how many blocks a multiprocessor holds, and
`own` finds the kernels in a user's file.
"""

from ..names import dir_of
from .refusals import explained
from .report import ARCHITECTURES, Report, compile_report
from .tools import missing, require_architecture

__all__ = [
    "ARCHITECTURES",
    "Report",
    "compile_report",
    "explained",
    "missing",
    "require_architecture",
]

__dir__ = dir_of(__name__, "launches", "occupancy", "own")
