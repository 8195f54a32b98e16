"""`minibert prune`: see `minibert.analysis.pruning`."""

import argparse
from typing import Any

import minibert
from minibert import quantization, rows, tasks, tree, uses
from minibert.analysis import pruning
from minibert.commands.finetune import assignments
from minibert.config import require, whole
from minibert.errors import printable
from minibert.options import ending
from minibert.progress import doing

TOGETHER, LONGEST = 16, 512  # rows of a batch, tokens of a row
BY = {"gradient": pruning.importance, "leaving-out": pruning.left_out}


def parser(commands: Any) -> None:
    """Adds the command to the command line."""
    about = "leave out the attention heads that matter least"
    more = ("Half of the rows say how much each head matters, the other half are asked as heads go, the least "
            "important first; a layer keeps its last.")  # fmt: skip
    examples = ending("prune runs/classify --rows dev.tsv", "prune runs/classify --rows dev.tsv --keep 4 --out small")
    command = commands.add_parser("prune", help=about, description=f"{about.capitalize()}. {more}", epilog=examples)
    command.set_defaults(run=_prune)
    command.add_argument("directory", metavar="DIR", help="a directory of a model with a task's head")
    command.add_argument("--rows", metavar="FILE", required=True, help="rows with labels, of the task")
    called = "what the file calls a column, such as text=sentence"
    command.add_argument("--columns", nargs="+", default=[], metavar="COLUMN=NAME", help=called)
    how = "what says how much a head matters: the loss's slope at its gate, or the loss without it; default gradient"
    command.add_argument("--by", choices=[*BY], default="gradient", help=how)
    command.add_argument("--keep", type=int, metavar="N", help="the heads of the model that is written")
    command.add_argument("--out", metavar="DIR", help="write the model with so many heads into this directory")


def _prune(args: argparse.Namespace) -> None:
    require((args.keep is None) == (args.out is None), "--keep and --out go together: how many heads, and where to")
    if args.out is not None:
        quantization.require_new(args.out)
    with doing(f"loading {args.directory}"):
        model = minibert.load(args.directory)
    require(len(model.uses) == 1, f"{args.directory} has no head of one task to judge rows with")
    (task,) = model.uses
    placed = [*rows.placed(args.rows, tasks.rows_of(task.name, model.module), assignments(args.columns) or None)]
    telling, asked = rows.halves(placed)
    counts = pruning.heads(model)
    pruning.shrunk(model, [(path, 0) for path, count in counts.items() if count > 1])  # whether any can go
    total, least = sum(counts.values()), len(counts)
    if args.keep is not None:
        whole("--keep", args.keep, least, total)
    with doing("asking which heads matter"):
        scores = BY[args.by](model, uses.batched(model, telling, LONGEST, TOGETHER))
    print("importance of each head of each layer, by " + args.by.replace("-", " "))
    for path, held in scores.items():
        print(f"  {printable(path)}  " + "  ".join(f"{score:.2e}" for score in held))
    kept = None
    for left, one in pruning.shrinking(model, pruning.order(scores)):
        measured = uses.of(task).measures(task, [row for _, row in asked], [*uses.answered(one, task, asked, LONGEST)])
        said = "  ".join(f"{name.replace('_', ' ')} {value:.4f}" for name, value in measured.items())
        size = sum(a.size for a in tree.leaves(one.params))
        print(f"{left} head{'s' * (left > 1)}, {size:,} parameters: {said}", flush=True)
        kept = one if left == args.keep else kept
    if kept is not None:
        kept.save(args.out)
        print(f"saved: {printable(args.out)}; try: minibert predict {printable(args.out)}")

