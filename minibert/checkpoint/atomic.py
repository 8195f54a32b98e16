"""Files and directories that are the old or the new, never half: whoever is killed while writing leaves the old.

A file is written to a sibling temporary, flushed to the disk and renamed over its target. A directory is written to
a temporary and, when its target does not exist, renamed as well. An existing one keeps the files that are not ours,
so it can't be swapped: its new files are flushed, the temporary is renamed to PENDING inside it (the moment of
commitment), and then they move to their places one by one. Whoever is killed during the moves leaves PENDING;
`settle`, which every reader and writer of directories calls first, finishes them.

A temporary carries its writer's process id; the next write of the same target removes those of dead processes.
Unwritable output is an InputError.
"""

import itertools
import os
import re
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from minibert.errors import InputError

PENDING = ".minibert-pending"
REMOVED = ".minibert-removed"  # inside PENDING: names, one a line, that the new contents do without
_count = itertools.count()
_writing: set[Path] = set()  # the temporaries of this process


def write_bytes(path: str | os.PathLike, data: bytes) -> None:
    """Write the file at once or not at all."""
    with file(path) as out:
        out.write(data)


def write_text(path: str | os.PathLike, text: str) -> None:
    """Write the file at once or not at all: UTF-8, line ends as they stand in the text."""
    write_bytes(path, text.encode("utf-8"))


@contextmanager
def file(path: str | os.PathLike) -> Iterator[BinaryIO]:
    """A binary file to write to; it takes the place of `path` when the block ends, unless by an exception."""
    target = Path(os.path.realpath(path))
    with _temporary(target.parent, target.name, path) as temporary:
        with open(temporary, "xb") as out:
            yield out
            out.flush()
            os.fsync(out.fileno())
        os.replace(temporary, target)
        _flush_directory(target.parent)


@contextmanager
def directory(path: str | os.PathLike, owned: Iterable[str] = ()) -> Iterator[Path]:
    """A temporary directory to write to; its files appear in `path` together when the block ends.

    Other files already in `path` stay, except the `owned` names that the block did not write.
    """
    settle(path)
    target = Path(os.path.realpath(path))
    fresh = not target.exists()
    with _temporary(target.parent if fresh else target, target.name, path) as temporary:
        temporary.mkdir(parents=True)
        yield temporary
        if not fresh:
            removed = [name for name in owned if not (temporary / name).exists()]
            _require_free(target, temporary, removed)
            lines = "".join(f"{name}\n" for name in removed)
            (temporary / REMOVED).write_text(lines, encoding="utf-8", newline="\n")
        _flush_tree(temporary)
        os.replace(temporary, target if fresh else target / PENDING)
        _flush_directory(target.parent if fresh else target)
        settle(path)


def settle(path: str | os.PathLike) -> None:
    """Finish an interrupted `directory(path)`: call it before reading what one may have written."""
    target = Path(os.path.realpath(path))
    pending = target / PENDING
    if not pending.is_dir():
        return
    try:
        for name in _lines(pending / REMOVED):
            (target / name).unlink(missing_ok=True)
        (pending / REMOVED).unlink(missing_ok=True)
        for source in sorted(pending.rglob("*")):
            if source.is_file():
                place = target / source.relative_to(pending)
                place.parent.mkdir(parents=True, exist_ok=True)
                with suppress(FileNotFoundError):  # a reader who settles at the same time was faster
                    os.replace(source, place)
        _flush_directory(target)
        shutil.rmtree(pending, ignore_errors=True)
    except OSError as error:
        raise InputError(f"cannot finish the interrupted write of {path}: {error}") from None


def _require_free(target: Path, temporary: Path, removed: Iterable[str]) -> None:
    """What would stop the moves, said before the commitment: a directory where a file goes, the reverse, no right."""
    entries = [(target / entry.relative_to(temporary), entry.is_dir()) for entry in temporary.rglob("*")]
    for place, is_folder in [*entries, *((target / name, False) for name in removed)]:
        taken = not place.is_dir() if is_folder else not place.is_symlink() and place.is_dir()
        if taken and os.path.lexists(place):
            kind = "not a directory" if is_folder else "a directory"
            raise InputError(f"cannot write {target}: {place} is {kind}; move it away")
        if is_folder and place.is_dir() and not os.access(place, os.W_OK | os.X_OK):
            raise InputError(f"cannot write {target}: {place} is read-only")


@contextmanager
def _temporary(folder: Path, name: str, path: str | os.PathLike) -> Iterator[Path]:
    """A fresh name in the folder, gone afterwards; an OSError inside becomes the InputError about `path`."""
    temporary = folder / f".{name}.{os.getpid()}-{next(_count)}.new"
    _writing.add(temporary)
    try:
        _sweep(folder, name)
        yield temporary
    except OSError as error:
        reason = error.strerror if str(temporary) in str(error) else error
        raise InputError(f"cannot write {path}: {reason}") from None
    finally:
        _writing.discard(temporary)
        _remove(temporary)


def _sweep(folder: Path, name: str) -> None:
    """Remove what dead writers of this name have left in the folder."""
    ours = re.compile(re.escape(f".{name}.") + r"(\d+)-\d+\.new")
    for entry in folder.iterdir() if folder.is_dir() else ():
        match = ours.fullmatch(entry.name)
        if match and entry not in _writing and not _other_alive(int(match[1])):
            _remove(entry)


def _other_alive(pid: int) -> bool:
    """Whether another process of this id runs; in doubt, yes."""
    if pid == os.getpid():
        return False
    if os.name == "nt":  # os.kill would end it
        import ctypes

        kernel = ctypes.windll.kernel32
        kernel.OpenProcess.restype = ctypes.c_void_p
        handle = kernel.OpenProcess(0x1000, False, pid)  # PROCESS_QUERY_LIMITED_INFORMATION
        if handle:
            kernel.CloseHandle(ctypes.c_void_p(handle))
        return bool(handle)
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


def _remove(path: Path) -> None:
    with suppress(OSError):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines() if path.exists() else []


def _flush_tree(folder: Path) -> None:
    for entry in folder.rglob("*"):
        if entry.is_dir():
            _flush_directory(entry)
        else:
            with open(entry, "rb+") as written:
                os.fsync(written.fileno())
    _flush_directory(folder)


def _flush_directory(folder: Path) -> None:
    """Make renames in the folder last through a power cut, where the system can (Windows can't open a folder)."""
    if os.name != "nt":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
