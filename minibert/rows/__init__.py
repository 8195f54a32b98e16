"""Rows of a task's data, from the files that people have: one file, one format; `tasks` says what a row holds.

    tsv csv     a table with a header (`tables`)                            .tsv .tab .csv
    jsonl       one JSON object a line (`tables`)                           .jsonl .ndjson .json
    conll       a token and its tag a line, a blank line between sentences  .conll .conllu .iob .bio .txt, of tag
    squad       SQuAD's JSON, 1.1 and 2.0                                   .json, of answer
    numpy       pictures (`pictures`), the file's labels beside them         .npy .npz, of a model of pictures
    glue-cola … the nine tasks of GLUE as they are published (`glue`)

`docstrings` makes rows of the standard library, with nothing to read. Readers never write and run nothing; whatever
they cannot use is one line that names the file, the line (in SQuAD's JSON the place) and the column.
"""

import os
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from minibert.config import nearest, one_of, require, shown
from minibert.errors import InputError
from minibert.rows import conll, glue, pictures, squad, tables, tasks
from minibert.streams import INPUT

Place = str | os.PathLike
Row = dict[str, Any]
Reader = Callable[[Any, Mapping[str, str], tuple[str, ...]], Iterator[tuple[str, Row]]]

FORMATS: dict[str, Reader] = {
    "tsv": tables.tsv, "csv": tables.csv, "jsonl": tables.jsonl, "conll": conll.records, "squad": squad.records,
    "numpy": pictures.records,
    **{name: data.records for name, data in glue.DATA.items()},
}  # fmt: skip
SUFFIXES = {
    ".tsv": "tsv", ".tab": "tsv", ".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "jsonl",
    ".conll": "conll", ".conllu": "conll", ".iob": "conll", ".bio": "conll", ".npy": "numpy", ".npz": "numpy",
}  # fmt: skip
PICTURES = tuple(name for name, columns in tasks.TASKS.items() if "picture" in columns)
OWN = {("answer", ".json"): "squad", ("tag", ".txt"): "conll"}  # what a suffix means to one task


def read(
    path: Place | None, task: str, columns: Mapping[str, str] | None = None, *, form: str | None = None,
    labelled: bool = True,
) -> Iterator[Row]:  # fmt: skip
    """The rows of a file, or of standard input for None (JSON lines, unless `form` says otherwise), one by one, with
    the columns of `tasks.TASKS[task]` and the file's others under their own names.

    columns: what the file calls a column ({"text": "sentence"}; of conll, the number of a column: {"tags": "4"}; of
    choices, several with commas between them). form: of FORMATS, where the file's name does not say it. labelled:
    whether what a row is labelled with must be there. InputError: no rows, or any that is not usable.
    """
    return (row for _, row in placed(path, task, columns, form=form, labelled=labelled))


def placed(
    path: Place | None, task: str, columns: Mapping[str, str] | None = None, *, form: str | None = None,
    labelled: bool = True,
) -> Iterator[tuple[str, Row]]:  # fmt: skip
    """(where, row), as `read`; where: "train.tsv, line 7", the beginning of an error that comes up later."""
    known = tasks.TASKS[one_of("task", task, tasks.TASKS)]
    names = {name: name for name in known}
    for name, called in dict(columns or {}).items():
        require(name in known, f"columns {shown(name)}={shown(called)}: {task} has the columns {', '.join(known)}"
                f"{nearest(name, known)}")  # fmt: skip
        require(isinstance(called, str) and bool(called), f"columns {name}={shown(called)}: expected a column's name")
        names[name] = called
    needed = tuple(name for name, column in known.items() if column.must(labelled))
    source = INPUT if path is None else path
    where = None
    form = form_of(path, task, form)
    for where, record in FORMATS[form](path, names, needed):
        try:
            row = tasks.row(task, record, needed)
        except tasks.Unfit as error:
            called = shown(names.get(error.column, error.column))
            raise InputError(f"{source}, {where}, column {called}: {error}") from None
        for name in () if path is None or form == "numpy" else tasks.FILES.keys() & known.keys():
            row[name] = os.path.join(os.path.dirname(path), row[name])
        yield f"{source}, {where}", row
    require(where is not None, f"{source} has no rows")


def halves(placed: Sequence[tuple[str, Row]]) -> tuple[list[tuple[str, Row]], list[tuple[str, Row]]]:
    """The rows in two halves, drawn alike each time, so that nothing follows from how they are sorted; InputError for
    fewer than two.
    """
    require(len(placed) > 1, "there is one row: half of the rows say something, the other half are asked")
    drawn = random.Random(0).sample(placed, len(placed))
    return drawn[0::2], drawn[1::2]


def measures(form: str | None) -> tuple[str, ...]:
    """The measures, most important first, that the published task of a format is judged by; () of other formats."""
    return glue.DATA[form].measures if form in glue.DATA else ()


def form_of(path: Place | None, task: str, form: str | None = None) -> str:
    """The format of a file of a task, by the end of its name unless it is said. InputError where neither tells it."""
    if form is None and path is not None:
        suffix = Path(path).suffix.lower()
        form = OWN.get((task, suffix)) or SUFFIXES.get(suffix)
        require(form is not None, f"{path}: its name does not say its format; there are: {', '.join(FORMATS)}")
    form = one_of("format", form or "jsonl", FORMATS)
    if form in glue.DATA:
        theirs = glue.DATA[form].task
        require(task == theirs, f"{form} is for {theirs}, not for {task}")
    own = {"conll": ("tag",), "squad": ("answer",), "numpy": PICTURES}.get(form, (task,))
    require(task in own, f"{form} is for {' and '.join(own)}, not for {task}: give a table or JSON lines")
    require(path is not None or form not in ("squad", "numpy"), f"{INPUT}: {form} is read from a file")
    return form
