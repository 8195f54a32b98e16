"""Files and directories that are the old or the new, never half: whoever is killed while writing leaves the old.

A file is written to a sibling temporary, flushed to the disk and renamed over its target. A directory is written to
a temporary and, when its target does not exist, renamed as well. An existing one keeps the files that are not ours,
so it can't be swapped: its new files are flushed, the temporary is renamed to PENDING inside it (the moment of
commitment), and then they move to their places one by one. Whoever is killed during the moves leaves PENDING. The next
writer of the directory finishes them; readers never write: `place` finds the committed file where it lies, and
`unchanged` refuses what a writer changed meanwhile. PENDING may come from anywhere, as the directory may: what is not
made of plain folders and regular files under plain names, as minibert's own are, is refused.

A temporary carries its writer's process id; the next write of the same target removes those of dead processes.
Unwritable output is a WriteError.
"""

import errno
import itertools
import os
import re
import shutil
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from minibert import reading
from minibert.errors import InputError, WriteError

PENDING = ".minibert-pending"
REMOVED = ".minibert-removed"  # inside PENDING: names, one a line, that the new contents do without
MOST = 1 << 16  # bytes of REMOVED
_count = itertools.count()
_writing: set[Path] = set()  # the temporaries of this process


def write_bytes(path: str | os.PathLike, data: bytes) -> None:
    """Write the file at once or not at all."""
    with file(path) as out:
        out.write(data)


def write_text(path: str | os.PathLike, text: str) -> None:
    """Write the file at once or not at all: UTF-8, line ends as they stand in the text."""
    write_bytes(path, text.encode("utf-8"))


def _target(path: str | os.PathLike) -> Path:
    """What the path means, behind any link."""
    try:
        return Path(os.path.realpath(os.fspath(path)))
    except (TypeError, ValueError) as error:  # no path, a NUL or a lone surrogate
        raise InputError(f"cannot write {path}: {error}") from None


def require_writable(path: str | os.PathLike) -> None:
    """WriteError now for a file that could not be written later; nothing is left behind."""
    target = _target(path)
    if target.is_dir():
        raise WriteError(f"cannot write {path}: {os.strerror(errno.EISDIR)}")
    if target.exists() and not target.is_file():
        return  # a device or a FIFO, which may wait for a reader
    with _temporary(target.parent, target.name, path) as temporary, open(temporary, "xb"):
        pass


@contextmanager
def file(path: str | os.PathLike) -> Iterator[BinaryIO]:
    """A binary file to write to; it takes the place of `path` when the block ends, unless by an exception.

    A device or a FIFO, such as /dev/stdout, is written to as it stands.
    """
    target = _target(path)
    if target.exists() and not (target.is_file() or target.is_dir()):
        with _said(path, target), open(target, "wb") as out:
            yield out
        return
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
    target = _target(path)
    _settle(target)
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
        _settle(target)


# ---- Reading what may have been interrupted --------------------------------------------------------------------------
def place(path: str | os.PathLike) -> Path:
    """Where to read this file of a directory: in the directory, or where an interrupted write has committed it.

    Of a file that the write removed the place is empty. Nothing is written.
    """
    path = Path(path)
    for folder in list(path.parents)[:2]:  # a network's own directory may be part of a larger one
        pending, name = folder / PENDING, path.relative_to(folder).as_posix()
        if _is_folder(pending) and (name in _removed(pending) or os.path.lexists(pending / name)):
            return pending / name
    return path


@contextmanager
def unchanged(folder: Path, names: Iterable[str]) -> Iterator[None]:
    """InputError where one of these files of the directory became another inside the block: old and new don't mix."""
    names = list(names)
    before = [_identity(place(folder / name)) for name in names]
    try:
        yield
    finally:
        if before != [_identity(place(folder / name)) for name in names]:
            raise InputError(f"{folder} was written to while it was read: read it again")


def _identity(path: Path) -> tuple[int, ...] | None:
    """What tells a file from the one that another write puts in its place; a move changes nothing of it."""
    try:
        status = path.stat()
    except (OSError, ValueError):
        return None
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


