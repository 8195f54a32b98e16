"""One writer of a directory at a time: by a lock that falls with its holder, whatever ends it."""

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from minibert.errors import InputError, WriteError
from minibert.progress import note

NAME = ".minibert-lock"
HELD = (errno.EACCES, errno.EAGAIN, errno.EDEADLK)  # what systems say of a lock that another has


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """What one process at a time does in the folder; InputError at once where another is at it.

    The system drops the lock with the open file, and the file goes at the end; what a killed process leaves of it locks
    nothing. Where the file system knows no locks, one line on standard error says so, and the block is run.
    """
    path = folder / NAME
    descriptor = _locked(path)
    try:
        yield
    finally:
        with suppress(OSError):
            os.unlink(path)  # before the lock falls, or it could be another's
        os.close(descriptor)
        if os.name == "nt":  # there no open file can go, not another's either
            with suppress(OSError):
                os.unlink(path)


def _locked(path: Path) -> int:
    while True:
        descriptor = _opened(path)
        try:
            _lock(descriptor, path.parent)
            with suppress(FileNotFoundError):  # its last holder has just removed it
                if os.path.samestat(os.lstat(path), os.fstat(descriptor)):
                    return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _opened(path: Path) -> int:
    flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    try:
        descriptor = os.open(path, flags, 0o666)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise WriteError(f"cannot write {path}: {getattr(error, 'strerror', None) or error}") from None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise InputError(f"{path} is no plain file: remove it")
    return descriptor


def _lock(descriptor: int, folder: Path) -> None:
    try:
        if os.name == "nt":
            import msvcrt

            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in HELD:
            raise InputError(f"another process is at work in {folder}: let it end, or end it, and ask again") from None
        note(f"{folder} lies on a file system without locks: let no other process work in it")
