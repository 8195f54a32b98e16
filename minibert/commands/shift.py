"""`minibert shift`: see `minibert.analysis.languages`."""

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

import minibert
from minibert import corpus, rows, tasks, uses
from minibert.analysis import languages, pictures
from minibert.checkpoint import atomic
from minibert.commands.finetune import assignments
from minibert.config import real, require, whole
from minibert.errors import printable
from minibert.options import ending
from minibert.progress import doing

LONGEST = 512  # tokens of a row
SHARES = (0.0, 0.5, 1.0, 1.5, 2.0)


def parser(commands: Any) -> None:
    """Adds the command to the command line."""
    about = "whether moving one language's states towards another's helps a task"
    more = ("DIR has learnt a task in one language, ROWS are of another. At each layer, and for each share α, α times "
            "the difference of the languages' means is added to the states, and the layers behind it go on from "
            "these.")  # fmt: skip
    examples = ending("shift runs/classify de.tsv --from de.txt --to en.txt",
                      "shift runs/en de.tsv --from de.txt --to en.txt --share 0 1 3 -o x.svg")  # fmt: skip
    command = commands.add_parser("shift", help=about, description=f"Shows {about}. {more}", epilog=examples)
    command.set_defaults(run=_shift)
    command.add_argument("directory", metavar="DIR", help="the directory of a model with the head of a task")
    command.add_argument("rows", metavar="ROWS", help="rows with labels, of the task, in another language")
    called = "what the file calls a column, such as text=sentence"
    command.add_argument("--columns", nargs="+", default=[], metavar="COLUMN=NAME", help=called)
    command.add_argument("--from", dest="source", metavar="FILE", required=True, help="text in the rows' language")
    target = "text in the language that the task was learnt in"
    command.add_argument("--to", dest="target", metavar="FILE", required=True, help=target)
    shares = f"try these shares; default {' '.join(f'{share:g}' for share in SHARES)}"
    command.add_argument("--share", nargs="+", type=float, default=SHARES, metavar="X", help=shares)
    tokens = "take the mean of so many tokens; default 4000"
    command.add_argument("--tokens", type=int, default=4000, metavar="N", help=tokens)
    command.add_argument("-o", "--output", metavar="OUT", help="an .svg picture of what each shift gains and loses")


def _shift(args: argparse.Namespace) -> None:
    count = whole("--tokens", args.tokens, 1)
    shares = [real("--share", share, -100.0, 100.0) for share in args.share]
    svg = args.output is None or Path(args.output).suffix.lower() == ".svg"
    require(svg, f"--output {args.output}: the name must end in .svg")
    with doing(f"loading {args.directory}"):
        model = minibert.load(args.directory)
    require(len(model.uses) == 1, f"{args.directory} has no head of one task to judge rows with")
    (task,) = model.uses
    placed = [*rows.placed(args.rows, tasks.rows_of(task.name, model.module), assignments(args.columns) or None)]
    length = uses.longest(model, LONGEST)
    with doing("reading the text"):
        means = [_means(model, path, length, count) for path in (args.source, args.target)]
        known = languages.changeable(model, _texts(args.source), length)
    found, name = np.zeros((len(known), len(shares))), ""
    with doing("asking with each shift"):
        for at, layer in enumerate(known):
            for n, share in enumerate(shares):
                moved = means[0][layer], means[1][layer], share
                name, found[at, n] = _measured(model, task, placed, length, layer, moved)
    print(f"{name.replace('_', ' ')} of {len(placed):,} rows, by the layer that is shifted and the share")
    print(f"  {'':<12}" + "".join(f"{share:>9g}" for share in shares))
    names = [f"layer {i}" if i else "embeddings" for i in known]
    for said, line in zip(names, found, strict=True):
        print(f"  {said:<12}" + "".join(f"{value:>9.4f}" for value in line))
    left = [i for i in range(len(means[0])) if i not in known]
    if left:
        which = ", ".join(f"layer {i}" if i else "embeddings" for i in left)
        print(f"left out: {which}; nothing goes on from these states as they are")
    if args.output is not None:
        nothing = (*(side[known[0]] for side in means), 0.0)
        without = _measured(model, task, placed, length, known[0], nothing)[1]
        atomic.write_text(args.output, drawn(found - without, names, shares, f"{name.replace('_', ' ')} {without:.4g}"))
        print(f"{printable(args.output)}: what a shift gains, and in the other colour loses")


def _means(model: Any, path: str, length: int, count: int) -> list[np.ndarray]:
    """The language vector of a text at each layer."""
    return [*map(languages.language_vector, languages.tokens(model, _texts(path), length, count, path))]


def _texts(path: str) -> Iterator[str]:
    return (text for document in corpus.Files([path]) for text in document)


def _measured(model: Any, task: Any, placed: list, length: int, layer: int, moved: tuple) -> tuple[str, float]:
    """(name, value) of the task's first measure, with the states of a layer shifted."""
    with languages.changed(layer, lambda states: languages.shifted(states, *moved)):
        said = [*uses.answered(model, task, placed, length)]
    return next(iter(uses.of(task).measures(task, [row for _, row in placed], said).items()))


def drawn(gain: np.ndarray, names: list[str], shares: list[float], without: str) -> str:
    """The picture: a row a layer, a column a share."""
    most = float(np.abs(gain).max())
    inner, wide, tall = pictures.named_grid(gain / most if most else gain, names, [f"{share:g}" for share in shares])
    said = f"without a shift {without}; darkest {most:.4g} more or less"
    return pictures.captioned(inner, wide, tall, said, 2)
