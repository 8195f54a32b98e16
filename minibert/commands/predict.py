"""`minibert predict`: what a model with a task's head says of rows."""

import argparse
import json
from collections.abc import Iterator
from typing import Any

from minibert import commands, rows, streams, tasks, uses
from minibert.checkpoint import strictjson
from minibert.commands.finetune import assignments
from minibert.config import require, shown, whole
from minibert.errors import InputError, printable
from minibert.options import ending
from minibert.rows import tasks as columns_of

TOGETHER = 16  # rows
GIVEN = "given"  # what a row has under a name of the answer's
Row = dict[str, Any]


def parser(commands: Any) -> None:
    """Adds the command to the command line."""
    about = "say what a fine-tuned model makes of rows"
    more = ("Rows are those of `finetune`, labels may be missing; of classes and tags a line may also be a text, of a "
            "model of pictures or sound the name of a file.")  # fmt: skip
    examples = ending(
        "predict runs/classify reviews.tsv", "predict runs/tagger --json < sentences.txt",
        "predict runs/classify < texts.txt",
    )  # fmt: skip
    command = commands.add_parser("predict", help=about, description=f"{about.capitalize()}. {more}", epilog=examples)
    command.set_defaults(run=_predict)
    command.add_argument("directory", metavar="DIR", help="a published directory, or one that a run has made")
    given = "rows; default: lines of standard input, texts or JSON"
    command.add_argument("file", nargs="?", metavar="FILE", help=given)
    called = "what the file calls a column, such as text=sentence"
    command.add_argument("--columns", nargs="+", default=[], metavar="COLUMN=NAME", help=called)
    forms = f"of the file: {', '.join(rows.FORMATS)}; default: as its name ends"
    command.add_argument("--format", choices=[*rows.FORMATS], metavar="NAME", help=forms)
    command.add_argument("--json", action="store_true", help="one JSON object a row: its own fields, then what is said")
    together = f"read and answered together; default {TOGETHER}, of a pipe or the keyboard 1"
    which = "of a model with the heads of several tasks, the one that is asked"
    command.add_argument("--task", metavar="TASK", help=which)
    command.add_argument("--batch-size", type=int, metavar="ROWS", help=together)
    command.add_argument("--seq-length", type=int, metavar="TOKENS", help="read at most so many of a row; default 512")


def _predict(args: argparse.Namespace) -> None:
    size = TOGETHER if args.file or streams.stored() else 1
    size = size if args.batch_size is None else whole("--batch-size", args.batch_size, 1)
    most = 512 if args.seq_length is None else whole("--seq-length", args.seq_length, 8)
    with commands.opened(args.directory) as model:
        model = _chosen(args, model)
        (task,) = model.uses
        read: list[Row] = []

        def kept() -> Iterator[tuple[str, Row]]:
            for where, row in _rows(args, tasks.rows_of(task.name, model.module)):
                read.append(row)
                yield where, row

        for said in uses.answered(model, task, kept(), most, size):
            row = read.pop(0)
            print(json.dumps(joined(row, said), allow_nan=False) if args.json else printable(_line(said)), flush=True)


def _chosen(args: argparse.Namespace, model: Any) -> Any:
    """The model with the head of one task."""
    made = f"minibert finetune TASK {args.directory} makes one"
    require(bool(model.uses), f"{args.directory} has no head of a task, and one is needed: {made}")
    known = ", ".join(model.tasks)
    name = args.task if args.task is not None or len(model.uses) > 1 else model.tasks[0]
    require(name is not None, f"{args.directory} has heads of {known}: say which by --task")
    require(name in model.tasks, f"--task {shown(name)}: {args.directory} has a head of {known}")
    return uses.alone(model, name)


def joined(row: Row, said: Row) -> Row:
    """The row's own fields, then what is said of it; those of the row whose names that has (its label) stand within
    GIVEN, behind.
    """
    taken = {name: value for name, value in row.items() if name in said}
    own = {name: value for name, value in row.items() if name not in said}
    if taken and GIVEN in own:
        taken[GIVEN] = own.pop(GIVEN)
    return {**own, **said, **({GIVEN: taken} if taken else {})}


def _rows(args: argparse.Namespace, task: str) -> Iterator[tuple[str, Row]]:
    if args.file is not None or args.format is not None or args.columns:
        plain = f"{args.file}: texts, a line each, are given on standard input: minibert predict DIR < FILE"
        require(args.format is not None or not str(args.file).endswith(".txt"), plain)
        return rows.placed(args.file, task, assignments(args.columns), form=args.format, labelled=False)
    return streams.some(_lines(task), "no row given")


def _lines(task: str) -> Iterator[tuple[str, Row]]:
    """The lines of standard input: JSON objects, and of a task with one text the texts themselves."""
    known = columns_of.TASKS[task]
    needed = tuple(name for name, column in known.items() if column.must(False))
    for number, line in enumerate(streams.lines(None), start=1):
        if not line.strip():
            continue
        where = f"{streams.INPUT}, line {number}"
        try:
            if line.lstrip().startswith("{"):
                record = strictjson.loads(line.encode(), where)
            else:
                fits = len(needed) == 1
                require(fits, f"{where}: expected a JSON object with {', '.join(needed)}")
                record = {needed[0]: line}
            yield where, columns_of.row(task, record, needed)
        except columns_of.Unfit as error:
            raise InputError(f"{where}, column {error.column!r}: {error}") from None


def _line(said: Row) -> str:
    """What is said of a row, in a line: the class or choice with its score, values, the tags, the answer."""
    if "tags" in said:
        return " ".join(said["tags"])
    first = next(iter(said.values()))
    several = first if isinstance(first, list) else [first]
    shown = [f"{one:.6g}" if isinstance(one, float) else f"{one}" for one in several]
    values = all(isinstance(one, float) for one in several)
    return ", ".join(shown) + ("" if values and several else f"  {said['score']:.4f}")
