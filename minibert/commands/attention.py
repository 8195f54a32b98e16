"""`minibert attention`: what every head attends to, as a picture or a page."""

import argparse
from pathlib import Path
from typing import Any

from minibert import commands
from minibert.analysis import attention, pictures
from minibert.checkpoint import atomic
from minibert.config import require
from minibert.errors import printable
from minibert.options import ending
from minibert.progress import doing

GAP = 16
MOST = 40_000  # numbers that a page has as numbers, too


def parser(commands: Any) -> None:
    """Adds the command to the command line."""
    about = "what every head of every layer attends to"
    examples = ending('attention runs/bert "the value of a list" -o maps.svg',
                      'attention runs/bart "the value of a list" -o maps.html')  # fmt: skip
    command = commands.add_parser(
        "attention", help=about, epilog=examples,
        description=f"Draws {about}: a row is what a token takes from each token, and sums to 1.",
    )  # fmt: skip
    command.set_defaults(run=_attention)
    command.add_argument("directory", metavar="DIR", help="a published directory, or one that a run has made")
    command.add_argument("text", metavar="TEXT", help="the text that the model reads")
    command.add_argument("--target", metavar="TEXT", help="what a decoder reads beside it; default: what it writes")
    form = "an .svg picture, or an .html page with the numbers"
    command.add_argument("-o", "--output", metavar="OUT", required=True, help=form)


def _attention(args: argparse.Namespace) -> None:
    forms = {".svg": drawn, ".html": page, ".htm": page}
    form = forms.get(Path(args.output).suffix.lower())
    require(form is not None, f"--output {args.output}: the name must end in .svg or .html")
    with commands.opened(args.directory) as model:
        with doing("reading the text"):
            found = attention.maps(model, args.text, args.target)
        atomic.write_text(args.output, form(found, args.text))
        heads = sum(len(one.weights) for one in found)
        print(f"{printable(args.output)}: {heads} heads in {len(found)} calls of attention")


def drawn(found: list[attention.Map], text: str) -> str:
    """One picture: a row a call, a grid a head."""
    parts, y, width = [], 20.0, 0.0
    for one in found:
        parts.append(f'<text class="title" x="4" y="{y:.0f}">{pictures.text(one.name)}</text>')
        x, below = 4.0, 0.0
        for number, weights in enumerate(one.weights):
            down = one.asking if number == 0 else ()
            inner, wide, high = pictures.named_grid(weights, down, one.asked, x, y + 20)
            left = x + wide - len(one.asked) * pictures.CELL
            parts.append(f'<text x="{left:.0f}" y="{y + 16:.0f}">head {number}</text>{inner}')
            x, below = x + wide + GAP, max(below, high)
        y, width = y + 20 + below + 2 * GAP, max(width, x)
    return pictures.svg("".join(parts), width, y, f"attention of every head for: {text}", alone=True)


def page(found: list[attention.Map], text: str) -> str:
    """A page: the same, with the numbers behind each grid as far as MOST of them go."""
    body = [
        f"<h1>What every head attends to</h1><p>{pictures.text(text)}</p>",
        '<p class="dim">A row is a token that asks, a column one that is asked. Each row sums to 1. The stronger a '
        "cell's colour, the larger its number.</p>",
    ]
    room, left_out = MOST, 0
    for one in found:
        figures = []
        for number, weights in enumerate(one.weights):
            told = weights.size <= room
            room, left_out = room - told * weights.size, left_out + (not told)
            label, names = f"{one.name}, head {number}", (one.asking, one.asked)
            figures.append(pictures.figure(label, f"head {number}", weights, names, told))
        body.append(f'<h2>{pictures.text(one.name)}</h2><div class="maps">{"".join(figures)}</div>')
    if left_out:
        body.append(f'<p class="dim">{left_out} grids are too many to have their numbers on one page.</p>')
    return pictures.page(f"attention: {text}", body)
