"""Every example runs to its end, says something, and stays short."""

import os
import subprocess
import sys
from importlib.util import find_spec
from operator import attrgetter
from pathlib import Path

import pytest
from draws import NOT_DRAWN, some

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
NAME = attrgetter("name")
NEEDS = {"05": "hypothesis"}  # the package without which an example cannot run
LINES = {"08": 150}  # a whole model
# An example that trains, with fewer steps: what it does then not show; `.ci/run` runs it as it stands
FEWER = {"03": ("300", "20", "AssertionError: the loss has not fallen")}


def run(path: Path, *arguments: str) -> subprocess.CompletedProcess:
    paths = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**os.environ, "PYTHONPATH": paths, "PYTHONUTF8": "1"}
    command = [sys.executable, str(path), *arguments]
    return subprocess.run(command, env=environment, capture_output=True, encoding="utf-8", timeout=1000)


def test_they_are_numbered_from_one():
    assert [path.name[:3] for path in EXAMPLES] == [f"{n:02}_" for n in range(1, len(EXAMPLES) + 1)]
    assert len(EXAMPLES) >= 5


@NOT_DRAWN
@pytest.mark.parametrize("path", [path for path in EXAMPLES if path.name[:2] in FEWER], ids=NAME)
def test_it_runs_as_far_as_its_last_claim(path, tmp_path):
    many, few, claim = FEWER[path.name[:2]]
    source = path.read_text(encoding="utf-8")
    assert many in source
    (tmp_path / path.name).write_text(source.replace(many, few), encoding="utf-8", newline="\n")
    result = run(tmp_path / path.name)
    assert result.returncode == 1
    assert result.stderr.rstrip().endswith(claim), result.stderr
    assert "held out: " in result.stdout


@pytest.mark.parametrize("path", some([path for path in EXAMPLES if path.name[:2] not in FEWER], 3), ids=NAME)
def test_it_runs(path):
    """Exit code 0: its own assertions hold."""
    package = NEEDS.get(path.name[:2])
    if package and find_spec(package) is None:
        pytest.skip(f"{path.name} needs {package}: install minibert[test]")
    result = run(path)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "Traceback" not in result.stderr
    assert result.stdout.count("\n") >= 1
    assert result.stdout.startswith("skipped") or max(map(len, result.stdout.splitlines())) < 80
    if result.stdout.startswith("skipped"):
        assert result.stdout.count("\n") == 1
        pytest.skip(f"{path.name}: {result.stdout.strip()}")


@pytest.mark.parametrize("path", EXAMPLES, ids=NAME)
def test_it_is_short(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) < LINES.get(path.name[:2], 80)


def test_a_false_assertion_fails_the_example(tmp_path):
    """The runner sees it when an example's claim does not hold."""
    source = EXAMPLES[0].read_text(encoding="utf-8")
    planted = source.replace("r * (d - mean(dxhat) - a * slope)", "r * (d - mean(dxhat) + a * slope)")
    assert planted != source
    wrong = tmp_path / "wrong.py"
    wrong.write_text(planted, encoding="utf-8", newline="\n")
    assert run(wrong).returncode == 1
