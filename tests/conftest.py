"""Tests run against this checkout, whatever is installed, on machines that are slow or busy, and on all their cores."""

import os
import re
import sys
import time
from collections import Counter
from itertools import count
from pathlib import Path

import pytest

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # before NumPy: the cores are for the files

from hypothesis import HealthCheck, settings

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
settings.register_profile("no clock", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("no clock")
NUMBERS = count()


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> None:
    """Where pytest-xdist is there, tests go over the cores; -n 0 keeps them in one process, as without it."""
    first = config.pluginmanager.hasplugin("xdist") and not hasattr(config, "workerinput")  # no worker has workers
    several = len(config.args) > 1 or Path(config.args[0]).is_dir()
    if first and several and config.option.numprocesses is None:
        config.option.numprocesses, config.option.dist = os.cpu_count(), "worksteal"  # no core waits at the end


@pytest.fixture
def tmp_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new folder, whose name says nothing of the test: what is sought in an error line would stand in its path."""
    path = tmp_path_factory.getbasetemp() / f"t{next(NUMBERS)}"
    path.mkdir()
    return path


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a small text, and what may be handed in with it."""
    from texts import written

    return written(tmp_path_factory.mktemp("corpus"))


@pytest.fixture
def knowledge_folder(tmp_path: Path) -> Path:
    """A folder of OpenKE's files: three entities, a relation, a triple."""
    (folder := tmp_path / "knowledge").mkdir()
    files = {"entity2id.txt": "3\nword0\t0\nword1\t1\nword2\t2\n", "relation2id.txt": "1\nnear\t0\n",
             "train2id.txt": "1\n0 1 0\n"}  # fmt: skip
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
    return folder


# ---- Tests that were skipped -----------------------------------------------------------------------------------------
SKIPPED: dict[str, None] = {}


def pytest_collectreport(report: pytest.CollectReport) -> None:
    """Of a file that is skipped as a whole the name of the file."""
    if report.skipped:
        SKIPPED[report.nodeid] = None


def pytest_sessionfinish(session: pytest.Session) -> None:
    """The names of what was skipped, a line each, in the file that MINIBERT_SKIPPED names: `.ci/run` asks these again
    when what they need is there.
    """
    path = os.environ.get("MINIBERT_SKIPPED")
    if path and not hasattr(session.config, "workerinput"):
        Path(path).write_text("".join(f"{name}\n" for name in SKIPPED), encoding="utf-8")


# ---- Seconds of a family's tests -------------------------------------------------------------------------------------
FAMILIES = {path.stem for path in (Path(__file__).parents[1] / "minibert" / "families").glob("[a-z]*.py")}
SECONDS: Counter[str] = Counter()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None):
    """Notes the processor time of a test, fixtures included, before its last report leaves this process."""
    start = time.process_time()
    item.user_properties.append(("start", start))
    return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo):
    report = yield
    if call.when == "teardown":
        report.user_properties = [("seconds", time.process_time() - dict(item.user_properties)["start"])]
    return report


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Where several processes run the tests, this is called in the one that prints, too."""
    if report.skipped and not hasattr(report, "wasxfail"):
        SKIPPED[report.nodeid] = None
    words = set(re.split(r"\W+", report.nodeid.replace("test_", "")))
    for name in words & FAMILIES:
        SECONDS[name] += dict(report.user_properties).get("seconds", 0.0)


def pytest_terminal_summary(terminalreporter) -> None:
    if SECONDS:
        found = ", ".join(f"{name} {seconds:.1f}" for name, seconds in sorted(SECONDS.items()))
        terminalreporter.write_line(f"seconds of processor time of the tests that name a family (5 each): {found}")