# ---- Finishing an interrupted write ----------------------------------------------------------------------------------
def _settle(target: Path) -> None:
    """Finish an interrupted `directory` write of this place, which its next writer calls for."""
    pending = target / PENDING
    if not os.path.lexists(pending):
        return
    try:
        removed, files = _removed(pending), _committed(pending)
        for name in (*removed, *files):
            for folder in list(Path(name).parents)[:-1]:
                free = not os.path.lexists(target / folder) or _is_folder(target / folder)
                _require_ours(free, pending, f"{target / folder} is no plain folder")
        for name in removed:
            (target / name).unlink(missing_ok=True)
        (pending / REMOVED).unlink(missing_ok=True)
        for name in files:
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            os.replace(pending / name, target / name)
        _flush_directory(target)
        shutil.rmtree(pending, ignore_errors=True)
    except OSError as error:
        raise InputError(f"cannot finish the interrupted write of {target}: {error}") from None


def _committed(pending: Path) -> list[str]:
    """The names of the files of PENDING, sorted."""
    _require_ours(_is_folder(pending), pending, "it is no plain folder")
    names = []
    for folder, folders, files in os.walk(pending):
        entries = [Path(folder) / name for name in (*folders, *files)]
        for entry in entries:
            ours = _is_folder(entry) or stat.S_ISREG(entry.lstat().st_mode)
            _require_ours(ours, pending, f"{entry.name} is no plain folder or file")
        names += [(Path(folder) / name).relative_to(pending).as_posix() for name in files]
    return sorted(set(names) - {REMOVED})


def _removed(pending: Path) -> list[str]:
    """The names in REMOVED: plain ones, in the directory or one folder below."""
    path = pending / REMOVED
    if not os.path.lexists(path):
        return []
    try:
        _require_ours(stat.S_ISREG(path.lstat().st_mode), pending, f"{REMOVED} is no plain file")
        names = reading.text(path, MOST).splitlines()
    except FileNotFoundError:  # its writer is just finishing
        return []
    for name in names:
        plain = re.fullmatch(r"(?!\.)[\w.-]+(/(?!\.)[\w.-]+)?", name, re.ASCII)
        _require_ours(plain is not None, pending, f"{REMOVED} holds {name[:60]!r}")
    return names


def _is_folder(path: Path) -> bool:
    """Whether a folder stands there itself, no link to one."""
    try:
        return stat.S_ISDIR(path.lstat().st_mode) and not getattr(path, "is_junction", lambda: False)()
    except (OSError, ValueError):
        return False


def _require_ours(condition: bool, pending: Path, what: str) -> None:
    if not condition:
        raise InputError(f"{pending} is not what minibert leaves of an interrupted write: {what}; remove it")


def _require_free(target: Path, temporary: Path, removed: Iterable[str]) -> None:
    """What would stop the moves, said before the commitment: a directory where a file goes, the reverse, no right."""
    entries = [(target / entry.relative_to(temporary), entry.is_dir()) for entry in temporary.rglob("*")]
    for place, is_folder in [*entries, *((target / name, False) for name in removed)]:
        taken = not _is_folder(place) if is_folder else _is_folder(place)
        if taken and os.path.lexists(place):
            kind = "not a directory of its own" if is_folder else "a directory"
            raise InputError(f"cannot write {target}: {place} is {kind}; move it away")
        if is_folder and place.is_dir() and not os.access(place, os.W_OK | os.X_OK):
            raise InputError(f"cannot write {target}: {place} is read-only")


@contextmanager
def _temporary(folder: Path, name: str, path: str | os.PathLike) -> Iterator[Path]:
    """A fresh name in the folder, gone afterwards; an OSError inside becomes the WriteError about `path`."""
    temporary = folder / f".{name}.{os.getpid()}-{next(_count)}.new"
    _writing.add(temporary)
    try:
        with _said(path, temporary):
            _sweep(folder, name)
            yield temporary
    finally:
        _writing.discard(temporary)
        _remove(temporary)


@contextmanager
def _said(path: str | os.PathLike, written: Path) -> Iterator[None]:
    """An OSError inside is the WriteError about `path`; one about another file than what is written names that, too."""
    try:
        yield
    except OSError as error:
        own = error.filename is None or str(written) in str(error.filename)
        raise WriteError(f"cannot write {path}: {error.strerror if own and error.strerror else error}") from None


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
        if _is_folder(path):
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


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
