"""The command line. Exit codes: 0 fine, 1 a failed check, 2 unusable input (one line on standard error), 130 Ctrl-C."""

import argparse
import pkgutil
import sys
import textwrap
import warnings
from importlib import import_module
from typing import Any, NoReturn

import minibert
from minibert import commands, progress, ranks, streams
from minibert.config import nearest, shown
from minibert.errors import InputError
from minibert.options import ending

HIDDEN = argparse.SUPPRESS


class _Help(argparse.HelpFormatter):
    """Paragraphs are filled; a line that is indented, and the one before it, stay as they are. No name is cut at its
    dashes.
    """

    def _split_lines(self, text: str, width: int) -> list[str]:
        return textwrap.wrap(" ".join(text.split()), width, break_on_hyphens=False)

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        lines = text.splitlines()
        return "\n".join(line if line.startswith(" ") else super(_Help, self)._fill_text(line, width, indent)
                         for line in lines)  # fmt: skip


class _Parser(argparse.ArgumentParser):
    _mixing = False

    def __init__(self, *args: Any, **options: Any):
        super().__init__(*args, **{"formatter_class": _Help, **options})

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Options may stand before, between and after the texts, which plain argparse allows from Python 3.12 on."""
        if complete := self.__dict__.pop("complete", None):
            complete(sys.argv[1:] if args is None else list(args))
        if self._subparsers is not None or self._mixing:
            return super().parse_known_args(args, namespace)
        self._mixing = True
        try:
            namespace, unknown = self.parse_known_intermixed_args(args, namespace)
        finally:
            self._mixing = False
        if unknown:
            words = [word for word in unknown if word.startswith("-")] or unknown
            name = words[0].partition("=")[0]
            known = [option for option, action in self._option_string_actions.items() if action.help is not HIDDEN]
            self.error(f"unrecognized arguments: {' '.join(unknown)}{nearest(name, known)}")
        return namespace, unknown

    def _get_option_tuples(self, option_string: str) -> Any:
        """What an abbreviation may stand for: nothing that help does not show."""
        return [found for found in super()._get_option_tuples(option_string) if found[0].help is not HIDDEN]

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is not None and value not in action.choices:
            there = f"there are: {', '.join(map(str, action.choices))}"
            raise argparse.ArgumentError(action, f"unknown {shown(value)}{nearest(value, action.choices)}; {there}")

    def error(self, message: str) -> NoReturn:
        raise InputError(f"{message}; see {self.prog} --help")


def main(argv: list[str] | None = None) -> int:
    """Runs one command and returns its exit code."""
    with streams.prepared(), warnings.catch_warnings():
        if not sys.warnoptions:  # NumPy's would be lines of their own: what is not finite is refused by name
            warnings.simplefilter("ignore")
        code = _code(argv)
        try:
            sys.stdout.flush()  # here, where what goes wrong can still be said
        except streams.Unwritable as error:
            code = _cut_off(error.__cause__)
    return code


def _code(argv: list[str] | None) -> int:
    try:
        with ranks.joined():
            words = sys.argv[1:] if argv is None else argv
            args = parser(words).parse_args(words)
            return args.run(args) or 0
    except SystemExit as done:  # --help, --version
        return done.code or 0
    except InputError as error:
        return _complain(error)
    except KeyboardInterrupt as interrupt:
        return _complain(str(interrupt) or "interrupted", 130)
    except streams.Unwritable as error:
        return _cut_off(error.__cause__)
    except MemoryError as error:
        return _complain(f"not enough memory{': ' if str(error) else ''}{error}")
    except RecursionError:
        return _complain("what was given is nested too deeply")
    except OSError as error:
        if error.filename is None:
            streams.discard(sys.stdout)  # what is left for it would fail again at the end
        return _complain(f"{f'{error.filename}: ' if error.filename else ''}{error.strerror or error}")


def _cut_off(error: OSError) -> int:
    """The exit code where standard output takes no more: 0 where its reader has seen enough."""
    streams.discard(sys.stdout)
    return 0 if isinstance(error, BrokenPipeError) else _complain(f"standard output: {error.strerror or error}")


def _complain(message: object, code: int = 2) -> int:
    progress.note(f"{'error: ' if code == 2 else ''}{InputError(message)}")
    return code


def parser(words: list[str]) -> argparse.ArgumentParser:
    """The parser of the command that the words begin with, else of all there are."""
    about = "A NumPy-only reference engine of pre-trained language models."
    examples = ending("check bert/published wrong-torch-port", "pretrain bert", "COMMAND --help", one="a difference")
    parser = _Parser(prog="minibert", description=about, epilog=examples)
    parser.add_argument("--version", action="version", version=f"minibert {minibert.__version__}")
    inner = parser.add_subparsers(title="commands", required=True, metavar="COMMAND", parser_class=_Parser)
    names = sorted(module.name for module in pkgutil.iter_modules(commands.__path__))
    named = words[0].replace("-", "_") if words else ""
    for name in [named] if named in names and "_" not in words[0] else names:
        import_module(f"{commands.__name__}.{name}").parser(inner)
    return parser
