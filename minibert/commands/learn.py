"""`minibert learn`: exercises, and what is wrong with somebody's answers."""

import argparse
import sys
from pathlib import Path
from typing import Any

from minibert import learning
from minibert.checkpoint import atomic
from minibert.config import one_of, require
from minibert.errors import printable, shortened
from minibert.options import ending
from minibert.progress import filled

SHEET = "exercises.py"
LONGEST = 300  # characters of a line of a counterexample


def parser(commands: Any) -> None:
    """Adds the command to the command line."""
    about = "exercises: write a model's functions yourself, and hear what is wrong"
    examples = ending("learn", "learn start", "learn check exercises.py", "learn check exercises.py softmax attention",
                      one="a wrong answer")  # fmt: skip
    command = commands.add_parser(
        "learn", help=about, epilog=examples,
        description=f"{len(learning.names())} {about}. `learn` lists them; `learn start` writes a file to fill in, "
        "with the equation of each; `learn check FILE` runs that file and says of each answer that it is right, also "
        "in a whole model, or the name of its mistake with the smallest example.",
    )  # fmt: skip
    command.set_defaults(run=_learn)
    command.add_argument("action", nargs="?", choices=("list", "start", "check"), default="list", help="default: list")
    command.add_argument("file", nargs="?", default=SHEET, metavar="FILE", help=f"the file; default {SHEET}")
    names = command.add_argument("names", nargs="*", metavar="NAME", help="check only these")
    names.completer = learning.names


def _learn(args: argparse.Namespace) -> int:
    return {"list": _list, "start": _start, "check": _check}[args.action](args)


def _list(args: argparse.Namespace) -> int:
    for number, name in enumerate(learning.names(), 1):
        print(filled(f"{number:>2}  {name:<20}{learning.title(name)}", sys.stdout, 24))
    print(f"\nminibert learn start writes them to {SHEET}; minibert learn check {SHEET} says what is right.")
    return 0


def _start(args: argparse.Namespace) -> int:
    path = Path(args.file)
    require(not path.exists(), f"{path} is there already: give another name, or take it away")
    atomic.write_text(path, learning.sheet(path.name))
    said = printable(str(path))
    print(f"{said}: {len(learning.names())} functions to write; then: minibert learn check {said}")
    return 0


def _check(args: argparse.Namespace) -> int:
    for name in args.names:
        one_of("exercise", name, learning.names())
    given = learning.answers(Path(args.file))
    counts = {"right": 0, "wrong": 0, "to do": 0}
    for name in args.names or learning.names():
        verdict = learning.judged(name, given[name]) if name in given else learning.Verdict(name, "to do")
        counts[verdict.state] += 1
        if verdict.state == "to do" and not args.names:
            continue
        said = f"{verdict.state}{': ' if verdict.state == 'wrong' else '; ' if verdict.what else ''}{verdict.what}"
        print(filled(f"{name:<20}{printable(said)}", sys.stdout, 20), flush=True)
        for line in verdict.shown:
            print(filled(" " * 20 + shortened(printable(line), LONGEST), sys.stdout, 24))
    print(f"{counts['right']} right, {counts['wrong']} wrong, {counts['to do']} to do")
    return 1 if counts["wrong"] else 0
