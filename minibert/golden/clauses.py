"""The clauses of the specification, as its pages state them."""

import re
from pathlib import Path
from typing import NamedTuple

from minibert import gradcheck, reading

ID = r"[A-Z][A-Z0-9]*(?:-[A-Z]+)?-\d+"
_CLAUSE = re.compile(rf"^- \*\*({ID})\*\* (.*(?:\n(?!- \*\*|#|```|\n(?!  )).*)*)", re.MULTILINE)


class Clause(NamedTuple):
    """A clause of the spec. page: its page, as `minibert docs` names it; text: as it stands there."""

    page: str
    text: str


def clauses() -> dict[str, Clause]:
    """Every clause by its id, in the order of the pages; none where the pages are not installed."""
    package, found = gradcheck.doubles(), {}
    pages = sorted((Path(package.__file__).parent / "spec").glob("*.md")) if package is not None else []
    for path in pages:
        found |= {id: Clause(f"spec/{path.stem}", text.rstrip()) for id, text in _CLAUSE.findall(reading.text(path))}
    return found


def named(text: str) -> list[str]:
    """The ids of clauses in a text, each once."""
    return list(dict.fromkeys(re.findall(rf"\b{ID}\b", text)))
