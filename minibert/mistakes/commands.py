"""`minibert mistakes [ID]`: the catalogue, one entry, or for developers, with --write [NAME …], the generated
files; with --try FILE.py [ID], entries to be contributed.
"""

import argparse
import importlib.util
import textwrap
from pathlib import Path

import minibert
from minibert import reading
from minibert.checkpoint import atomic
from minibert.config import nearest, require
from minibert.errors import InputError, printable
from minibert.golden import case as files
from minibert.golden import clauses, kills
from minibert.mistakes import counterexample, matrix, ops, page
from minibert.mistakes.catalogue import CATALOGUE
from minibert.options import ending
from minibert.progress import over


def parser(commands: argparse._SubParsersAction) -> None:
    """Adds the command."""
    about = "the catalogue of known mistakes, or one entry"
    examples = ending("mistakes", "mistakes A04", "mistakes A04 --show", "mistakes --try FILE.py",
                      one="no case catches a mistake of the file")  # fmt: skip
    command = commands.add_parser("mistakes", help=about, description=f"Prints {about}.", epilog=examples)
    command.set_defaults(run=_run)
    id = command.add_argument("id", nargs="?", metavar="ID", help="such as A04; default: a line for each")
    id.completer = lambda: CATALOGUE
    brief = "the entry in eight lines: a number that is right, and the one that comes out"
    command.add_argument("--show", action="store_true", help=brief)
    which = "entries of your own, to be contributed, or ID of them: which golden cases catch them (the file is run)"
    command.add_argument("--try", dest="file", metavar="FILE.py", help=which)
    command.add_argument("--write", metavar="NAME", nargs="*", help=argparse.SUPPRESS)  # see CONTRIBUTING.md


def _run(args: argparse.Namespace) -> int | None:
    if args.show:
        require(args.file is None, "--show and --try are both given; give one")
        require(args.id is not None, "--show takes an ID, as in `minibert mistakes A04 --show`")
        print("\n".join(counterexample.lines(page.spelled(args.id))))
        return None
    return mistakes(args.id, args.write) if args.file is None else tried(args.file, args.id)


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


def tried(file: str, id: str | None = None) -> int:
    """Enters the mistakes of a file for this process, and prints each, or that one, with the shipped cases that catch
    it; 1 where one is caught by none.
    """
    entries, missed, unmade = _entered(Path(file)), [], []
    if id is not None:
        require(id in entries, f"{file} enters no {id!r}{nearest(id, entries)}; it enters: {', '.join(entries)}")
        entries = [id]
    caught = {folder: matrix.kills(folder, entries) for folder in over(kills.folders(), "folders of cases")}
    for id in entries:
        print("\n".join(page.shown(id)[:-1]))  # without what is known of shipped ones
        rows = [f"{folder} {' '.join(held[id])}" for folder, held in caught.items() if id in held]
        print(textwrap.fill(f"  caught by {'; '.join(rows) or 'no case'}", 79, subsequent_indent="    ") + "\n")
        if not rows and CATALOGUE[id].shows != "nowhere":
            (missed if _made(id) else unmade).append(id)
    if unmade:
        print(f"{', '.join(unmade)}: no case's computation has what it replaces: look at the op's or the block's name")
    if missed:
        print(f"no shipped case shows {', '.join(missed)}: make the mistake larger, or ship a case that does")
    if missed or unmade:
        return 1
    print("to contribute it: move the file to minibert/mistakes/ops/ and run `minibert mistakes --write ops`")
    return 0


def _made(id: str) -> bool:
    """Whether some shipped case has mutants of an entry."""
    return any(matrix.trials(files.read(case))(CATALOGUE[id]) for case in files.shipped())


def _entered(path: Path) -> list[str]:
    """The ids that a file enters."""
    require(path.is_file() and path.suffix == ".py", f"{path} is no file FILE.py with entries (see CONTRIBUTING.md)")
    before = set(CATALOGUE)
    spec = importlib.util.spec_from_file_location(f"{ops.__name__}.{path.stem}", path)
    try:
        spec.loader.exec_module(importlib.util.module_from_spec(spec))
    except Exception as error:
        raise InputError(f"{path}: {type(error).__name__}: {error}") from None
    found = [id for id in CATALOGUE if id not in before]
    require(bool(found), f"{path}: enters no mistake: call minibert.mistakes.catalogue.entry")
    require(all(CATALOGUE[id].executable for id in found), f"{path}: an entry without mutants shows nothing")
    known = clauses.clauses()
    for id in found:
        for clause in clauses.named(CATALOGUE[id].clause) if known else ():
            require(clause in known, f"{path}: {id}: the spec has no clause {clause}{nearest(clause, known)}")
    return found


def _page(name: str) -> None:
    """Writes a page; InputError where an id that it lists would go or mean another mistake."""
    path = page.path(name)
    lost = page.lost(reading.text(path)) if reading.present(path) else []
    never = "which the catalogue has no more: an id never goes and never means another mistake"
    better = "where only its words changed, change them on the page, too"
    require(not lost, f"{path.name} lists {', '.join(lost)}, {never}; {better}")
    _written(path, page.markdown(name))


def _written(path: Path, text: str) -> None:
    running = Path(minibert.__file__).resolve().parent
    beside = any(path.resolve().is_relative_to(place / "reference") for place in (running, running.parent))
    own = "install this copy with `pip install -e .` in an environment of its own"
    require(beside, f"{path}: not beside the minibert that runs, {running}: {own}")
    atomic.write_text(path, text)
    print(printable(str(path)))
