"""`minibert surface`: see `minibert.analysis.surface`."""

import argparse
from pathlib import Path
from typing import Any

import numpy as np

import minibert
from minibert import rows, tasks, uses
from minibert.analysis import pictures, surface
from minibert.checkpoint import atomic
from minibert.commands.finetune import assignments
from minibert.config import require, whole
from minibert.errors import printable
from minibert.options import ending
from minibert.progress import doing

TOGETHER, LONGEST = 16, 512  # rows of a batch, tokens of a row
BEYOND = 0.5  # of the way: how far the line and the plane go on at either end


def parser(commands: Any) -> None:
    """Adds the command to the command line."""
    about = "the loss on the way from one model to another"
    more = ("START and END are directories of one network, as before and after finetune: 0 is START, 1 is END. What "
            "START lacks, as the task's head, is END's. With --other a plane: a second end is at (0, 1).")  # fmt: skip
    examples = ending("surface runs/bert runs/classify --rows dev.tsv",
                      "surface runs/bert runs/a --rows dev.tsv --other runs/b -o plane.svg")  # fmt: skip
    command = commands.add_parser("surface", help=about, description=f"Shows {about}. {more}", epilog=examples)
    command.set_defaults(run=_surface)
    command.add_argument("start", metavar="START", help="the directory of the model as it began")
    command.add_argument("end", metavar="END", help="the directory of the model with the head of a task")
    command.add_argument("--rows", metavar="FILE", required=True, help="rows with labels, of END's task")
    called = "what the file calls a column, such as text=sentence"
    command.add_argument("--columns", nargs="+", default=[], metavar="COLUMN=NAME", help=called)
    command.add_argument("--other", metavar="DIR", help="another end, of the same network and task")
    places = "places along each direction, from -0.5 to 1.5; of 5, 9, 13, … START and END are two; default 9"
    command.add_argument("--steps", type=int, default=9, metavar="N", help=places)
    command.add_argument("-o", "--output", metavar="OUT", help="an .svg picture of the plane")


def _surface(args: argparse.Namespace) -> None:
    steps = whole("--steps", args.steps, 2, 101)
    require(args.output is None or args.other is not None, "--output draws a plane: name another end by --other")
    svg = args.output is None or Path(args.output).suffix.lower() == ".svg"
    require(svg, f"--output {args.output}: the name must end in .svg")
    with doing(f"loading {args.end}"):
        end = minibert.load(args.end)
        require(len(end.uses) == 1, f"{args.end} has no head of one task to judge rows with")
        start = _alike(args.start, end)
        other = end.params if args.other is None else _alike(args.other, end)
    placed = [*rows.placed(args.rows, tasks.rows_of(end.uses[0].name, end.module), assignments(args.columns) or None)]
    batches = [*uses.batched(end, placed, LONGEST, TOGETHER)]
    sizes = [len(next(iter(batch.values()))) for batch in batches]

    def loss(params: Any) -> float:
        model = minibert.Model(end.family, end.config, params, end.tokenizer, uses=end.uses)
        return float(np.average([model.loss(batch)[0] for batch in batches], weights=sizes))

    places = np.linspace(-BEYOND, 1 + BEYOND, steps)
    across = [0.0] if args.other is None else [*places]
    with doing("walking the plane" if args.other else "walking the line"):
        one, two = (surface.difference(params, start) for params in (end.params, other))
        found = surface.plane(loss, start, one, two, [*places], across)
    print("place" + ("".join(f"{b:>8.2f}" for b in across) if args.other else "    loss"))
    for a, line in zip(places, found, strict=True):
        print(f"{a:<5.2f}" + "".join(f"{value:>8.3f}" for value in line))
    if args.output is not None:
        atomic.write_text(args.output, drawn(found, places))
        print(f"{printable(args.output)}: the loss, the darker the higher")


def _alike(directory: str, end: Any) -> Any:
    """The parameters of a directory, and of the end what it lacks; InputError unless they are of one network."""
    model = minibert.load(directory)
    fits = (model.family, model.config) == (end.family, end.config)
    require(fits, f"{directory} holds another network than the end: the line is through the parameters of one")
    return {part: model.params.get(part, held) for part, held in end.params.items()}


def drawn(found: np.ndarray, places: np.ndarray) -> str:
    """The plane as a picture: a row a place along, a column a place across, with the three models in it."""
    low, high = float(found.min()), float(found.max())
    names = [f"{place:.2f}" for place in places]
    shown = (found - low) / (high - low) if high > low else np.zeros_like(found)
    inner, wide, tall = pictures.named_grid(shown, names, names)
    step, size = (places[-1] - places[0]) / (len(places) - 1), pictures.CELL
    left, top = (side - size * len(places) for side in (wide, tall))
    for name, along, across in (("S", 0, 0), ("E", 1, 0), ("O", 0, 1)):
        x, y = (corner + ((place - places[0]) / step + 0.5) * size for corner, place in ((left, across), (top, along)))
        inner += f'<text x="{x:.1f}" y="{y + 3.5:.1f}" text-anchor="middle" class="title">{name}</text>'
    said = f"loss from {low:.4g}, white, to {high:.4g}: start S, end E, other end O"
    return pictures.captioned(inner, wide, tall, said, 2)
