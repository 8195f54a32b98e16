"""Inputs, read one after the other in processes that last, each with a verdict: refused, accepted or fallen.

An input falls where it ends otherwise than with a result or one readable line: a traceback, a warning, a character that
no terminal should get, a line too long, more than SECONDS of processor time or BYTES of memory, a change on the disk.
Time is the processor's, so that load does not matter; who sleeps, or never answers, is ended by the clock.
"""

import contextlib
import faulthandler
import functools
import gc
import multiprocessing
import os
import random
import re
import resource
import shutil
import signal
import stat
import sys
import tempfile
import time
import traceback
import unicodedata
import warnings
from collections.abc import Callable, Iterator
from importlib import import_module
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, NamedTuple

from minibert.errors import InputError

from . import mutation
from .mutation import GIB, MIB, Tree
from .readers import Reader

SECONDS, BYTES, LINE = 2.0, GIB, 500
KILLED, ASLEEP, PATIENCE = 8, 10, 90  # seconds: of the processor; by the clock without any of it, in any case
ADDRESSES = 6 * GIB  # of address space: a larger demand is a MemoryError, and so a fall
OUTPUT = MIB  # bytes of what a command prints that are looked at


class Input(NamedTuple):
    """What is read: by which reader, the files, and what is given beside them."""

    reader: str
    tree: Tree
    arguments: list


class Verdict(NamedTuple):
    """outcome: "refused", "accepted" or "fell"; faults: what made it fall, each one line; detail: more of them."""

    outcome: str
    seconds: float
    megabytes: float
    faults: tuple[str, ...] = ()
    detail: str = ""


def found(source: str) -> dict[str, Reader]:
    """The readers of a "module:table": functions travel to no process by themselves."""
    module, _, table = source.partition(":")
    return getattr(import_module(module), table)


@functools.cache
def _trees(valid: Callable[[], list[Tree]]) -> list[Tree]:
    return valid()


def drawn(name: str, reader: Reader, number: int, seed: int) -> Input:
    """The input of that number: the same everywhere."""
    rng = random.Random(f"{seed} {name} {number}")
    trees = _trees(reader.valid)
    return Input(name, mutation.hostile(rng.choice(trees), trees, rng), reader.arguments(rng))


# ---- In a worker -----------------------------------------------------------------------------------------------------
def judged(reader: Reader, given: Input, place: Path) -> Verdict:
    """Lays the input out below `place`, reads it, and looks at what came of it."""
    root, elsewhere, here = place / "input", place / "elsewhere", place / "here"
    _prepared(place)
    mutation.laid_out(given.tree, root, elsewhere)
    before = {} if reader.writes else _listing(root)
    around = _listing(elsewhere)
    said, faults = [], []
    outcome, detail, code = "fell", "", None
    _forget_peak()
    streams = sys.stdout, sys.stderr
    outputs = [open(place / name, "w+", encoding="utf-8", newline="\n") for name in ("stdout", "stderr")]  # noqa: SIM115
    os.chdir(here)
    started = time.process_time()
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        sys.stdout, sys.stderr = outputs
        signal.setitimer(signal.ITIMER_PROF, KILLED)
        try:
            code = reader.read(root, given.arguments)
            if code not in (None, 0, 1, 2):
                faults.append(f"exit code {code!r}")
            outcome = "refused" if code == 2 else "accepted"
        except BaseException as error:
            if isinstance(error, InputError):
                outcome = "refused"
                faults += _unreadable(str(error), "the error line")
            else:
                faults.append(f"{_named(error)} at {_where(error)}")
                detail = "".join(traceback.format_exception(error))
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
            sys.stdout, sys.stderr = streams
    seconds, peak = time.process_time() - started, _peak()
    for file in outputs:
        with contextlib.suppress(Exception):
            file.flush()
        said.append(_start(file.name))
        with contextlib.suppress(Exception):
            file.close()
    faults += _spoken(code, *said) if outcome != "fell" else []
    faults += [f"warning: {w.category.__name__}: {w.message} at {_short(w.filename)}:{w.lineno}" for w in warned[:3]]
    if seconds > SECONDS:
        faults.append(f"over {SECONDS:g} s of processor time")
    if peak > BYTES:
        faults.append(f"over {BYTES / GIB:g} GB of memory")
    if not reader.writes and (changed := _changes(before, _listing(root))):
        faults.append(f"changed the folder that it read: {changed}")
    if changed := _changes(around, _listing(elsewhere)):
        faults.append(f"changed another folder: {changed}")
    if changed := sorted(os.listdir(here)):
        faults.append(f"left files in the working directory: {changed[:3]}")
    if faults and not detail:
        detail = "\n".join([*faults, *(repr(text[:2000]) for text in said)])
    return Verdict("fell" if faults else outcome, seconds, peak / MIB, tuple(faults), detail)


