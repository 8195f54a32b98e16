"""The scoreboard is what its claim files say, and each of them says what was compared with what."""

import importlib.util
import json
import re
from pathlib import Path

import pytest

from minibert.golden import case as cases
from minibert.golden import levels

ROOT = Path(__file__).resolve().parents[2]
spec = importlib.util.spec_from_file_location("scoreboard", ROOT / "tests" / "benchmarks" / "scoreboard.py")
scoreboard = importlib.util.module_from_spec(spec)
spec.loader.exec_module(scoreboard)
CLAIMS = sorted(scoreboard.FOLDER.glob("*.json"))


def test_the_page_is_that_of_its_claims():
    assert scoreboard.PAGE.read_text(encoding="utf-8") == scoreboard.markdown()
    assert {path.stem for path in CLAIMS} <= {row.name for row in scoreboard.ROWS}
    assert len({row.name for row in scoreboard.ROWS}) == len(scoreboard.ROWS)


@pytest.mark.parametrize("path", CLAIMS, ids=lambda path: path.stem)
def test_a_claim_is_of_a_case_as_it_is(path):
    """A case that has changed since is to be run again."""
    held = json.loads(path.read_text(encoding="utf-8"))
    claim = held["claim"]
    assert claim["case"]["sha256"] == levels.fingerprint(cases.read(claim["case"]["name"])), "run it again"
    assert re.fullmatch("[0-9a-f]{64}", claim["candidate"]["sha256"])
    assert (ROOT / "reference" / "adapters" / f"{held['adapter']}.py").exists()
    assert held["version"]


def test_what_has_no_claim_is_not_run():
    rows = [row for row in scoreboard.ROWS if not (scoreboard.FOLDER / f"{row.name}.json").exists()]
    lines = [scoreboard._line(row) for row in rows]
    assert all("**not run**" in line for line in lines)
    assert sum("CUDA" in line for line in lines) == 4
