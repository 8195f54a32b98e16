"""`minibert mistakes [ID]`: the catalogue, one entry, or for developers, with --write [NAME …], the generated files."""

import argparse
from pathlib import Path

from minibert import reading
from minibert.checkpoint import atomic
from minibert.config import nearest, require
from minibert.errors import printable
from minibert.golden import case as files
from minibert.golden import kills
from minibert.mistakes import matrix, page
from minibert.mistakes.catalogue import CATALOGUE
from minibert.options import ending


def parser(commands: argparse._SubParsersAction) -> None:
    """Adds the command."""
    about, examples = "the catalogue of known mistakes, or one entry", ending("mistakes", "mistakes A04")
    command = commands.add_parser("mistakes", help=about, description=f"Prints {about}.", epilog=examples)
    command.set_defaults(run=lambda args: mistakes(args.id, args.write))
    id = command.add_argument("id", nargs="?", metavar="ID", help="such as A04; default: a line for each")
    id.completer = lambda: CATALOGUE
    command.add_argument("--write", metavar="NAME", nargs="*", help=argparse.SUPPRESS)  # see CONTRIBUTING.md


def mistakes(id: str | None = None, write: list[str] | None = None) -> None:
    """Prints the catalogue or an entry. write: makes anew the page and kills.json of these families or folders of
    shipped cases, of all where the list is empty.
    """
    if write is None:
        print("\n".join(page.shown(id)))
        return
    homes, folders = page.homes(), kills.folders()
    known = sorted({*homes, *folders})
    for name in write:
        there = f"; there are: {', '.join(known)}"
        require(name in known, f"no mistakes and no shipped cases of {name!r}{nearest(name, known)}{there}")
    for name in write or known:
        if name in homes:
            _page(name)
    for name in write or known:
        if name in folders:
            _written(files.folder() / name / kills.FILE, kills.dumps(matrix.kills(name)))


def _page(name: str) -> None:
    """Writes a page; InputError where an id that it lists would go or mean another mistake."""
    path = page.path(name)
    lost = page.lost(reading.text(path)) if reading.present(path) else []
    never = "which the catalogue has no more: an id never goes and never means another mistake"
    better = "where only its words changed, change them on the page, too"
    require(not lost, f"{path.name} lists {', '.join(lost)}, {never}; {better}")
    _written(path, page.markdown(name))


def _written(path: Path, text: str) -> None:
    atomic.write_text(path, text)
    print(printable(str(path)))
