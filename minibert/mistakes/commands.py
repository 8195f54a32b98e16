"""`minibert mistakes [ID]`: the catalogue, one entry, or with --write the generated pages."""

import argparse

from minibert.checkpoint import atomic
from minibert.errors import printable
from minibert.golden import case as cases
from minibert.mistakes import matrix, page


def parser(commands: argparse._SubParsersAction) -> None:
    """Adds the command."""
    command = commands.add_parser("mistakes", help="the catalogue of known mistakes, or one entry")
    command.set_defaults(run=lambda args: mistakes(args.id, args.write))
    command.add_argument("id", nargs="?", metavar="ID", help="such as A04; default: a line for each")
    command.add_argument(
        "--write", action="store_true", help="run all mutants on all shipped cases and write the generated pages"
    )


def mistakes(id: str | None = None, write: bool = False) -> None:
    """Prints the catalogue or an entry; write: makes the generated pages of the reference folder anew, and says in each
    case's flags which entries it catches.
    """
    if not write:
        print("\n".join(page.shown(id)))
        return
    place, found = cases.folder().parent, matrix.matrix()
    for name, text in (
        ("MISTAKES.md", page.markdown()),
        ("kill-matrix.json", matrix.dumps(found)),
        ("kill-matrix.md", matrix.page(found)),
    ):
        atomic.write_text(place / name, text)
        print(printable(str(place / name)))
    flagged(found)


def flagged(found: dict) -> None:
    """The flags of every shipped case, from the kill matrix read the other way."""
    for path in cases.shipped():
        case = cases.read(path)
        rows = found["mistakes"].items()
        flags = sorted(id for id, row in rows if row.get(case.name, {}).get("caught"))
        if flags != case.facts["flags"]:
            cases.renewed(case, flags=flags)
