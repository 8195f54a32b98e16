"""Pages of ops and heads: made of what stands in the files, with numbers that agree; the reading path."""

import re
from pathlib import Path

import pytest

from minibert import cli, learning
from minibert.analysis import op_page
from minibert.pairs import PAIRS

ROOT = Path(__file__).resolve().parents[2]
PATH = (ROOT / "reference" / "LEARNING.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", op_page.names())
def test_a_page_has_all_parts_and_numbers_that_agree(name):
    page = op_page.page(name)
    assert [line for line in page.splitlines() if line.startswith("#")] == [
        f"# {name}, forward and backward", "## The equation", "## Where the gradient comes from", "## In scalar loops",
        "## In the engine", "## In numbers"]  # fmt: skip
    blocks = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    for block in blocks:
        defined = re.findall(r"^def (\w+)", block, re.MULTILINE)
        assert defined in ([name, f"{name}_backward"], ["loss", "loss_backward"])
        assert '"""' not in block
        compile(block, name, "exec")
    rows = re.findall(r"^\| (.+) \| (\S+) \| (\S+) \|$", page, re.MULTILINE)
    assert len(rows) >= 2
    assert name not in PAIRS or len(rows) == 1 + len(PAIRS[name].arguments)
    for what, exact, ours in rows:
        assert float(ours) == pytest.approx(float(exact), rel=1e-10, abs=1e-14), what


def test_most_ops_have_one():
    assert len(PAIRS.keys() & op_page.names()) >= len(PAIRS) - 4
    assert {"classification", "crf", "mlm_head"} <= {*op_page.names()}


def test_docs_prints_it(capsys):
    assert cli.main(["docs", "softmax"]) == 0
    assert capsys.readouterr().out == op_page.page("softmax")
    assert cli.main(["docs"]) == 0
    assert f"both passes; so for {len(op_page.names()) - 1} others" in capsys.readouterr().out
    assert cli.main(["docs", "softmaxx"]) == 2
    assert "did you mean 'softmax'?" in capsys.readouterr().err


def test_the_path_leads_to_what_there_is():
    for page in re.findall(r"`minibert docs ([a-z_]+)`", PATH):
        assert page in op_page.names()
    for file in re.findall(r"`(?:python )?((?:examples|minibert)/\S+\.py)`", PATH):
        assert (ROOT / file).exists(), file
    written = re.findall(r"`(\w+)`", " ".join(row.split("|")[4] for row in PATH.splitlines() if row.startswith("| ")))
    assert {*written} - {"write"} == {*learning.names()}
