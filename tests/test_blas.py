"""OpenBLAS is told of AMD's processors with 512-bit units, before NumPy is imported, and of nothing else."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from minibert import blas

ZEN5 = "processor\t: 0\nvendor_id\t: AuthenticAMD\nflags\t\t: fpu avx2 avx512f avx512dq avx512cd avx512bw avx512vl\n\n"
SAYS = "import os, minibert, numpy; print(os.environ.get('OPENBLAS_CORETYPE')); print(numpy.ones(3) @ numpy.ones(3))"


@pytest.mark.parametrize(
    ("cpuinfo", "told"),
    [
        (ZEN5, "SkylakeX"),
        (ZEN5.replace("AuthenticAMD", "GenuineIntel"), None),
        (ZEN5.replace(" avx512vl", ""), None),
        (ZEN5.replace("AuthenticAMD", ""), None),
        ("", None),
        ("Processor : ARMv8\n", None),
        (ZEN5.replace("AMD", "") + ZEN5, None),  # the first processor decides
    ],
)
def test_who_is_told(cpuinfo, told):
    assert blas.coretype(cpuinfo) == told


@pytest.mark.parametrize("given", [None, "Haswell"])
def test_the_environment_is_left_alone(given):
    environment = {name: value for name, value in os.environ.items() if name != blas.CORETYPE}
    environment |= {} if given is None else {blas.CORETYPE: given}
    root = Path(__file__).resolve().parent.parent
    done = subprocess.run([sys.executable, "-c", SAYS], env=environment, cwd=root, capture_output=True, text=True)
    assert done.stdout.split() == [str(given), "3.0"], done.stderr


def test_numpy_there_already_is_left_alone(monkeypatch):
    monkeypatch.setattr(blas.Path, "open", lambda *a, **k: pytest.fail("too late to look"))
    monkeypatch.delenv(blas.CORETYPE, raising=False)
    blas.choose()
    assert blas.CORETYPE not in os.environ
