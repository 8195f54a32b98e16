"""`minibert clean`: C4's cleaning rules as a filter."""

import argparse
import json
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from importlib import import_module
from itertools import chain
from typing import Any

from minibert import cleaning, corpus, reading, streams
from minibert.config import require, shown
from minibert.errors import InputError, printable
from minibert.options import ending
from minibert.progress import doing


def parser(commands: Any) -> None:
    """Adds the command to the command line."""
    about = "what of web pages is text, by the rules of C4"
    more = "Pages have a blank line between them, or are JSON lines. What each rule took is said on standard error."
    examples = ending(
        "clean pages.txt > text.txt", "clean --json < pages.jsonl --bad-words words.txt",
        "clean pages.txt --min-sentences 5 --min-words 3", "clean pages.txt --language mine:is_english",
    )  # fmt: skip
    command = commands.add_parser("clean", help=about, description=f"Writes {about}. {more}", epilog=examples)
    command.set_defaults(run=_clean)
    command.add_argument("file", nargs="*", metavar="FILE", help="UTF-8; default: standard input")
    command.add_argument("--json", action="store_true", help='one JSON object a page, of which "text" is cleaned')
    command.add_argument("--min-words", type=int, default=5, metavar="N", help="words of a line, default 5")
    command.add_argument("--min-sentences", type=int, default=3, metavar="N", help="sentences of a page, default 3")
    listed = "no page with one of these words, one a line; none are known without it"
    command.add_argument("--bad-words", metavar="FILE", help=listed)
    check = "no page of which this Python function, given its text, says False"
    command.add_argument("--language", metavar="MODULE:FUNCTION", help=check)
    command.add_argument("--duplicates", action="store_true", help="keep three sentences that stood before")


def _clean(args: argparse.Namespace) -> None:
    for name in ("min_words", "min_sentences"):
        value = getattr(args, name)
        require(value >= 0, f"--{name.replace('_', '-')} {shown(value)}: at least 0")
    bad = reading.text(args.bad_words).splitlines() if args.bad_words else ()
    given = {"min_words": args.min_words, "min_sentences": args.min_sentences, "bad_words": bad,
             "language": _function(args.language), "duplicates": args.duplicates}  # fmt: skip
    counts: Counter[str] = Counter()
    lines = chain.from_iterable(_of(path, args.json) for path in args.file or [None])
    with doing("cleaning"):
        for text in _objects(lines, counts, given) if args.json else _texts(lines, counts, given):
            print(text)
    sys.stdout.flush()
    for line in report(counts):
        print(line, file=sys.stderr)


def _of(path: str | None, objects: bool) -> Iterator[str]:
    """The lines of a file, with a blank one at its end: no page goes over it."""
    yield from streams.lines(path)
    if not objects:
        yield ""


def _texts(lines: Iterable[str], counts: Counter[str], given: dict[str, Any]) -> Iterator[str]:
    """The pages that are left of text, a blank line behind each."""
    for page in cleaning.cleaned(_pages(lines), counts, **given):
        if page:
            yield "\n".join([*page, ""])


def _pages(lines: Iterable[str]) -> Iterator[cleaning.Page]:
    """The lines between blank ones; more than corpus.BLOCK characters are several pages."""
    page: list[str] = []
    room = corpus.BLOCK
    for line in lines:
        if line.strip():
            page.append(line)
            room -= len(line)
        if page and (room <= 0 or not line.strip()):
            yield page
            page, room = [], corpus.BLOCK


def _objects(lines: Iterable[str], counts: Counter[str], given: dict[str, Any]) -> Iterator[str]:
    """The objects whose pages are left, with the text that is."""
    waiting: list[dict[str, Any]] = []

    def pages() -> Iterator[cleaning.Page]:
        for number, line in enumerate(lines, start=1):
            if line.strip():
                waiting.append(_object(line, number))
                yield waiting[-1]["text"].splitlines()

    for page in cleaning.cleaned(pages(), counts, **given):
        held = waiting.pop()
        if page:
            yield json.dumps({**held, "text": "\n".join(page)})


def _object(line: str, number: int) -> dict[str, Any]:
    try:
        held = json.loads(line)
    except (ValueError, RecursionError):
        held = None
    fits = isinstance(held, dict) and isinstance(held.get("text"), str)
    require(fits, f'line {number} is no page: expected {{"text": …}}, got {shown(line[:40])}')
    return held


def _function(name: str | None) -> Callable[[str], bool] | None:
    """The function that an argument names."""
    if name is None:
        return None
    module, _, function = name.partition(":")
    try:
        found = getattr(import_module(module), function)
    except (ImportError, AttributeError, ValueError, TypeError) as error:
        raise InputError(f"--language {shown(name)}: {error}: write MODULE:FUNCTION, as Python finds it") from None
    require(callable(found), f"--language {shown(name)}: it is no function")
    return found


def report(counts: Counter[str]) -> list[str]:
    """A line for each rule that took something, and what is left."""
    taken = [f"{rule:<15}{counts[rule]:>12,} {what}" for rule, what in cleaning.RULES.items() if counts[rule]]
    kept = (f"{counts[f'kept {what}']:,} of {counts[what]:,} {what}" for what in (cleaning.PAGE, cleaning.LINE))
    return [printable(line) for line in (*taken, f"{'kept':<15}{' and '.join(kept)}")]
