"""Which known mistake which shipped case catches: `reference/golden/FOLDER/kills.json`, by `minibert mistakes --write`.

    {"A04": {"published": [mutants made, the first key that shows the first of them that shows, [numbers of those that
    show nowhere]]}}, the last part absent where all show; cases that catch none of an entry's mutants are absent.
"""

from typing import Any, NamedTuple

from minibert import reading
from minibert.checkpoint import strictjson
from minibert.golden import case as files

FILE = "kills.json"


class Kill(NamedTuple):
    """What a case catches of an entry. made: its mutants here; key: the first key that shows the first of them that
    shows; missed: numbers of those that show nowhere, among all that the entry makes.
    """

    made: int
    key: str
    missed: tuple[int, ...] = ()


def folders() -> list[str]:
    """The folders of shipped cases: families, ops, tokenizer, masking."""
    return sorted({path.parent.name for path in files.shipped()})


def read(folder: str) -> dict[str, dict[str, Kill]]:
    """{entry: {case: Kill}} of a folder; empty where nothing was written yet."""
    path = files.folder() / folder / FILE
    if not reading.present(path):
        return {}
    held = strictjson.loads(reading.contents(path, files.MAX_JSON), str(path))
    return {id: {case: Kill(*row[:2], tuple(*row[2:])) for case, row in rows.items()} for id, rows in held.items()}


def of(case: Any) -> dict[str, Kill]:
    """{entry: Kill} of a shipped case; empty of any other."""
    folder, _, name = case.name.partition("/")
    if case.path != files.folder() / folder / name:
        return {}
    return {id: rows[name] for id, rows in read(folder).items() if name in rows}


def catching(id: str) -> dict[str, dict[str, Kill]]:
    """{folder: {case: Kill}} of the shipped cases that catch an entry."""
    return {folder: rows for folder in folders() if (rows := read(folder).get(id))}


def dumps(found: dict[str, dict[str, Kill]]) -> str:
    """As JSON, a line for each entry."""
    rows = {id: {case: [k.made, k.key, *([[*k.missed]] if k.missed else [])] for case, k in held.items()}
            for id, held in found.items()}  # fmt: skip
    return "{\n" + ",\n".join(f' "{id}": {strictjson.dumps(row).decode()}' for id, row in rows.items()) + "\n}\n"
