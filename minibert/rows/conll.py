"""CoNLL columns: a token a line, its columns with tabs or spaces between them, a blank line between sentences.

The token is the first column and its tag the last, or those of the numbers that are given, from 1. Lines that begin
with -DOCSTART- mark documents and are passed over. A line that begins with # is a comment where it stands before a
sentence's first token and has not as many columns as a token's line, or an = behind its first word, as in
"# sent_id = 3": elsewhere # is a token. Tags stay as they are; which entities they say, `metrics.entities` tells.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from minibert.config import require, shown
from minibert.rows import tables
from minibert.streams import lines

LONGEST = 10_000  # tokens of a sentence


def records(path: Any, names: Mapping[str, str], needed: tuple[str, ...]) -> Iterator[tuple[str, dict[str, list]]]:
    """(line, {"tokens", "tags"}) of each sentence, without tags where none are needed and lines have one column."""
    source, width, begun, sentence = tables.named(path), 0, 0, []
    places = {name: _place(name, names[name]) for name in ("tokens", "tags")}
    for number, line in enumerate(lines(path), start=1):
        cells = _cells(line)
        if not cells or cells[0] == "-DOCSTART-":
            if sentence:
                yield f"line {begun}", _sentence(sentence, places, needed)
            sentence = []
            continue
        if not sentence and _comment(cells, width):
            continue
        where = f"{source}, line {number}"
        width = width or _width(cells, places, needed, where)
        require(len(cells) == width, f"{where} has {len(cells)} columns, and the first token's line {width}")
        require(all(cell.strip() for cell in cells), f"{where} has an empty column")
        begun = begun if sentence else number
        sentence.append(cells)
        require(len(sentence) <= LONGEST, f"{where}: the sentence that began in line {begun} has more than "
                f"{LONGEST:,} tokens: put a blank line between sentences")  # fmt: skip
    if sentence:
        yield f"line {begun}", _sentence(sentence, places, needed)


def _cells(line: str) -> list[str]:
    """Columns between tabs, which may hold spaces, or where there are none between spaces; none of a blank line."""
    line = line.strip(" \t")
    return line.split("\t") if "\t" in line else [cell for cell in line.split(" ") if cell]


def _comment(cells: list[str], width: int) -> bool:
    return cells[0].startswith("#") and (len(cells) != width or "=" in cells[1:3])


def _place(name: str, called: str) -> int:
    """The index of a column: the first and the last, or that of a number from 1."""
    if called == name:
        return 0 if name == "tokens" else -1
    fits = called.isdecimal() and 0 < int(called[:6]) < 1000
    require(fits, f"columns {name}={shown(called)}: a column of conll is a number, the first is 1")
    return int(called) - 1


def _width(cells: list[str], places: Mapping[str, int], needed: tuple[str, ...], where: str) -> int:
    """How many columns every line has, by the first."""
    due = max(max(places.values()) + 1, 2 if "tags" in needed else 1)
    require(len(cells) >= due, f"{where} has {len(cells)} column{'s' * (len(cells) > 1)}, expected at least {due}: "
            "a token first, its tag last")  # fmt: skip
    return len(cells)


def _sentence(sentence: list[list[str]], places: Mapping[str, int], needed: tuple[str, ...]) -> dict[str, list]:
    found = {"tokens": [cells[places["tokens"]] for cells in sentence]}
    if "tags" in needed or len(sentence[0]) > 1:
        found["tags"] = [cells[places["tags"]] for cells in sentence]
    return found
