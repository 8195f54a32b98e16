"""`minibert quantize`: see `minibert.quantization`."""

import argparse
from pathlib import Path
from typing import Any

import minibert
from minibert import quantization, reading, rows, tasks, uses
from minibert.checkpoint.directory import MODULES
from minibert.commands.finetune import assignments
from minibert.config import require
from minibert.errors import printable
from minibert.options import ending
from minibert.progress import doing, note


def parser(commands: Any) -> None:
    """Adds the command to the command line."""
    about = "put a model's linear layers into eight bits"
    more = "Prints sizes and, of rows with labels, how good the answers are before and after. It saves no time here."
    examples = ending("quantize runs/classify --out small", "quantize runs/classify --rows dev.tsv --per-channel")
    command = commands.add_parser("quantize", help=about, description=f"{about.capitalize()}. {more}", epilog=examples)
    command.set_defaults(run=_quantize)
    command.add_argument("directory", metavar="DIR", help="a published directory, or one that a run has made")
    command.add_argument("--out", metavar="DIR", help="write the quantised model into this directory")
    command.add_argument("--per-channel", action="store_true", help="a scale for each row of a matrix, not one for all")
    together = "a scale for all inputs of a call, as ONNX Runtime has it, not for each row"
    command.add_argument("--together", action="store_true", help=together)
    command.add_argument("--rows", metavar="FILE", help="rows with labels, of the task that the model has a head for")
    called = "what the file calls a column, such as text=sentence"
    command.add_argument("--columns", nargs="+", default=[], metavar="COLUMN=NAME", help=called)


def _quantize(args: argparse.Namespace) -> None:
    heard = args.rows is not None or not (args.columns or (args.together and args.out is None))
    require(heard, f"--{'columns' if args.columns else 'together'} says nothing without --rows")
    if args.out is not None:
        quantization.require_new(args.out)
    with doing(f"loading {args.directory}"):
        model = minibert.load(args.directory)
    require(args.rows is None or len(model.uses) == 1, f"{args.directory} has no head of one task to judge rows with")
    found = quantization.weights(model, args.per_channel)
    before, after = quantization.size(model, found)
    unit, name = (1e6, "MB") if before >= 1e6 else (1e3, "kB")
    print(f"{len(found)} matrices in eight bits: {before / unit:,.2f} {name} become {after / unit:,.2f} {name}, "
          f"{after / before:.1%}")  # fmt: skip
    if args.rows is not None:
        plain = _measured(model, args)
        with quantization.running(model, found, by_row=not args.together):
            less = _measured(model, args)
        for name in plain:
            print(f"{name.replace('_', ' ')}: {plain[name]:.4f} before, {less[name]:.4f} after")
    if args.out is not None:
        quantization.save(model, found, args.out, not args.together)
        if reading.present(Path(args.directory, MODULES)):
            note(f"{MODULES}, which says how vectors are made, is not taken along: tell embed the --pooling")
        said = printable(args.out)
        print(f"saved: {said}; try: minibert {'predict' if model.uses else 'info'} {said}")


def _measured(model: Any, args: argparse.Namespace) -> dict[str, float]:
    """How good the model's answers to the rows are."""
    (task,) = model.uses
    placed = [*rows.placed(args.rows, tasks.rows_of(task.name, model.module), assignments(args.columns) or None)]
    uses.labelled(model, placed, 512)  # whether it has their classes
    said = [*uses.answered(model, task, placed, 512)]
    return uses.of(task).measures(task, [row for _, row in placed], said)
