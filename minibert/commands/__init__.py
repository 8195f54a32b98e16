"""One file, one command of the command line, found by its name: `minibert fill-mask` is `minibert.commands.fill_mask`.

Each has `parser(commands)`, which adds the command to argparse's sub-parsers and sets `run`, a function of the parsed
arguments that returns the exit code, None for 0. A parser's `complete(words)`, where it is set, is called with the
command's words before they are parsed. Its help ends with `options.ending`. An argument has the values that shells
complete as `choices`, or gives them when its `completer()` is called. What may take longer than two seconds says so
through `progress`.
"""

import argparse
import contextlib
import json
from collections.abc import Iterator
from dataclasses import fields
from typing import Any

import minibert
from minibert.errors import LONGEST, InputError, printable, shortened
from minibert.progress import doing, note


@contextlib.contextmanager
def opened(directory: Any) -> Iterator[Any]:
    """The model of a directory, published or of a run or in eight bits, to answer with; in the end `say_left`."""
    with contextlib.ExitStack() as stack:
        with doing(f"loading {directory}"):
            model = stack.enter_context(minibert.quantization.opened(directory))
        yield model
    say_left(directory, model)


def say_left(directory: Any, model: Any) -> None:
    """One line on standard error about the tensors that nobody here knows, where the model has left any: at the end,
    so that an error stands alone.
    """
    if model.left:
        more = f" and {len(model.left) - 4} more" if len(model.left) > 4 else ""
        said = f"{directory}: read without {', '.join(model.left[:4])}{more}, of a head that is not known here"
        note(shortened(printable(said), LONGEST))


METAVARS = {int: "N", float: "X", str: "NAME", bool: ""}


def add_options(group: Any, options: type, defaults: dict[str, Any]) -> None:
    """An argument for each option."""
    for option in fields(options):
        about = option.metadata
        default = defaults.get(option.name, option.default)
        number = f"{default:g}" if isinstance(default, float) else default
        shown = ("no", "yes")[default] if option.type is bool else "none" if default == "" else number
        among = f": {', '.join(filter(None, about['among']))}" if about["among"] else ""
        help = f"{about['help']}{among}; default {shown}".replace("%", "%%")
        type = given if "" in (option.default, default) else option.type
        kind = {"type": type, "metavar": "FILE" if about["file"] else METAVARS[option.type]}
        kind = {"action": argparse.BooleanOptionalAction} if option.type is bool else kind
        group.add_argument(flag(option.name), help=help, **kind)


def given(text: str) -> str:
    """The value of an option that may be left out: "none", as its help says, is none."""
    return "" if text == "none" else text


def flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def field_values(texts: list[str]) -> dict[str, Any]:
    """Config fields from FIELD=VALUE: numbers, true, false and null as JSON has them, else text."""
    values: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals:
            raise InputError(f"--set {text!r}: write FIELD=VALUE")
        try:
            values[name] = json.loads(value)
        except (ValueError, RecursionError):
            values[name] = value
    return values
