"""Which of OpenBLAS's kernels NumPy's wheels use: chosen before NumPy is imported, or not at all.

OpenBLAS looks at the processor when it is loaded, and takes AMD's that it does not know for Haswell, which leaves their
512-bit units idle (OpenBLAS 0.3.31 on Zen 5, two cores, float32: 270 GFLOP/s; told that it is SkylakeX: 490). It is told
by the environment variable OPENBLAS_CORETYPE; where that is set already it stays, and other libraries ignore it.
"""

import os
import sys
from pathlib import Path

CORETYPE = "OPENBLAS_CORETYPE"
NEEDED = {"avx512f", "avx512cd", "avx512bw", "avx512dq", "avx512vl"}  # what its SkylakeX kernels are made of


def coretype(cpuinfo: str) -> str | None:
    """What OpenBLAS is to be told of the first processor in Linux's /proc/cpuinfo; None: nothing."""
    fields = (line.partition(":") for line in cpuinfo.partition("\n\n")[0].splitlines())
    known = {name.strip(): value.split() for name, _, value in fields}
    amd = known.get("vendor_id") == ["AuthenticAMD"]
    return "SkylakeX" if amd and set(known.get("flags", ())) >= NEEDED else None


def choose() -> None:
    """Imports NumPy, telling its OpenBLAS of a processor that it may not know; too late once NumPy is there.

    The environment is left as it was: a process started from here decides for itself.
    """
    if "numpy" in sys.modules or CORETYPE in os.environ:
        return
    try:
        with Path("/proc/cpuinfo").open(encoding="ascii", errors="replace") as file:
            chosen = coretype(file.read(8192))
    except OSError:  # no Linux
        return
    if chosen:
        os.environ[CORETYPE] = chosen
        import numpy  # noqa: F401 (this loads OpenBLAS)

        del os.environ[CORETYPE]
