"""`minibert detect`: how probable it is that each token was replaced."""

import argparse
import json
import sys
from typing import Any

from minibert import commands, inference, streams
from minibert.errors import printable
from minibert.options import ending


def parser(commands: Any) -> None:
    """Adds the command to the command line."""
    about = "how probable it is that each token was replaced (ELECTRA)"
    examples = ending('detect runs/electra "the cat sat on the keyboard"', "detect runs/electra --json < texts.txt")
    command = commands.add_parser("detect", help=about, description=f"Says {about}.", epilog=examples)
    command.set_defaults(run=_detect)
    command.add_argument("directory", metavar="DIR", help="a published directory, or one that a run has made")
    command.add_argument("text", nargs="*", metavar="TEXT", help="texts; default: lines of standard input")
    command.add_argument("--json", action="store_true", help="one JSON object a text")


def _detect(args: argparse.Namespace) -> None:
    with commands.opened(args.directory) as model:
        terminal = sys.stdout.isatty()
        for text in streams.texts(args.text):
            found = inference.replaced_tokens(model, text)
            if args.json:
                tokens = [token._asdict() for token in found]
                print(json.dumps({"text": text, "tokens": tokens}), flush=True)
                continue
            print(printable(text))
            for token in found:
                bar = f"{'#' * round(20 * token.probability):<20}  " if terminal else ""
                shown = printable(token.token)
                print(f"  {token.probability:7.2%}  {bar}{f'[{shown}]' if token.probability > 0.5 else shown}")
            sys.stdout.flush()
