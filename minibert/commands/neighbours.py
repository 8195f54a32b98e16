"""`minibert neighbours`: the words whose vectors are nearest to a word's."""

import argparse
import json
from typing import Any

from minibert import vectors
from minibert.config import whole
from minibert.errors import printable
from minibert.options import ending
from minibert.progress import doing


def parser(commands: Any) -> None:
    """Adds the command to the command line."""
    about = "the words whose vectors are nearest to a word's"
    examples = ending("neighbours runs/word2vec function", "neighbours vectors.bin king --top 5")
    command = commands.add_parser("neighbours", help=about, description=f"Says {about}, by cosine.", epilog=examples)
    command.set_defaults(run=lambda args: said(args, [args.word], []))
    arguments(command)
    command.add_argument("word", metavar="WORD", help="a word of the vocabulary")


def arguments(command: Any) -> None:
    """What `analogy` has, too."""
    where = "a directory with a model and its vocabulary, or a file of vectors (word2vec's text or binary, GloVe's)"
    command.add_argument("directory", metavar="DIR", help=where)
    command.add_argument("--top", type=int, default=10, metavar="N", help="say so many words; default 10")
    components = "the file of components that a fastText was learnt with"
    command.add_argument("--components", metavar="FILE", help=components)
    command.add_argument("--json", action="store_true", help="one JSON object")


def said(args: argparse.Namespace, plus: list[str], minus: list[str]) -> None:
    """Prints the nearest words and their cosines."""
    whole("--top", args.top, 1)
    with doing(f"loading {args.directory}"):
        held = vectors.load(args.directory, args.components)
    found = vectors.nearest(held, plus, minus, args.top)
    if args.json:
        print(json.dumps({"words": [{"word": word, "cosine": cosine} for word, cosine in found]}))
        return
    for word, cosine in found:
        print(f"  {cosine:6.3f}  {printable(word)}")
