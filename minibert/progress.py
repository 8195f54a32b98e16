"""What takes long says what it is doing, on standard error; and how wide a line on a terminal may be.

On a terminal that is one line, which renews itself at most twice a second, is cut to the terminal's width, and goes
when the work is done or when something else is printed. Elsewhere a kept line is printed now and then, others never.
"""

import os
import re
import sys
import textwrap
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

from minibert.errors import printable

T = TypeVar("T")

REDRAWN, PRINTED = 0.5, 5.0  # seconds between two lines: on a terminal, elsewhere
BAR = (10, 30)  # columns of the bar, from and to
_standing: list[int] = []  # the columns of the line that stands on the terminal, where one does


class Progress:
    """A count that grows to a total: `step 120/3000  [####------]  4:12 left  loss 5.123  …`.

    done: where it begins; kept: the last line stays, and off a terminal a line is printed every PRINTED seconds.
    """

    def __init__(self, what: str, total: int, done: int = 0, kept: bool = False):
        self.what, self.total, self.first, self.kept = what, total, done, kept
        self.terminal, self.start = sys.stderr.isatty(), time.perf_counter()
        self.last = self.start - REDRAWN if self.terminal else self.start
        self.show(done)

    def show(self, done: int, *details: str, made: Callable[[], Iterable[str]] | None = None) -> None:
        """Where the work stands, with details, the most important first; made: gives further ones where they are said.
        Where it cannot be said, the work goes on.
        """
        now = time.perf_counter()
        ended = self.kept and done == self.total > self.first
        if ended or now - self.last >= (REDRAWN if self.terminal else PRINTED):
            self.last = now
            each = (now - self.start) / (done - self.first) if done > self.first else None
            left = "" if each is None else f"{clock(each * (self.total - done))} left"
            details = (*details, *(made() if made else ()))
            with suppress(OSError):
                if self.terminal:
                    draw(self._line(done, details, left, columns()))
                elif self.kept:
                    said = filter(None, (f"{self.what} {done}/{self.total}", *details, left))
                    print(*said, sep="  ", file=sys.stderr, flush=True)

    def _line(self, done: int, details: tuple[str, ...], left: str, width: int) -> str:
        """What fits into so many columns: the first detail and the time before the bar, the other details last."""
        count = f"{self.what} {done}/{self.total}"
        room, held = width - len(count), []
        first, *others = details or ("",)
        for piece in (first, left, f"[{' ' * BAR[0]}]", *others):
            fits = len(piece) + 2 <= room
            held.append(piece * fits)
            room -= (len(piece) + 2) * (fits and piece != "")
        first, left, bar, *others = held
        if bar:
            wide = min(BAR[0] + room, BAR[1])
            full = wide * done // max(1, self.total)
            bar = f"[{'#' * full}{'-' * (wide - full)}]"
        return "  ".join(filter(None, (count, bar, left, first, *others)))[:width]

    def close(self) -> None:
        """Leaves a kept line standing, and no other."""
        if self.kept:
            leave()
        clear()


def over(items: Iterable[T], what: str, total: int | None = None, kept: bool = False) -> Iterator[T]:
    """The items, counted as each is done with; total: how many there are, where they are no collection."""
    progress = Progress(what, len(items) if isinstance(items, Collection) else total or 0, kept=kept)
    try:
        for done, item in enumerate(items, 1):
            yield item
            progress.show(done)
    finally:
        progress.close()


@contextmanager
def doing(what: str) -> Iterator[None]:
    """Inside, a terminal says what is done, which nothing counts."""
    if sys.stderr.isatty():
        with suppress(OSError):
            draw(f"{printable(what)} ..."[: columns()])
    try:
        yield
    finally:
        clear()


def leave() -> None:
    """Ends the line that stands on the terminal: it stays."""
    with suppress(OSError):
        if _standing:
            _standing.clear()
            print(file=sys.stderr, flush=True)


def clear() -> None:
    """Takes away the line that stands on the terminal, before something else is printed."""
    if _standing:
        with suppress(OSError):
            print(f"\r{' ' * _standing.pop()}\r", end="", file=sys.stderr, flush=True)


def draw(line: str) -> None:
    """The line in the place of the one that stands, on a terminal."""
    before = _standing.pop() if _standing else 0
    print(f"\r{line:<{before}}", end="", file=sys.stderr, flush=True)
    _standing.append(len(line))


def note(said: str) -> None:
    """Something that its reader has to know, on standard error."""
    print(filled(f"minibert: {printable(said)}", sys.stderr), file=sys.stderr)


def filled(line: str, stream: Any, indent: int | None = None) -> str:
    """The line as the stream gets it: on a terminal that it is too wide for several, broken between words; in a file
    or a pipe one. indent: blanks before the second line and those after it; unless given, two more than the first has.
    """
    if not stream.isatty() or len(re.sub("\x1b[^m]*m", "", line)) <= columns(stream):
        return line
    before = " " * (len(line) - len(line.lstrip(" ")) + 2 if indent is None else indent)
    room = max(columns(stream), len(before) + 20)  # in a narrower terminal it does break
    return textwrap.fill(line, room, subsequent_indent=before, break_long_words=False, break_on_hyphens=False)


def columns(stream: Any = None) -> int:
    """Of the terminal, standard error's unless given, but for the last, behind which some terminals begin a line."""
    try:
        terminal = (sys.stderr if stream is None else stream).fileno()
        return max(1, (os.get_terminal_size(terminal).columns or 80) - 1)
    except (AttributeError, OSError, ValueError):
        return 79


def clock(seconds: float) -> str:
    """Hours, minutes and seconds: 4:12, 1:04:12."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
