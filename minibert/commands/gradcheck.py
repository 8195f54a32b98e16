"""`minibert gradcheck`: every hand-written gradient, against differences and 50 digits."""

import argparse
from typing import Any

from minibert import gradcheck
from minibert.config import one_of, whole
from minibert.options import ending
from minibert.progress import over


def parser(commands: Any) -> None:
    """Adds the command to the command line."""
    about = "check every hand-written gradient"
    examples = ending("gradcheck", "gradcheck layer_norm attention bert", one="a gradient is wrong")
    more = "Against finite differences, and against derivatives at 50 digits."
    command = commands.add_parser(
        "gradcheck", help=about, description=f"{about.capitalize()}. {more}", epilog=examples
    )
    command.set_defaults(run=_gradcheck)
    names = command.add_argument("names", nargs="*", metavar="NAME", help="ops, blocks or families; default: all")
    names.completer = gradcheck.known
    command.add_argument("--seed", type=int, default=0, metavar="N", help="of what is drawn; default 0")


def _gradcheck(args: argparse.Namespace) -> int:
    whole("--seed", args.seed)
    for name in args.names:
        one_of("name", name, gradcheck.known())
    exact = gradcheck.doubles() is not None
    print("max|error| / max|gradient| of every hand-written backward, float64")
    print(f"  {'pair':<21}{'gradient of':<32}{'differences':>12}{'50 digits':>12}")
    failed = checked = 0
    chosen = over([*dict.fromkeys(args.names or gradcheck.known())], "checked")
    for name, argument, difference, truth in (row for one in chosen for row in gradcheck.table([one], args.seed)):
        wrong = difference > gradcheck.DIFFERENCE_BAR or (truth or 0) > gradcheck.EXACT_BAR
        shown = "" if truth is None else f"{truth:12.1e}"
        print(f"  {name:<21}{argument:<32}{difference:>12.1e}{shown:>12}{'  WRONG' if wrong else ''}", flush=True)
        failed, checked = failed + wrong, checked + 1
    print(f"{checked - failed} of {checked} right (bars: {gradcheck.DIFFERENCE_BAR}, {gradcheck.EXACT_BAR})")
    if not exact:
        print("The scalar-loop doubles are not installed, so there is no 50-digit column.")
    return 1 if failed else 0
