"""Rows of the standard library's docstrings, which every Python ships: nothing has to be installed or fetched.

    classify    text: the prose of a docstring              label: the module, or package, that it stands in
    summarize   source: the prose behind its first line     target: that line, a sentence

Classes are the MODULES with the most docstrings; another Python has some others. A docstring that stands in several
modules is left out, one that stands several times in one comes once. HELD_OUT of them are "dev", by the hash of the
text alone, the others "train". `minibert pretrain` without a corpus has read the texts of both, though no label.
"""

import sysconfig
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from minibert import corpus, parallel
from minibert.config import one_of, require

MODULES = 16
HELD_OUT = 0.2
LEAST = 8  # words of what is summarized

Row = dict[str, str]


def rows(task: str, stdlib: Path | None = None) -> dict[str, list[Row]]:
    """{"train": rows, "dev": rows}, the same of one Python each time, in the order of its files; stdlib: the folder.

    InputError: another task, a folder without sources.
    """
    made = TASKS[one_of("task", task, TASKS)]
    root = Path(stdlib or sysconfig.get_path("stdlib"))
    found = [(path.relative_to(root).parts[0].removesuffix(".py"), texts) for path, texts in corpus.docstrings(root)]
    require(bool(found), f"no Python sources with docstrings in {root}: give a file of rows")
    parts: dict[str, list[Row]] = {"train": [], "dev": []}
    for row in made(found):
        parts["dev" if parallel.apart(next(iter(row.values())), HELD_OUT) else "train"].append(row)
    return parts


def _classified(found: list[tuple[str, list[str]]]) -> Iterator[Row]:
    homes: dict[str, set[str]] = {}
    for module, texts in found:
        for text in texts:
            homes.setdefault(" ".join(corpus.prose(text)), set()).add(module)
    homes.pop("", None)
    counts = Counter(next(iter(modules)) for modules in homes.values() if len(modules) == 1)
    classes = {module for module, _ in sorted(counts.items(), key=lambda held: (-held[1], held[0]))[:MODULES]}
    for text, modules in homes.items():
        if len(modules) == 1 and modules <= classes:
            yield {"text": text, "label": next(iter(modules))}


def _summarized(found: list[tuple[str, list[str]]]) -> Iterator[Row]:
    seen: set[str] = set()
    for _, texts in found:
        for text in texts:
            first, _, rest = text.partition("\n\n")
            source = " ".join(corpus.prose(rest))
            if first.endswith(".") and "\n" not in first and len(source.split()) >= LEAST and source not in seen:
                seen.add(source)
                yield {"source": source, "target": first}


TASKS = {"classify": _classified, "summarize": _summarized}
