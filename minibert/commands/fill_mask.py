"""`minibert fill-mask`: the most probable tokens for each [MASK]."""

import argparse
import json
import sys
from typing import Any

from minibert import commands, inference, streams
from minibert.config import whole
from minibert.errors import printable
from minibert.options import ending


def parser(commands: Any) -> None:
    """Adds the command to the command line."""
    about = "the most probable tokens for each [MASK]"
    examples = ending('fill-mask runs/bert "the [MASK] of a list"', "fill-mask runs/bert --top 3 --json < texts.txt")
    command = commands.add_parser("fill-mask", help=about, description=f"Says {about}.", epilog=examples)
    command.set_defaults(run=_fill_mask)
    command.add_argument("directory", metavar="DIR", help="a published directory, or one that a run has made")
    command.add_argument("text", nargs="*", metavar="TEXT", help="texts with [MASK]; default: lines of standard input")
    command.add_argument("--top", type=int, default=5, metavar="N", help="so many tokens for each; default 5")
    command.add_argument("--json", action="store_true", help="one JSON object a text")


def _fill_mask(args: argparse.Namespace) -> None:
    whole("--top", args.top, 1)
    with commands.opened(args.directory) as model:
        for text in streams.texts(args.text):
            guesses = inference.masked_words(model, text, args.top)
            if args.json:
                masks = [[guess._asdict() for guess in mask] for mask in guesses]
                print(json.dumps({"text": text, "masks": masks}), flush=True)
                continue
            print(printable(text))
            for i, mask in enumerate(guesses, 1):
                for guess in mask:
                    place = f"mask {i}  " if len(guesses) > 1 else ""
                    print(f"  {place}{guess.probability:7.2%}  {printable(guess.token)}")
            sys.stdout.flush()
