"""`minibert spec [CLAUSE]`: a clause, the mistakes that it prevents, and the golden cases that catch them."""

import argparse
import textwrap
from collections import Counter
from typing import Any

from minibert.config import nearest, require
from minibert.errors import InputError
from minibert.golden import kills
from minibert.golden.cases import recipes
from minibert.golden.clauses import cases, clauses, named
from minibert.mistakes.catalogue import CATALOGUE
from minibert.options import ending

MANY = 24  # cases whose names are all shown


def parser(commands: Any) -> None:
    """Adds the command to the command line."""
    about = "print a clause of the specification, and what goes wrong without it"
    command = commands.add_parser("spec", help=about, description=f"{about.capitalize()}.",
                                  epilog=ending("spec", "spec OP-ATT-2"))  # fmt: skip
    command.set_defaults(run=_spec)
    which = "such as OP-ATT-2; default: a line for each"
    command.add_argument("clause", nargs="?", metavar="CLAUSE", help=which).completer = clauses


def _filled(text: str) -> str:
    """A clause in 79 columns; lines that are indented further than it, such as formulas and tables, as they are."""
    lines = [""]
    for line in text.splitlines():
        if not line.strip() or line.startswith("    "):
            lines += [line.removeprefix("  "), ""]
        else:
            lines[-1] += f" {line.strip()}"
    filled = (line if line.startswith("  ") else textwrap.fill(line.strip(), 77) for line in lines if line)
    return textwrap.indent("\n".join(filled), "  ")


def _spec(args: argparse.Namespace) -> None:
    known = clauses()
    require(bool(known), "the reference files are not installed: no clauses here")
    if args.clause is None:
        for id, clause in known.items():
            print(textwrap.shorten(f"{id:<17}{clause.text}", 79, placeholder=" …"))
        return
    id = args.clause.upper()
    if id not in known:
        raise InputError(f"no clause {args.clause!r}{nearest(id, known)}; `minibert spec` lists them")
    print(f"{id} (minibert docs {known[id].page})")
    print(_filled(known[id].text))
    prevented = [entry for entry in CATALOGUE.values() if id in named(entry.clause)]
    if prevented:
        print("\nmistakes that it prevents (minibert mistakes ID)")
    for entry in prevented:
        print(f"  {entry.id:<9}{entry.title}")
    caught = {f"{folder}/{case}" for entry in prevented for folder, rows in kills.catching(entry.id).items()
              for case in rows}  # fmt: skip
    about = set(cases(known[id], recipes())) - caught
    own = known[id].page.rpartition("/")[2]
    for title, names in (("that catch one of them", caught), ("it is about", about)):
        if names:
            print(f"\ngolden cases {title} (minibert check CASE CANDIDATE)")
            print(textwrap.fill(", ".join(_shown(names, own)), 79, initial_indent="  ", subsequent_indent="  "))


def _shown(names: set[str], own: str) -> list[str]:
    """Where there are many cases, those of the clause's own family or BERT's, of the others their folders, with how
    many.
    """
    if len(names) <= MANY:
        return sorted(names)
    own = own if any(name.startswith(f"{own}/") for name in names) else "bert"
    others = Counter(folder for name in names if (folder := name.partition("/")[0]) != own)
    return [*sorted(name for name in names if name.startswith(f"{own}/")),
            *(f"{folder}/… ({count})" for folder, count in sorted(others.items()))]  # fmt: skip
