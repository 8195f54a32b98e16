"""`minibert probe`: see `minibert.analysis.probing`."""

import argparse
import itertools
import sys
from collections import Counter
from typing import Any

import numpy as np

from minibert import commands, rows, uses
from minibert.analysis import probing
from minibert.commands.finetune import assignments
from minibert.config import real, require, whole
from minibert.errors import printable
from minibert.options import ending
from minibert.progress import doing, filled

TASKS = {"tag": probing.words, "classify": probing.texts}


def parser(commands: Any) -> None:
    """Adds the command to the command line."""
    about = "which layer knows how much of a task"
    more = ("A linear classifier is fitted to each layer's states of half of the rows and asked about the other half: "
            "of tags to the states of each word's first piece, of classes to the mean over a text. Nothing of the "
            "model learns.")  # fmt: skip
    examples = ending("probe runs/bert tag tags.jsonl", "probe runs/bert classify genres.tsv --most 1000")
    command = commands.add_parser("probe", help=about, description=f"Shows {about}. {more}", epilog=examples)
    command.set_defaults(run=_probe)
    command.add_argument("directory", metavar="DIR", help="a published directory, or one that a run has made")
    command.add_argument("task", choices=[*TASKS], help="what the rows hold: tags of words, or classes of texts")
    command.add_argument("rows", metavar="FILE", help="rows with labels, as of finetune")
    called = "what the file calls a column, such as text=sentence"
    command.add_argument("--columns", nargs="+", default=[], metavar="COLUMN=NAME", help=called)
    command.add_argument("--most", type=int, default=2000, metavar="ROWS", help="read at most so many; default 2000")
    decay = "how strongly the classifier is kept small; default 0.001"
    command.add_argument("--decay", type=float, default=1e-3, metavar="X", help=decay)


def _probe(args: argparse.Namespace) -> None:
    most = whole("--most", args.most, 2)
    decay = real("--decay", args.decay, 0.0, 1e6)
    with commands.opened(args.directory) as model:
        length = uses.longest(model, 512)
        placed = [*itertools.islice(rows.placed(args.rows, args.task, assignments(args.columns) or None), most)]
        telling, asking = rows.halves(placed)
        with doing("reading the rows"):
            learnt, taught = TASKS[args.task](model, telling, length)
            held, due = TASKS[args.task](model, asking, length)
        names = sorted({*taught})
        require(len(names) > 1, f"each row of the half that is learnt from has the label {names[0]!r}")
        numbers = {name: i for i, name in enumerate(names)}
        labels = np.array([numbers[name] for name in taught])
        asked = np.array([numbers.get(name, -1) for name in due])
        often = Counter(taught).most_common(1)[0][0]
        counted = f"{len(labels):,} to learn from, {len(asked):,} asked, {len(names)} classes"
        majority = f"the most frequent, {printable(often)}: {(asked == numbers[often]).mean():.4f}"
        print(filled(f"{counted}; {majority}", sys.stdout))
        for i, (before, after) in enumerate(zip(learnt, held, strict=True)):
            share = probing.accuracy(probing.fitted(before, labels, decay), after, asked)
            print(f"  {f'layer {i}' if i else 'embeddings':<12}{share:.4f}", flush=True)
