"""`minibert vectors`: the vectors of a model's words, or of a file, in a file of another format."""

import argparse
from typing import Any

from minibert import model as models
from minibert import vectors
from minibert.checkpoint import fasttext
from minibert.checkpoint import vectors as files
from minibert.errors import printable
from minibert.options import ending
from minibert.progress import doing

FORMATS = ("text", "binary", "glove", "fasttext")


def parser(commands: Any) -> None:
    """Adds the command to the command line."""
    examples = ending("vectors runs/word2vec -o vectors.txt", "vectors vectors.txt -o vectors.bin --format binary")
    command = commands.add_parser(
        "vectors", help="a model's word vectors as a file", epilog=examples,
        description="Writes the vectors of a model's words, or of a file of vectors, as word2vec, gensim and GloVe do.",
    )  # fmt: skip
    command.set_defaults(run=_written)
    where = "a directory with a model and its vocabulary, or a file of vectors"
    command.add_argument("directory", metavar="DIR", help=where)
    command.add_argument("-o", "--output", metavar="OUT", required=True, help="the file to write")
    about = (
        "word2vec's text or binary, GloVe's text, which has no first line, or fastText's .bin, of a fasttext model; "
        "default text"
    )
    command.add_argument("--format", choices=FORMATS, default="text", metavar="FORMAT", help=about)


def _written(args: argparse.Namespace) -> None:
    if args.format == "fasttext":
        with doing(f"loading {args.directory}"):
            made = vectors.to_fasttext(models.load(args.directory), f"{args.directory}")
        fasttext.write(args.output, made)
        print(f"{len(made.words):,} words and {len(made.rows) - len(made.words):,} rows of n-grams: {args.output}")
        return
    with doing(f"loading {args.directory}"):
        held = vectors.load(args.directory)
    files.write(args.output, held.words, held.rows, args.format == "binary", args.format != "glove")
    print(f"{len(held.words):,} vectors of {held.rows.shape[1]} numbers: {printable(args.output)}")
