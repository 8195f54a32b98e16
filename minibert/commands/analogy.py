"""`minibert analogy`: what is to C as B is to A."""

from typing import Any

from minibert.commands import neighbours
from minibert.options import ending


def parser(commands: Any) -> None:
    """Adds the command to the command line."""
    about = "the words that are to C as B is to A"
    examples = ending("analogy vectors.bin man king woman", "analogy runs/word2vec file read write")
    command = commands.add_parser("analogy", help=about, description=f"Says {about}: the vectors nearest to B - A + C.",
                                  epilog=examples)  # fmt: skip
    command.set_defaults(run=lambda args: neighbours.said(args, [args.b, args.c], [args.a]))
    neighbours.arguments(command)
    for name in ("a", "b", "c"):
        command.add_argument(name, metavar=name.upper(), help="a word of the vocabulary")
