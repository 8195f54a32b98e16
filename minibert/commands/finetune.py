"""`minibert finetune`: see `minibert.finetuning`."""

import argparse
import re
from typing import Any

from minibert import finetuning, rows
from minibert.commands import add_options, field_values, flag
from minibert.errors import InputError
from minibert.options import ending


def parser(commands: Any) -> None:
    """Adds the command to the command line."""
    about = "train a model for a task, from rows"
    more = ("Without --train classify learns which module of the standard library a docstring is from. Rows of a model "
            "of pictures or sound name files (picture, sound).")  # fmt: skip
    examples = ending(
        "finetune classify runs/bert", "finetune classify DIR --train rows.tsv --columns text=sentence",
        "finetune tag DIR --train train.conll --dev dev.conll", "finetune classify runs/bert --transfer adapter:16",
        "finetune classify+tag DIR --train classify=rows.tsv tag=train.conll",
        "finetune classify fasttext --train rows.tsv --set word_ngrams=2", "finetune classify runs/bert --resume",
        "finetune classify runs/vit --train pictures.npz",
    )  # fmt: skip
    command = commands.add_parser("finetune", help=about, description=f"{about.capitalize()}. {more}", epilog=examples)
    command.set_defaults(run=_finetune)
    named = f"one of: {', '.join(finetuning.names())}; or several over one network, as classify+tag"
    task = command.add_argument("task", metavar="TASK", help=named)
    task.completer = finetuning.names
    command.add_argument("directory", metavar="DIR", help="the model: a published directory, or one of a run; or "
                         "a family, which begins with nothing but the words of the rows")
    changed = "of a family: change fields of the model's configuration, such as word_ngrams=2"
    command.add_argument("--set", nargs="+", metavar="FIELD=VALUE", help=changed)
    given = ("rows to learn from: a table with a header, JSON lines, CoNLL's columns, SQuAD's JSON, pictures of NumPy; "
             "of several tasks ")  # fmt: skip
    command.add_argument("--train", nargs="+", metavar="FILE", help=f"{given}TASK=FILE of each")
    apart = "rows to be held to; default: some of the others are held out"
    command.add_argument("--dev", nargs="+", metavar="FILE", help=apart)
    called = "what a file calls a column, such as text=sentence; of several tasks tag.tokens=words"
    command.add_argument("--columns", nargs="+", default=[], metavar="COLUMN=NAME", help=called)
    forms = f"of the files: {', '.join(rows.FORMATS)}; default: as their names end"
    command.add_argument("--format", choices=[*rows.FORMATS], metavar="NAME", help=forms)
    command.add_argument("--out", metavar="DIR", help="write into this new directory; default: runs/TASK")
    command.add_argument("--resume", action="store_true", help="continue the run in DIR, bit for bit")
    cores = "use so many cores, on which no bit depends; default: all"
    command.add_argument("--threads", type=int, metavar="N", help=cores)
    every = "write a checkpoint after so many steps; default 100"
    command.add_argument("--checkpoint-every", type=int, default=100, metavar="STEPS", help=every)
    add_options(command, finetuning.Options, {})


def _finetune(args: argparse.Namespace) -> None:
    names = ("task", "directory", "out", "resume", "threads", "checkpoint_every")
    own = {name: getattr(args, name) for name in names}
    own |= {name: _files(args.task, getattr(args, name), name) for name in ("train", "dev")}
    chosen = {name: getattr(args, name) for name in finetuning.KNOWN}
    try:
        given = {"columns": assignments(args.columns), "fields": field_values(args.set or [])}
        finetuning.finetune(**given, form=args.format, **own, **chosen)
    except InputError as error:
        raise InputError(_options(str(error))) from None


def _files(task: str, given: list[str] | None, name: str) -> str | dict[str, str] | None:
    """The file of a task, of several {task: file}."""
    if given is None or "+" in task:
        return None if given is None else assignments(given, f"--{name}")
    if len(given) > 1:
        raise InputError(f"--{name}: {task} takes one file, here are {len(given)}; several tasks are TASK+TASK")
    return given[0]


def _options(line: str) -> str:
    """The line with the options of the command line in the place of the fields of Options: where it begins with one,
    and where a name is no word of English.
    """
    return re.sub(r"^\w+(?= is )|\b[a-z]+_[a-z_]+\b", lambda found: flag(found[0]) if found[0] in finetuning.KNOWN
                  else found[0], line)  # fmt: skip


def assignments(texts: list[str], option: str = "--columns") -> dict[str, str]:
    """{column: what a file calls it} from COLUMN=NAME, or {task: its file} from TASK=FILE."""
    named = {}
    for text in texts:
        column, equals, name = text.partition("=")
        if not equals:
            raise InputError(f"{option} {text!r}: write {'COLUMN=NAME' if option == '--columns' else 'TASK=FILE'}")
        if column in named:
            raise InputError(f"{option} {text!r}: {column} stands there twice; leave one out")
        named[column] = name
    return named
