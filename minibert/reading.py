"""Whatever minibert reads from disk is opened here: a regular file, behind any link, no larger than its kind may be.

A FIFO waits for ever, a device never ends, a folder is no file: each is refused in one line before a byte is read.
"""

import os
import stat
from contextlib import ExitStack
from typing import BinaryIO

from minibert.errors import InputError

TEXT = 1 << 26  # bytes of a JSON, vocabulary or word list: published ones have a quarter of it at most
KINDS = {
    stat.S_IFDIR: "a directory",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}
Path = str | os.PathLike


def opened(path: Path, most: int | None = None) -> BinaryIO:
    """The file, open for reading bytes; most: how many it may have. InputError, one line, for whatever cannot be read.

    A file may grow while it is read: whoever reads to its end reads by `contents`, or a stated number of bytes.
    """
    try:
        _require_file(os.stat(os.fspath(path)), path, most)
        with ExitStack() as closing:
            file = closing.enter_context(open(path, "rb", opener=_without_waiting))
            _require_file(os.fstat(file.fileno()), path, most)  # what was looked at may have been replaced
            closing.pop_all()
            return file
    except InputError:
        raise
    except (OSError, ValueError, TypeError) as error:  # ValueError: a NUL or a lone surrogate in the name
        raise InputError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from None


def contents(path: Path, most: int = TEXT) -> bytes:
    """All bytes of the file, which has at most so many."""
    with opened(path, most) as file:
        try:
            data = file.read(most + 1)
        except OSError as error:
            raise InputError(f"cannot read {path}: {error.strerror}") from None
    _require_size(len(data), path, most)
    return data


def text(path: Path, most: int = TEXT) -> str:
    """The file's text: UTF-8, with or without a byte order mark, line ends as they stand."""
    try:
        return contents(path, most).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 (byte {error.start})") from None


def present(path: Path) -> bool:
    """Whether something stands there, behind any link; False, too, for names that no file can have."""
    return os.path.exists(path)


def names(folder: Path) -> list[str]:
    """The names in a folder, sorted."""
    try:
        return sorted(os.listdir(os.fspath(folder)))
    except (OSError, ValueError, TypeError) as error:
        raise InputError(f"cannot read {folder}: {getattr(error, 'strerror', None) or error}") from None


def _require_file(status: os.stat_result, path: Path, most: int | None) -> None:
    kind = stat.S_IFMT(status.st_mode)
    if kind != stat.S_IFREG:
        raise InputError(f"cannot read {path}: it is {KINDS.get(kind, 'no regular file')}, not a file")
    if most is not None:
        _require_size(status.st_size, path, most)


def _require_size(size: int, path: Path, most: int) -> None:
    if size > most:
        raise InputError(f"{path} has more than {most} bytes, the most that such a file may have")


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))  # a FIFO that came in between would wait
