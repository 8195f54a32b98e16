"""The pages in reference/: collected ones are what is collected, ids of clauses stay, links lead somewhere."""

import re
import shutil

import pytest
from pages import COLLECTED, REFERENCE, ROOT, ids, index, indexed, pages

PAGES = {path.stem: path.read_text(encoding="utf-8") for path in pages()}


@pytest.mark.parametrize("name", COLLECTED)
def test_a_collected_page_is_what_is_collected(name):
    assert (REFERENCE / name).read_text(encoding="utf-8") == COLLECTED[name](), "python tests/pages.py --write"


def test_a_clause_stands_once_and_the_index_has_it():
    stated = [id for text in PAGES.values() for id in ids(text)]
    assert len(stated) == len(set(stated)) >= 229
    assert indexed((REFERENCE / "SPEC.md").read_text(encoding="utf-8")) == stated


def test_a_clause_that_vanishes_is_refused(tmp_path):
    """The index that is there is the list of the ids that were given."""
    shutil.copytree(REFERENCE / "spec", tmp_path / "spec")
    shutil.copy(REFERENCE / "SPEC.md", tmp_path)
    page = tmp_path / "spec" / "roberta.md"
    page.write_text(PAGES["roberta"].replace("**ROB-POS-1**", "**ROB-POS-2**"), encoding="utf-8")
    with pytest.raises(SystemExit, match="lists ROB-POS-1, which no page states"):
        index(tmp_path)


def test_every_family_has_a_page_with_its_line():
    systems = (REFERENCE / "SYSTEMS.md").read_text(encoding="utf-8")
    families = {path.stem for path in (ROOT / "minibert" / "families").glob("[a-z]*.py")}
    assert families <= PAGES.keys()
    assert all(f"(spec/{name}.md) |" in systems for name in families)


@pytest.mark.parametrize(
    "path", [*ROOT.glob("*.md"), *REFERENCE.rglob("*.md")], ids=lambda path: path.relative_to(ROOT).as_posix()
)
def test_links_lead_somewhere(path):
    text = path.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#\s]+)(?:#[\w-]+)?\)", text):
        assert "://" in target or (path.parent / target).exists(), target
    for target, anchor in re.findall(r"\]\(([^)#\s]*)#([\w-]+)\)", text):
        other = (path.parent / target if target else path).read_text(encoding="utf-8")
        headings = re.findall(r"^#+ (.+)$", other, re.MULTILINE)
        assert anchor in {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}, anchor
