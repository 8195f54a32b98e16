"""Tables with a header, and JSON lines: one record a row, whatever the task.

A table is UTF-8, with or without a byte order mark; its lines end with LF or CRLF. Lines that are blank are passed
over; every other row has as many columns as the header.

CSV is RFC 4180: a field in double quotes may hold commas, line breaks and, doubled, quotes; it has at most 131,072
characters. In TSV a tab always separates and a line end always ends a row; a field that is wholly in quotes, with
none inside but doubled ones, is what stands within them, as spreadsheets write it: any other quote is a character.
"""

import csv as standard
import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from typing import Any

from minibert.checkpoint import strictjson
from minibert.config import nearest, require, shown
from minibert.errors import InputError
from minibert.streams import INPUT, lines

Record = dict[str, Any]
Cells = Iterator[tuple[int, list[str]]]  # (number of the row's first line, its cells)
_QUOTED = re.compile(r'"((?:[^"]|"")*)"', re.DOTALL)


def tsv(path: Any, names: Mapping[str, str], needed: tuple[str, ...]) -> Iterator[tuple[str, Record]]:
    """(line, record) of a table with tabs. names: what the file calls a column; needed: those that must be there."""
    rows = ((number, [_unquoted(cell) for cell in cells]) for number, cells in split(path))
    return records(path, rows, names, needed)


def csv(path: Any, names: Mapping[str, str], needed: tuple[str, ...]) -> Iterator[tuple[str, Record]]:
    """(line, record) of a table with commas."""
    return records(path, _commas(path), names, needed)


def jsonl(path: Any, names: Mapping[str, str], needed: tuple[str, ...]) -> Iterator[tuple[str, Record]]:
    """(line, record) of JSON lines."""
    for number, line in enumerate(lines(path), start=1):
        if line.strip():
            where = f"{named(path)}, line {number}"
            held = strictjson.loads(line.encode(), where)
            require(isinstance(held, dict), f"{where}: {shown(held)}: expected one JSON object a line")
            yield f"line {number}", _renamed(held, names)


def split(path: Any) -> Cells:
    """The cells of the lines that are not blank, as they stand between tabs."""
    for number, line in enumerate(lines(path), start=1):
        where = f"{named(path)}, line {number}"
        require("\r" not in line, f"{where} has a carriage return inside: end lines with LF or CRLF")
        if line.strip():
            yield number, line.split("\t")


def records(
    path: Any, rows: Iterable[tuple[int, list[str]]], names: Mapping[str, str], needed: tuple[str, ...]
) -> Iterator[tuple[str, Record]]:
    """(line, record) of the rows behind the first, which is the header."""
    rows = iter(rows)
    number, header = next(rows, (1, []))
    where = f"{named(path)}, line {number}"
    require(bool(header), f"{named(path)} is empty: expected a header, {', '.join(names.values())}")
    twice = [name for name in header if name and header.count(name) > 1][:1]
    require(not twice, f"{where}: two columns are called {shown((twice or [''])[0])}")
    for name in needed:
        for called in _called(name, names[name]):
            _require_column(called, header, where)
    for number, cells in rows:
        fits = len(cells) == len(header)
        require(fits, f"{named(path)}, line {number} has {len(cells)} columns, and the header {len(header)}")
        yield f"line {number}", _renamed(dict(zip(header, cells, strict=True)), names)


def _require_column(called: str, header: list[str], where: str) -> None:
    if called not in header:
        alone = "; tabs separate the columns of .tsv, commas those of .csv" if len(header) == 1 else ""
        raise InputError(f"{where}: the header has no column {shown(called)}, it has: {shown(header)}"
                         f"{nearest(called, header)}{alone}")  # fmt: skip


def _renamed(held: Record, names: Mapping[str, str]) -> Record:
    """The record with the task's names where they are others; what the file calls by one of these is left out then."""
    theirs = {name: _called(name, called) for name, called in names.items()}
    taken = {"", *names, *chain.from_iterable(theirs.values())}
    found = {name: value for name, value in held.items() if name not in taken}
    for name, several in theirs.items():
        if all(one in held for one in several):
            found[name] = held[several[0]] if len(several) == 1 else [held[one] for one in several]
    return found


def _called(name: str, called: str) -> list[str]:
    """The columns that make one of a task: choices may stand in several."""
    return called.split(",") if name == "choices" else [called]


def _unquoted(cell: str) -> str:
    match = _QUOTED.fullmatch(cell) if cell.startswith('"') else None
    return match[1].replace('""', '"') if match else cell


def _commas(path: Any) -> Cells:
    reader = standard.reader((line + "\n" for line in lines(path)), strict=True)
    while True:
        number = reader.line_num + 1
        try:
            cells = next(reader, None)
        except standard.Error as error:
            raise InputError(f"{named(path)}, line {number}: a row of CSV begins there, and {_said(error)}") from None
        if cells is None:
            return
        if any(cell.strip() for cell in cells):
            yield number, cells


def _said(error: Exception) -> str:
    """What the reader of the standard library found, in words that say what to do."""
    said = str(error)
    for part, meant in (("unexpected end", "its quote is not closed"), ("field limit", "its quote is not closed, or a "
                         "field has more than 131,072 characters"), ("expected after", "behind a closing quote stands "
                         "something else than a comma: double the quotes inside a field"),
                        ("new-line", "there is a carriage return inside: end lines with LF or CRLF")):  # fmt: skip
        if part in said:
            return meant
    return said


def named(path: Any) -> Any:
    """What an error calls a file, or standard input."""
    return INPUT if path is None else path
