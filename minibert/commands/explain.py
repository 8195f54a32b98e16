"""`minibert explain`: a text on its way through a model, and the gradient on its way back, as a page."""

import argparse
from pathlib import Path
from typing import Any

from minibert import commands, pretraining, reading
from minibert.analysis import explained, explanation
from minibert.checkpoint import atomic
from minibert.config import require
from minibert.errors import printable
from minibert.options import ending
from minibert.progress import doing, note

SMALL = {"steps": 200, "preset": "quick"}
RUN, MADE = Path("runs") / "bert", Path("runs") / "explain"  # of `minibert pretrain bert`; a shorter one, for this


def parser(commands: Any) -> None:
    """Adds the command to the command line."""
    about = "a text on its way through a model, and the gradient on its way back"
    examples = ending('explain "the value of a list" --html page.html',
                      'explain runs/gpt2 "the value of a list" --html page.html')  # fmt: skip
    command = commands.add_parser(
        "explain", help=about, epilog=examples,
        description=f"Writes a page that shows {about}: tokens, every layer's attention by head, the loss, with "
        f"shapes, formulas and the numbers behind each picture. Without DIR the model is that of {RUN}, else a "
        f"small BERT that is trained for it, in {MADE}.",
    )  # fmt: skip
    command.set_defaults(run=_explain)
    command.add_argument("words", nargs="+", metavar="[DIR] TEXT", help="the model's directory, and the text")
    hide = "ask a masked head for the token in this place; default: the text's last"
    command.add_argument("--hide", type=int, metavar="N", help=hide)
    command.add_argument("--target", metavar="TEXT", help="what an encoder's decoder is to write; default: the text")
    command.add_argument("--html", metavar="FILE", required=True, help="the page to write")


def _explain(args: argparse.Namespace) -> None:
    require(len(args.words) <= 2, "expected [DIR] TEXT: put the text into quotation marks")
    *directory, said = args.words
    with commands.opened(directory[0] if directory else _own()) as model:
        with doing("walking through the model"):
            found = explanation.walked(model, said, args.hide, args.target)
            page = explained.page(found, model, said)
        atomic.write_text(args.html, page)
        print(f"{printable(args.html)}: {len(found.stops)} stops, {len(page.encode()):,} bytes")


def _own() -> Path:
    """A run that is there, else a new one."""
    place = next((path for path in (RUN, MADE) if reading.present(path)), None)
    if place is None:
        note(f"training a small BERT to explain, in {MADE}")
        place = pretraining.pretrain("bert", out=MADE, **SMALL)
    return place
