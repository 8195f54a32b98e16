"""`minibert mistakes [ID]`: the catalogue, one entry, or with --write the generated files."""

import argparse
from pathlib import Path

from minibert.checkpoint import atomic
from minibert.config import nearest, require
from minibert.errors import printable
from minibert.golden import case as files
from minibert.golden import kills
from minibert.mistakes import matrix, page


def parser(commands: argparse._SubParsersAction) -> None:
    """Adds the command."""
    command = commands.add_parser("mistakes", help="the catalogue of known mistakes, or one entry")
    command.set_defaults(run=lambda args: mistakes(args.id, args.write))
    command.add_argument("id", nargs="?", metavar="ID", help="such as A04; default: a line for each")
    what = "run all mutants on the shipped cases of these folders (families, ops, tokenizer, masking) and write which "
    what += "are caught; without names on all, and the catalogue's page"
    command.add_argument("--write", metavar="FOLDER", nargs="*", help=what)


def mistakes(id: str | None = None, write: list[str] | None = None) -> None:
    """Prints the catalogue or an entry. write: makes kills.json anew in these folders of shipped cases; in all, and the
    catalogue's page in the reference folder, where the list is empty.
    """
    if write is None:
        print("\n".join(page.shown(id)))
        return
    place, known = files.folder(), kills.folders()
    for name in write:
        there = f"; there are: {', '.join(known)}"
        require(name in known, f"no folder {name!r} of shipped cases{nearest(name, known)}{there}")
    if not write:
        _written(place.parent / "MISTAKES.md", page.markdown())
    for name in write or known:
        _written(place / name / kills.FILE, kills.dumps(matrix.kills(name)))


def _written(path: Path, text: str) -> None:
    atomic.write_text(path, text)
    print(printable(str(path)))
