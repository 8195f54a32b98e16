"""The standard streams, whatever state the caller left them in: closed, full, without a reader, in any encoding."""

import codecs
import os
import stat
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any, BinaryIO

from minibert import progress, reading
from minibert.errors import InputError

INPUT = "standard input"
LINE = 1 << 24  # bytes of a line of text: far more tokens than any model takes
CHUNK = 1 << 16  # bytes that are read at once, what a pipe holds


class Unwritable(OSError):
    """Standard output took no more; the cause is the system's own error."""


class _Output:
    """A stream whose failure to write is `Unwritable`, or passed over: nobody reads what is said on standard error."""

    def __init__(self, stream: Any, needed: bool):
        self._stream, self._needed = stream, needed

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        progress.clear()
        return self._tried(self._stream.write, text)

    def flush(self) -> None:
        self._tried(self._stream.flush)

    def _tried(self, action: Any, *arguments: Any) -> Any:
        try:
            return action(*arguments)
        except OSError as error:
            if self._needed:
                raise Unwritable(error.errno, error.strerror or str(error)) from error
            discard(self._stream)


@contextmanager
def prepared() -> Iterator[None]:
    """Inside, the three streams exist, what the terminal's encoding lacks is escaped, and failures are as in `_Output`.

    A stream that was closed fails when it is used, as it should; its number is not left to the next file opened.
    """
    before = sys.stdin, sys.stdout, sys.stderr
    for name, lost, mode in (("stdin", os.O_WRONLY, "r"), ("stdout", os.O_RDONLY, "w"), ("stderr", os.O_WRONLY, "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(os.open(os.devnull, lost), mode, encoding="utf-8"))
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    sys.stdout, sys.stderr = _Output(sys.stdout, needed=True), _Output(sys.stderr, needed=False)
    try:
        yield
    finally:
        sys.stdin, sys.stdout, sys.stderr = before


def discard(stream: Any) -> None:
    """Whatever the stream holds and gets goes nowhere: it would fail once more when Python ends."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def lines(path: str | None) -> Iterator[str]:
    """Lines of a UTF-8 file, or of standard input for None, without their ends, as they come.

    InputError where a line is not UTF-8 or has more than LINE bytes: they are kept one at a time.
    """
    with ExitStack() as closing:
        if path is None:
            name, file = INPUT, _input()
        else:
            name, file = str(path), closing.enter_context(reading.opened(path))
        yield from _decoded(file, name)


def arriving(most: int) -> Iterator[list[str]]:
    """Lines of standard input, as `lines` has them, at once: those together that have come, `most` of them at most."""
    file, come = _Arrived(_input()), []
    for line in _decoded(file, INPUT):
        come.append(line)
        if not file.more() or len(come) == most:
            yield come
            come = []
    if come:
        yield come


class _Arrived:
    """A stream that knows whether a whole line more has come already."""

    def __init__(self, stream: BinaryIO):
        self._stream, self._held = stream, bytearray()

    def readline(self, most: int) -> bytes:
        """The next line, or `most` bytes of it."""
        while not self.more() and len(self._held) < most and (come := self._stream.read1(CHUNK)):
            self._held += come
        end = self._held.find(b"\n", 0, most) + 1 or most
        line = bytes(self._held[:end])
        del self._held[:end]
        return line

    def more(self) -> bool:
        """Whether a line can be read without waiting."""
        return b"\n" in self._held


def _input() -> BinaryIO:
    if sys.stdin.isatty():
        print("reading from the keyboard: a text a line; Ctrl-D (Windows: Ctrl-Z, Enter) ends", file=sys.stderr)
    return sys.stdin.buffer


def _decoded(file: Any, name: str) -> Iterator[str]:
    start, number = 0, 1
    while line := _line(file, name):
        if len(line) > LINE:
            raise InputError(f"{name}: line {number} has more than {LINE} bytes: one text a line")
        try:
            text = line.removeprefix(codecs.BOM_UTF8 if number == 1 else b"").decode("utf-8")
        except UnicodeDecodeError as error:
            bom = 3 if number == 1 and line.startswith(codecs.BOM_UTF8) else 0
            raise InputError(f"{name} is not UTF-8: byte {start + bom + error.start}, in line {number}") from None
        yield text.removesuffix("\n").removesuffix("\r")
        start, number = start + len(line), number + 1


def _line(file: Any, name: str) -> bytes:
    try:
        return file.readline(LINE + 1)
    except OSError as error:
        raise InputError(f"cannot read {name}: {error.strerror or error}") from None


def texts(given: list[str]) -> Iterator[str]:
    """The texts of the arguments, else the lines of standard input, as they come; InputError where there is none."""
    return some(iter(given) if given else lines(None), "no text given")


def stored() -> bool:
    """Whether standard input is a file, whose lines are all there; from a pipe or a keyboard they come one by one."""
    try:
        return stat.S_ISREG(os.fstat(sys.stdin.fileno()).st_mode)
    except (OSError, ValueError):
        return False


def some(given: Iterator[str], otherwise: str) -> Iterator[str]:
    """Those given; InputError, of these words, where there is none."""
    empty = True
    for text in given:
        empty = False
        yield text
    if empty:
        raise InputError(otherwise)
