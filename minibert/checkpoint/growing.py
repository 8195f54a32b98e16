"""A file that is written part by part: it stands whole under its name, or what is done lies beside it, to go on from.

Rows are written to NAME.part. NAME.part.json says how far that counts and of what it is: the rows and bytes done, a
hash of the texts that the rows are of, and the settings. It is replaced after each thousand rows, and when the writer
is stopped; who is killed loses what came after. When all is written NAME.part takes the place of NAME.
"""

import hashlib
import json
import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

from minibert import reading, streams
from minibert.checkpoint import atomic, strictjson
from minibert.config import shown, whole
from minibert.errors import InputError, WriteError

EVERY = 1000  # rows between two notes of how far the file has come


class Done(NamedTuple):
    """What stands in the file: rows, the bytes up to their end, and a hash of their texts."""

    rows: int
    size: int
    texts: Any

    def after(self, size: int, texts: Iterable[str]) -> "Done":
        """With rows more, one for each text, of so many bytes."""
        hashed, count = self.texts.copy(), 0
        for count, text in enumerate(texts, 1):  # noqa: B007 (the last count is read below)
            hashed.update(text.encode("utf-8", "surrogatepass") + b"\n")
        return Done(self.rows + count, self.size + size, hashed)


class Growing:
    """The file that grows. done: what stands in it; head: bytes in front of the rows, which are written at the end."""

    def __init__(self, path: Path, settings: dict[str, Any], head: int, resume: bool):
        self.path, self.settings, self.head = path, settings, head
        self.part, self.note = (path.with_name(f"{path.name}.part{end}") for end in ("", ".json"))
        self.found = self._noted() if resume and os.path.lexists(self.note) else None  # (rows, size, hash)
        self.done = Done(0, head, hashlib.sha256())  # what is found counts once its texts were compared: see `rest`
        self.noted = 0 if self.found is None else self.found[0]
        if self.found is None:
            self.discard()
        self.file = open(self.part, "xb" if self.found is None else "rb+")  # noqa: SIM115 (`growing` closes it)
        self.file.truncate(head if self.found is None else self.found[1])
        self.file.seek(0, os.SEEK_END)

    def rest(self, parts: Iterable[list[str]]) -> Iterator[list[str]]:
        """The texts in parts, without those whose rows are found. InputError where the rows are of other texts."""
        rows, size, digest = self.found or (0, self.head, self.done.texts.hexdigest())
        seen, other = Done(0, size, self.done.texts), f"{self.part} is of other texts: begin anew, without --resume"
        for part in parts:
            if left := rows - seen.rows:
                seen = seen.after(0, part[:left])
                if seen.rows == rows and seen.texts.hexdigest() != digest:
                    raise InputError(other)
                part = part[left:]
            if seen.rows == rows and self.done.rows < rows:
                self.done = seen
            if part:
                yield part
        if seen.rows < rows:
            raise InputError(other)

    def add(self, data: bytes, texts: list[str]) -> None:
        """Rows more, one for each of these texts."""
        done = self.done.after(len(data), texts)
        self.file.write(data)
        self.done = done
        if done.rows - self.noted >= EVERY:
            self.keep()

    def keep(self) -> None:
        """Notes how far the file has come, once that is on the disk."""
        self._require_own()
        self.file.flush()
        os.fsync(self.file.fileno())
        rows, size, texts = self.done
        facts = {"rows": rows, "bytes": size, "texts": texts.hexdigest(), "settings": self.settings}
        atomic.write_text(self.note, json.dumps(facts, indent=1) + "\n")
        self.noted = rows

    def finish(self, head: bytes = b"") -> None:
        """Puts the head in front, and the whole under its name."""
        self._require_own()
        self.file.seek(0)
        self.file.write(head)
        self.file.flush()
        os.fsync(self.file.fileno())
        self.file.close()
        os.replace(self.part, self.path)
        self.note.unlink(missing_ok=True)

    def discard(self) -> None:
        """Nothing of what is done stays."""
        for path in (self.part, self.note):
            path.unlink(missing_ok=True)

    def abandon(self) -> None:
        """Nothing of it stays, but what another process has begun."""
        with suppress(OSError, InputError):
            self._require_own()
            self.file.close()
            self.discard()

    def _require_own(self) -> None:
        if not os.path.lexists(self.part) or not os.path.samestat(os.lstat(self.part), os.fstat(self.file.fileno())):
            raise WriteError(f"cannot write {self.path}: another process has begun it anew")

    def _noted(self) -> tuple[int, int, str]:
        """(rows, bytes, hash) as the note says, if it is of these settings and the file has as many bytes."""
        said = strictjson.loads(reading.contents(self.note), str(self.note))
        settings = said.get("settings") if isinstance(said, dict) else None
        held = os.lstat(self.part)
        if not isinstance(settings, dict) or not stat.S_ISREG(held.st_mode):
            raise InputError(f"{self.part} is not what minibert leaves of an interrupted write: remove it")
        for name, value in self.settings.items():
            if settings.get(name) != value:
                other = f"{self.part} was made with {name} {shown(settings.get(name))}"
                raise InputError(f"{other}: ask for the same, or begin anew, without --resume")
        rows = whole(f"{self.note}: rows", said.get("rows"), 1, 2**62)
        size = whole(f"{self.note}: bytes", said.get("bytes"), self.head + rows, 2**62)
        if size > held.st_size:
            raise InputError(f"{self.part} has {held.st_size} of {size} bytes: begin anew, without --resume")
        return rows, size, str(said.get("texts"))


@contextmanager
def growing(
    path: str | os.PathLike, settings: dict[str, Any], head: int = 0, resume: bool = False
) -> Iterator[Growing]:
    """A file to write rows to: a new one, unless `resume` and something is done that was made with these settings.

    What ends the block before `finish` leaves what is done; Ctrl-C says where. Unwritable output is a WriteError.
    """
    try:
        target = Path(os.path.realpath(os.fspath(path)))
        if os.path.lexists(target) and not target.is_file():
            raise WriteError(f"cannot write {path}: it is no plain file")
        file = Growing(target, settings, head, resume)
    except (OSError, ValueError) as error:
        raise _unwritable(path, error) from None
    try:
        yield file
    except BaseException as error:
        if file.done.rows > file.noted:
            with suppress(OSError, InputError):  # a full disk: what was noted before counts
                file.keep()
        if file.noted == 0:
            file.abandon()
        elif isinstance(error, KeyboardInterrupt):
            done = f"interrupted: {file.noted:,} texts are done, in {file.part}"
            raise KeyboardInterrupt(f"{done}; the same command with --resume goes on") from None
        if isinstance(error, OSError) and not isinstance(error, streams.Unwritable):
            raise _unwritable(path, error) from None
        raise
    finally:
        with suppress(OSError):  # a full disk, said already
            file.file.close()


def _unwritable(path: str | os.PathLike, error: Exception) -> InputError:
    if isinstance(error, InputError):
        return error
    return WriteError(f"cannot write {path}: {getattr(error, 'strerror', None) or error}")
