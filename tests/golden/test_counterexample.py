"""`minibert mistakes ID --show`: every mistake in eight lines, with a number that is right and one that is not."""

import os
from random import Random

import pytest

from minibert import cli
from minibert.mistakes import CATALOGUE, counterexample

EVERY = bool(os.environ.get("MINIBERT_EVERY_MUTANT"))  # else some
SHOWN = [m.id for m in CATALOGUE.values() if m.executable and m.shows != "nowhere"]
DRAWN = SHOWN if EVERY else ["A04", "T05", "D01", "O07", *Random(5).sample(SHOWN, 8)]


@pytest.mark.parametrize("id", DRAWN)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_mistake_is_told_in_eight_lines(id):
    lines = counterexample.lines(id)
    assert len(lines) <= 8
    assert max(map(len, lines)) <= 79
    told = {}
    for line in lines:
        name = line[:9].strip() or name  # noqa: F821 (of the line before)
        told[name] = f"{told.get(name, '')} {line[9:]}".strip()
    assert told["wrong"].startswith(f"{id}: ")
    if "law" in told:
        assert ": not as it should be: " in told["law"]
    else:
        assert told["due"] != told["got"]


def test_what_cannot_be_shown_says_so(capsys):
    assert cli.main(["mistakes", "a20", "--show"]) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[0].startswith("wrong    A20: ")
    assert out[-1] == "shown    it cannot be run here: no code makes it"
    assert cli.main(["mistakes", "--show"]) == 2
    assert capsys.readouterr().err == "minibert: error: --show takes an ID, as in `minibert mistakes A04 --show`\n"


def test_the_number_is_the_cases(capsys):
    """A04 in attention alone: the right one stands in the case's file."""
    assert cli.main(["mistakes", "A04", "--show"]) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[2] == "made     scaled by 1/√D: everywhere, in ops/attention"
    assert out[3] == "in       forward/output at [1, 0, 1, 3]"
    due = counterexample.files.read("ops/attention").tensor("forward/output")[1, 0, 1, 3]
    assert out[4] == f"due      {due:.6g}"
