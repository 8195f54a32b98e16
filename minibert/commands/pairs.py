"""`minibert pairs`: parallel text from the catalogues of a system, or from files of pairs."""

import argparse
from typing import Any

from minibert import parallel
from minibert.config import require
from minibert.options import ending
from minibert.progress import doing

PARTS = ("all", "train", "held-out")


def parser(commands: Any) -> None:
    """Adds the command to the command line."""
    about = "pairs of a text and its translation, from gettext catalogues"
    examples = ending(
        "pairs /usr/share/locale --language de > de.tsv", "pairs po/fr.po --json",
        "pairs de.tsv --part held-out > test.tsv", "pairs de.tsv --part train --blocks > corpus.txt",
    )  # fmt: skip
    command = commands.add_parser("pairs", help=about, description=f"Writes {about}.", epilog=examples)
    command.set_defaults(run=_pairs)
    where = "folders with catalogues, .mo and .po files, or files of pairs: with a tab between them, or JSON lines"
    command.add_argument("path", nargs="+", metavar="PATH", help=where)
    command.add_argument("--language", default="", metavar="LANG", help="of the catalogues in a folder, such as de")
    part = "those that are held out, by the hash of the source alone, the others, or all; default all"
    command.add_argument("--part", choices=PARTS, default="all", help=part)
    share = "hold out this share of the sources, default 0.1"
    command.add_argument("--held-out", type=float, default=0.1, metavar="X", help=share)
    form = command.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="one JSON object a pair; default: a tab between them")
    blocks = "a line for each and a blank one: a corpus of pretrain, whose documents are pairs"
    form.add_argument("--blocks", action="store_true", help=blocks)


def _pairs(args: argparse.Namespace) -> None:
    share = args.held_out
    require(0 <= share <= 1, f"--held-out {share:g}: a share from 0 to 1")
    found = parallel.pairs(args.path, args.language)
    if args.part != "all":
        found = (pair for pair in found if parallel.apart(pair[0], share) == (args.part == "held-out"))
    with doing("reading pairs"):
        for line in parallel.lines(found, "json" if args.json else "blocks" if args.blocks else "tsv"):
            print(line)
