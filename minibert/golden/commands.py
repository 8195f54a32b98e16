"""`minibert golden make | list | verify`: what the commands do, and their arguments."""

import inspect
import re
import sys
import textwrap
from pathlib import Path
from typing import Any

from minibert import families, reading
from minibert.checkpoint import directory, strictjson
from minibert.config import nearest, require, shown
from minibert.errors import InputError, printable
from minibert.golden import answer, cases, failures
from minibert.golden import case as files
from minibert.golden import make as making
from minibert.golden.case import Case
from minibert.options import ending
from minibert.pairs import PAIRS
from minibert.progress import doing, filled, over

KINDS = ("family", "block", "op")


def parsers(commands: Any) -> None:
    """Adds `golden` and its commands to the command line."""
    examples = ending("golden list", "golden verify", "golden make bert -o mine", one="a case comes out otherwise")
    golden = commands.add_parser("golden", help="golden cases: make, list, replay", epilog=examples)
    inner = golden.add_subparsers(title="commands", required=True, metavar="COMMAND")

    examples = ending(
        "golden make bert -o mine", "golden make gelu --kind op -o gelu",
        "golden make gelu --from-failure FILE -o case", "golden make --from DIR --text texts.txt -o case",
    )  # fmt: skip
    command = inner.add_parser("make", help="make a case", epilog=examples)
    fields = ("name", "out", "kind", "config", "seed", "source", "text", "pair", "failure")
    command.set_defaults(run=lambda args: make(*(getattr(args, name) for name in fields)))
    what = "a family, with --kind op an op; a shipped case to make it again, or 'all' those that changed"
    name = command.add_argument("name", nargs="?", metavar="FAMILY", help=what)
    name.completer = lambda: [*families.names(), *cases.recipes(), "all"]
    command.add_argument("-o", "--out", required=True, metavar="DIR", help="the case's folder")
    command.add_argument("--kind", choices=KINDS, default="family", help="what the case is of; default family")
    which = "with --kind block: which one; default encoder_layer"
    command.add_argument("--pair", metavar="BLOCK", default="encoder_layer", help=which)
    command.add_argument("--config", metavar="FILE", help="a config.json with fields to change")
    command.add_argument("--seed", type=int, default=0, metavar="N", help="of what is drawn; default 0")
    command.add_argument("--from", dest="source", metavar="DIR", help="a published directory; no weights are copied")
    command.add_argument("--text", metavar="FILE", help="with --from: UTF-8, one text a line")

    which = "an op's arguments, as `pytest --minibert-failures DIR` keeps those of a failed test"
    command.add_argument("--from-failure", dest="failure", metavar="FILE", help=which)

    command = inner.add_parser("list", help="the shipped cases", epilog=ending("golden list"))
    command.set_defaults(run=lambda args: listing())

    examples = ending("golden verify", "golden verify bert/published ops/gelu", one="a case comes out otherwise")
    command = inner.add_parser("verify", help="compute cases again and compare", epilog=examples)
    command.set_defaults(run=lambda args: verify(args.cases, args.weights))
    which = "folders or names; default: all shipped cases"
    command.add_argument("cases", nargs="*", metavar="CASE", help=which).completer = files.names
    command.add_argument("--weights", metavar="DIR", help="the published directory of cases made --from one")


def make(
    name: str | None,
    out: Any,
    kind: str = "family",
    config: Any = None,
    seed: int = 0,
    source: Any = None,
    text: Any = None,
    pair: str = "encoder_layer",
    failure: Any = None,
) -> int:
    """Makes a case of a family, an op or a published directory, or shipped cases again, and says what it made."""
    require(0 <= seed < 2**63, f"--seed {seed}: 0 or more, below 2^63")
    if source is not None:
        require(name is None, "--from DIR takes no FAMILY: the directory says it")
        require(text is not None, "--from DIR needs --text FILE")
        with doing(f"making a case over {source}"):
            made = making.pipeline(source, _texts(text), out, _name(out), seed)
        _said(made)
        return 0
    require(text is None, "--text goes with --from DIR")
    require(name is not None, "say which: a family, or --from DIR")
    known = cases.recipes()
    if failure is not None:
        require(config is None, "--from-failure takes no --config: the file has the constants")
        _said(making.make(_name(out), failures.recipe(name, failure, seed), out))
    elif name == "all":
        left = []
        for each in over(known, "cases"):
            place = Path(out) / each
            if making.stands(each, place) is None:
                _said(making.shipped(each, place))
            else:
                left.append(each)
        print(f"{_cases(left)} left as they were" if len(left) != 1 else "1 case left as it was")
    elif name in known:
        with doing(f"making {name} again"):
            made = making.shipped(name, out)
        _said(made)
    else:
        recipe = cases.of(name, kind, _fields(name, kind, config), seed, pair)
        try:
            with doing(f"making {name}: its tensors, its truth, its noise floors"):
                made = making.make(_name(out), recipe, out)
            _said(made)
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            if isinstance(error, InputError) or kind != "op" or config is None:
                raise
            raise InputError(f"{config}: the op {name} cannot be computed with these constants: {error}") from None
    return 0


