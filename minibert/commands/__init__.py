"""One file, one command of the command line, found by its name: `minibert fill-mask` is `minibert.commands.fill_mask`.

Each has `parser(commands)`, which adds the command to argparse's sub-parsers and sets `run`, a function of the parsed
arguments that returns the exit code, None for 0. A parser's `complete(words)`, where it is set, is called with the
command's words before they are parsed.
"""

import sys
from typing import Any

import minibert
from minibert.errors import printable


def load(directory: Any) -> Any:
    """The model of a directory; what was left in it is said on standard error, in one line."""
    model = minibert.load(directory)
    say_left(directory, model)
    return model


def say_left(directory: Any, model: Any) -> None:
    """One line about the tensors that nobody here knows, if the directory has any."""
    if model.left:
        names = f"{', '.join(model.left[:4])}{f' and {len(model.left) - 4} more' if len(model.left) > 4 else ''}"
        said = f"{directory}: read without {names}, of a head that is not known here"
        print(f"minibert: {printable(said)}", file=sys.stderr)
