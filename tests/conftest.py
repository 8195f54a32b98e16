"""Tests run against this checkout, whatever is installed, on machines that are slow or busy, and on all their cores."""

import os
import sys
from pathlib import Path

import pytest

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # before NumPy: the cores are for the files

from hypothesis import HealthCheck, settings

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
settings.register_profile("no clock", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("no clock")


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> None:
    """Where pytest-xdist is there, files go over the cores; -n 0 keeps them in one process, as without it."""
    first = config.pluginmanager.hasplugin("xdist") and not hasattr(config, "workerinput")  # no worker has workers
    several = len(config.args) > 1 or Path(config.args[0]).is_dir()
    if first and several and config.option.numprocesses is None:
        config.option.numprocesses, config.option.dist = os.cpu_count(), "loadfile"