def _name(out: Any) -> str:
    """The case's name from its folder."""
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", Path(out).resolve().name).lstrip("-._")
    require(bool(name), f"{out}: the folder's name needs a letter or digit")
    return name


def _fields(name: str, kind: str, path: Any) -> dict[str, Any]:
    """The fields of a config.json that carry mathematics."""
    if kind != "op" and name not in families.names() and "+" not in name:  # a family and a task
        hint = "; for an op add --kind op" if name in PAIRS else ""
        near = nearest(name, [*families.names(), *cases.recipes()])
        raise InputError(
            f"no family {name!r}{hint or near}; there are: {', '.join(families.names())}, and `golden list`'s cases"
        )
    if path is None:
        return {}
    parsed = strictjson.loads if kind == "op" else strictjson.as_written
    fields = parsed(reading.contents(path), str(path))
    require(isinstance(fields, dict), f"{path} is not a JSON object")
    if kind == "op":
        require(name in PAIRS, f"no op {shown(name)}{nearest(name, PAIRS)}; there are: {', '.join(PAIRS)}")
        constants = list(inspect.signature(PAIRS[name].forward).parameters)[len(PAIRS[name].arguments) :]
        for field in fields:
            hint = f"; it takes: {', '.join(constants) or 'none'}"
            require(field in constants, f"{path}: the op {name} has no constant {shown(field)}{hint}")
        return fields
    return directory.mathematical(fields, families.family(name))


def _texts(path: Any) -> list[str]:
    return [line for line in reading.text(path).splitlines() if line.strip()]


def _said(case: Case) -> None:
    print(filled(printable(f"{case.path}: {_row(case)}"), sys.stdout), flush=True)


def _row(case: Case) -> str:
    size = sum(file.stat().st_size for file in case.path.iterdir()) / 1024
    facts, counted = case.facts, f"{answer.tensors(len(case.entries)):<7}".rjust(13)
    return f"{facts['kind']:<11}{facts['dtype']:<9}{counted} {size:>6.0f} kB  {facts['title']}"


def listing() -> int:
    """Prints every shipped case with its precision and what is particular in it, in 80 columns."""
    for path in files.shipped():
        case = files.read(path)
        row = f"{case.name:<27}{case.facts['dtype']:<9}{case.facts['title']}"
        print(textwrap.fill(printable(row), 79, subsequent_indent=" " * 36))
    return 0


def verify(names: list[str], weights: Any = None) -> int:
    """Computes the cases again; 1 where a number differs by more than float64 rounding, which BLAS builds may."""
    fine, unseen, failed = [], [], []
    for name in over(names or files.shipped(), "cases"):
        case = files.read(name)
        lines = making.verify(case, weights)
        absent = making.needs_weights(case) and weights is None
        outcome = "needs --weights DIR" if absent else "fine" if not lines else f"{len(lines)} differ"
        (unseen if absent else failed if lines else fine).append(case.name)
        print(printable(f"{case.name:<28}{outcome}"))
        for line in lines[:5]:
            print(filled(printable(f"  {line}"), sys.stdout))
    told = f"{len(fine)} of {len(fine + failed)} cases fine" if failed else f"{_cases(fine)} fine"
    told += f"; different: {', '.join(failed)}" if failed else ""
    told += f"; {_cases(unseen)} not computed: say --weights DIR" if unseen else ""
    print(filled(printable(told), sys.stdout))
    return 1 if failed else 0


def _cases(names: list[str]) -> str:
    return f"{len(names)} case{'' if len(names) == 1 else 's'}"
