"""SQuAD's JSON, 1.1 and 2.0: {"data": [{"title", "paragraphs": [{"context", "qas": [{"id", "question", "answers"}]}]}]}

2.0 says of questions whether they are `is_impossible`; those have no answers (their `plausible_answers` are no
labels). The file is read at once: the published training files have 30 and 42 MB.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from minibert import reading
from minibert.checkpoint import strictjson
from minibert.config import require, shown


def records(path: Any, names: Mapping[str, str], needed: tuple[str, ...]) -> Iterator[tuple[str, dict[str, Any]]]:
    """(place, {"id", "title", "question", "context", "answers"}) of each question; a place is
    "data[0].paragraphs[2].qas[1]". `names` is not looked at: the format has its own.
    """
    top = strictjson.loads(reading.contents(path), str(path))
    for place, article in _items(top, "data", path, ""):
        for inner, paragraph in _items(article, "paragraphs", path, place):
            for where, asked in _items(paragraph, "qas", path, inner):
                row = {"id": asked.get("id"), "title": article.get("title"), "question": asked.get("question"),
                       "context": paragraph.get("context"), "answers": asked.get("answers")}  # fmt: skip
                yield where, _agreed({key: value for key, value in row.items() if value is not None},
                                     asked.get("is_impossible", False), f"{path}, {where}", needed)  # fmt: skip


def _items(holder: Any, key: str, path: Any, place: str) -> Iterator[tuple[str, dict]]:
    """(place, item) of a list of objects within an object."""
    where = f"{path}, {place}" if place else f"{path}"
    held = holder.get(key) if isinstance(holder, dict) else None
    require(isinstance(held, list), f'{where}: {shown(held)} for "{key}": expected SQuAD\'s list of objects')
    for i, item in enumerate(held):
        inner = f"{place}.{key}[{i}]".lstrip(".")
        require(isinstance(item, dict), f"{path}, {inner}: {shown(item)}: expected an object")
        yield inner, item


def _agreed(row: dict[str, Any], impossible: Any, where: str, needed: tuple[str, ...]) -> dict[str, Any]:
    """The row, whose answers are as many as `is_impossible` says: none, where it is true."""
    require(isinstance(impossible, bool), f"{where}: is_impossible {shown(impossible)}: expected true or false")
    if impossible and "answers" not in row:
        row["answers"] = []
    wrong = impossible and row["answers"] != []
    require(not wrong, f"{where}, column 'answers': {shown(row.get('answers'))}, and is_impossible is true")
    return row
