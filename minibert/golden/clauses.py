"""The clauses of the specification, as its pages state them."""

import re
from collections.abc import Iterable
from fnmatch import fnmatchcase
from pathlib import Path
from typing import NamedTuple

from minibert import gradcheck, reading

ID = r"[A-Z][A-Z0-9]*(?:-[A-Z]+)?-\d+"
_CASES = re.compile(r"^Cases: (.*)$", re.MULTILINE)
_CLAUSE = re.compile(rf"^- \*\*({ID})\*\* (.*(?:\n(?!- \*\*|#|```|\n(?!  )).*)*)", re.MULTILINE)


class Clause(NamedTuple):
    """A clause of the spec. page: its page, as `minibert docs` names it; section: the heading it stands under; text: as
    it stands there; about: the golden cases that its page, or its section, names in a line "Cases: `masking/*`, …".
    """

    page: str
    section: str
    text: str
    about: tuple[str, ...]


def clauses() -> dict[str, Clause]:
    """Every clause by its id, in the order of the pages; none where the pages are not installed."""
    package, found = gradcheck.doubles(), {}
    pages = sorted((Path(package.__file__).parent / "spec").glob("*.md")) if package is not None else []
    for path in pages:
        page = reading.text(path)
        top, *sections = re.split("^## ", page, flags=re.MULTILINE)
        for section in (top, *sections):
            heading = section.partition("\n")[0].strip()
            about = tuple(re.findall("`([^`]+)`", " ".join(_CASES.findall(top if section is top else top + section))))
            stated = _CLAUSE.findall(section)
            found |= {id: Clause(f"spec/{path.stem}", heading, text.rstrip(), about) for id, text in stated}
    return found


def cases(clause: Clause, shipped: Iterable[str]) -> list[str]:
    """The shipped golden cases that a clause is about: those of the ops that it stands under, of the family whose page
    it is on, and those that the page names.
    """
    ops = [f"ops/{name}{rest}" for name in re.findall(r"\w+", clause.section) for rest in ("", "-*")]
    names = (*ops, f"{clause.page.removeprefix('spec/')}/*", *clause.about)
    return sorted(case for case in shipped if any(fnmatchcase(case, name) for name in names))


def named(text: str) -> list[str]:
    """The ids of clauses in a text, each once."""
    return list(dict.fromkeys(re.findall(rf"\b{ID}\b", text)))