def _prepared(place: Path) -> None:
    os.chdir(place)
    for name in ("input", "out", "here", "elsewhere"):
        path = place / name
        if path.is_symlink() or path.is_file():
            path.unlink()
        elif path.exists():
            shutil.rmtree(path)
    for name in ("out", "here", "elsewhere"):
        (place / name).mkdir()
    (place / "elsewhere" / "file.txt").write_text("nobody writes here\n")
    (place / "elsewhere" / "00000001").mkdir()


def _listing(root: Path) -> dict[str, tuple]:
    found: dict[str, tuple] = {}
    pending = [os.fspath(root)]
    while pending:
        folder = pending.pop()
        status = os.lstat(folder)
        found[folder] = (status.st_mode, status.st_ino, status.st_mtime_ns)
        with os.scandir(folder) as entries:
            for entry in entries:
                status = entry.stat(follow_symlinks=False)
                if stat.S_ISDIR(status.st_mode):
                    pending.append(entry.path)
                else:
                    found[entry.path] = (status.st_mode, status.st_ino, status.st_mtime_ns, status.st_size)
    return found


def _changes(before: dict[str, tuple], after: dict[str, tuple]) -> str:
    return ", ".join(ascii(os.path.basename(path)) for path in sorted(before.keys() | after.keys())
                     if before.get(path) != after.get(path))[:200]  # fmt: skip


def _spoken(code: int | None, out: str, err: str) -> list[str]:
    """What is wrong with the two outputs."""
    faults = []
    if code is None:
        return [f"a call printed {text[:60]!r}" for text in (out, err) if text]
    for name, text in (("standard output", out), ("standard error", err)):
        for line in text.split("\n"):
            faults += _unseen(line, name)
            if name == "standard error" and len(line) > LINE:
                faults.append(f"a line of {name} has more than {LINE} characters")
    lines = [line for line in err.splitlines() if not re.match(r"step \d+/\d+ ", line)]  # but the progress of a run
    if "Traceback (most recent call last)" in err:
        faults.append("a traceback on standard error")
    if code == 2 and len(lines) != 1:
        faults.append(f"{'no' if not lines else 'several'} lines on standard error with exit code 2")
    if code == 2 and "not enough memory" in err:
        faults.append(f"not enough memory for what is read: {err[:100]!r}")
    return list(dict.fromkeys(faults))


def _unreadable(line: str, name: str) -> list[str]:
    faults = _unseen(line, name)
    if not line.strip() or len(line) > LINE or "\n" in line:
        faults.append(f"{name} is empty, several, or longer than {LINE}")
    return faults


def _unseen(line: str, name: str) -> list[str]:
    if line.isascii() and line.isprintable():
        return []
    for c in line:
        if c not in "\u200c\u200d" and unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp"):
            return [f"{name} holds U+{ord(c):04X}"]
    return []


def _start(path: str) -> str:
    with contextlib.suppress(OSError), open(path, "rb") as file:
        return file.read(OUTPUT).decode("utf-8", "surrogateescape" if os.path.getsize(path) < OUTPUT else "ignore")
    return ""


def _named(error: BaseException) -> str:
    return f"{type(error).__name__}: {ascii(str(error))[1:-1][:100]}"


def _where(error: BaseException) -> str:
    """The innermost line of minibert, and where else it ended."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if _short(frame.filename) != frame.filename] or frames[-1:]
    return f"{_short(own[-1].filename)}:{own[-1].lineno}" if own else "no place"


def _short(filename: str) -> str:
    _, own, rest = filename.rpartition(f"{os.sep}minibert{os.sep}")
    return f"minibert/{rest}" if own else filename


def _forget_peak() -> None:
    with contextlib.suppress(OSError), open("/proc/self/clear_refs", "w") as file:
        file.write("5")


def _peak() -> int:
    """The most bytes of memory since `_forget_peak`; where that can't be forgotten, since the process began."""
    with contextlib.suppress(OSError), open("/proc/self/status", "rb") as file:
        return int(re.search(rb"VmHWM:\s*(\d+)", file.read())[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _resting() -> int:
    with contextlib.suppress(OSError), open("/proc/self/statm", "rb") as file:
        return int(file.read().split()[1]) * resource.getpagesize()
    return 0


def serve(source: str, seed: int, place: Path, connection: Connection) -> None:
    """Answers (reader, number) or an Input with its Verdict, until None comes; source: as of `found`."""
    readers = found(source)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    log = open(place / "crash", "w")  # noqa: SIM115 - open as long as the process lasts
    faulthandler.enable(log)
    faulthandler.register(signal.SIGPROF, log, chain=True)  # says where it was, then ends the process
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESSES, resource.getrlimit(resource.RLIMIT_AS)[1]))
    os.dup2(log.fileno(), 1)
    os.dup2(log.fileno(), 2)
    while (asked := connection.recv()) is not None:
        given = asked if isinstance(asked, Input) else drawn(asked[0], readers[asked[0]], asked[1], seed)
        log.seek(0)
        log.truncate()
        verdict = judged(readers[given.reader], given, place)
        if os.path.getsize(place / "crash"):
            verdict = verdict._replace(outcome="fell", faults=(*verdict.faults, "wrote past Python's streams"))
        tired = _resting() > 500 * MIB and (gc.collect() or _resting() > 500 * MIB)
        connection.send((verdict, tired))
        if tired:
            return


def _asleep(process: int) -> bool:
    """Whether the process waits for something that is no disk; False where the system doesn't say."""
    with contextlib.suppress(OSError, IndexError), open(f"/proc/{process}/stat", "rb") as file:
        return file.read().rpartition(b")")[2].split()[0] == b"S"
    return False


# ---- From outside ----------------------------------------------------------------------------------------------------
class Worker:
    """A process that reads inputs, in a folder of its own; one that ends is followed by another."""

    def __init__(self, source: str, seed: int, folder: Path):
        self.source, self.seed, self.place, self.asked = source, seed, folder, None
        self.place.mkdir()
        self._start()

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, other = context.Pipe()
        self.process = context.Process(target=serve, args=(self.source, self.seed, self.place, other), daemon=True)
        self.process.start()
        other.close()

    def ask(self, what: tuple[str, int] | Input) -> None:
        """Begins with one input."""
        self.asked, self.since = what, time.monotonic()
        self.awake = self.since
        self.connection.send(what)

    def answer(self) -> Verdict | None:
        """The verdict if there is one by now."""
        try:
            if self.connection.poll():
                verdict, tired = self.connection.recv()
                if tired:
                    self.process.join()
                    self._start()
                return verdict
        except (EOFError, ConnectionError):
            return self._dead()
        now = time.monotonic()
        self.awake = self.awake if _asleep(self.process.pid) else now
        if now - self.awake > ASLEEP or now - self.since > PATIENCE:
            os.kill(self.process.pid, signal.SIGPROF)
            return self._dead("waits for ever")
        return None

    def _dead(self, how: str = "") -> Verdict:
        self.process.join(10)
        self.process.kill()
        self.process.join()
        code = self.process.exitcode
        name = signal.Signals(-code).name if code and code < 0 else f"exit {code}"
        detail = (self.place / "crash").read_text(errors="replace")
        at = re.search(r'File "([^"]*minibert/[^"]*)", line (\d+)', detail)
        how = how or (f"over {KILLED} s of processor time" if name == "SIGPROF" else f"the process ended: {name}")
        self._start()
        place = f"{_short(at[1])}:{at[2]}" if at else "no place"
        return Verdict("fell", float(KILLED), 0.0, (f"{how} at {place}",), detail)

    def close(self) -> None:
        """Ends the process."""
        self.process.kill()
        self.process.join()


def verdicts(source: str, asked: Iterator[Any], seed: int, count: int) -> Iterator[tuple[Any, Verdict]]:
    """(input, verdict) of each, as they come, read by so many processes; source: as of `found`."""
    os.environ.update(MINIBERT_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", OMP_NUM_THREADS="1")
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # where writing costs no time
    with tempfile.TemporaryDirectory(prefix="fuzz-", dir=memory) as folder:
        workers = [Worker(source, seed, Path(os.path.realpath(folder), str(i))) for i in range(count)]
        try:
            busy = [worker for worker in workers if _given(worker, asked)]
            while busy:
                wait([worker.connection for worker in busy], timeout=1)
                for worker in list(busy):
                    if (verdict := worker.answer()) is not None:
                        yield worker.asked, verdict
                        if not _given(worker, asked):
                            busy.remove(worker)
        finally:
            for worker in workers:
                worker.close()


def _given(worker: Worker, asked: Iterator[Any]) -> bool:
    for what in asked:
        worker.ask(what)
        return True
    return False
