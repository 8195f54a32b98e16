"""A candidate that is a program: asked for its tensors in lines of JSON over its standard input and output.

    > {"command": "start", "protocol": "minibert-program/1"}
    < {"families": ["bert"], "levels": [1, 2]}
    > {"command": "case", "name": "bert/published", "family": "bert", "folder": "/…/bert/published", "dtype": "float32"}
    < {}
    > {"command": "dump", "folder": "/…"}
    < {"folder": "/…"}
    > {"command": "stop"}

`reference/INTERPRETING.md` says what each means. A program that dies, hangs or answers with anything else is an
InputError, one line, with the last that it wrote to its standard error.
"""

import json
import os
import queue
import shlex
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, NamedTuple

from minibert.checkpoint import strictjson
from minibert.config import require, shown
from minibert.errors import InputError, shortened
from minibert.golden.case import Case
from minibert.golden.levels import TITLES
from minibert.progress import doing

PROTOCOL = "minibert-program/1"
PATIENCE = 600.0  # seconds until an answer has to be there
LONGEST = 2**20  # bytes of an answer
GRACE = 5  # seconds to end in after "stop"
LOOK = 0.5  # seconds after which to look whether it still runs

Ask = Callable[..., dict[str, Any]]


class Given(NamedTuple):
    """What a program gave. path: the folder or file that it wrote; levels: those that it says it gives; dtype: the
    precision that it was asked for.
    """

    command: str
    path: Path
    levels: tuple[int, ...]
    dtype: str


@contextmanager
def dumped(command: str, case: Case, dtype: str | None = None, patience: float = PATIENCE) -> Iterator[Given]:
    """Starts the program, has it compute the case, and holds what it gave for as long as this lasts.

    dtype: what it is asked to compute in, else what the case's weights are stored in; patience: seconds.
    """
    require(patience > 0, f"patience is {patience}: a number of seconds above 0")
    with tempfile.TemporaryDirectory() as folder, running(command, patience) as ask:
        said = ask("start", protocol=PROTOCOL)
        known = _list(said, "families", str, command)
        levels = _list(said, "levels", int, command)
        fine = all(0 <= level < len(TITLES) for level in levels)
        require(fine, f"program {command}: its levels are {shown(levels)}, not numbers from 0 to {len(TITLES) - 1}")
        family = case.facts["family"] or case.name.partition("/")[0]
        listed = ", ".join(map(shown, known[:9])) or "none"
        require(family in known, f"program {command}: knows {listed}, and case {case.name} is of {family!r}")
        dtype = dtype or case.facts["dtype"]
        ask("case", name=case.name, family=family, folder=str(case.path.resolve()), dtype=dtype)
        with doing("waiting for the program's tensors"):
            given = ask("dump", folder=folder).get("folder")
        require(isinstance(given, str), f"program {command}: answered \"dump\" without a \"folder\"")
        yield Given(command, Path(given), tuple(sorted(set(levels))), dtype)


def _list(said: dict[str, Any], name: str, kind: type, command: str) -> list[Any]:
    held = said.get(name)
    fits = isinstance(held, list) and all(type(one) is kind for one in held)
    require(fits, f"program {command}: answered \"start\" without a list {name!r}")
    return held


@contextmanager
def running(command: str, patience: float) -> Iterator[Ask]:
    """The program, as ask(command, **fields) -> its answer; told to stop at the end, and made to where it does not."""
    try:
        words = shlex.split(command) if os.name != "nt" else command
    except ValueError as error:  # a quotation that does not end
        raise InputError(f"program {command}: cannot be split into words: {f'{error}'.lower()}") from None
    require(bool(words), "--program is empty: the command that starts your program")
    with tempfile.TemporaryFile() as told:
        try:
            process = subprocess.Popen(
                words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=told, start_new_session=os.name != "nt"
            )
        except OSError as error:
            why = f"{error.strerror or error} (looked for from {Path.cwd()})"
            raise InputError(f"program {command}: cannot be started: {why}") from None
        lines: queue.Queue[bytes] = queue.Queue(1)
        threading.Thread(target=_read, args=(process.stdout, lines), daemon=True).start()

        def failed(what: str) -> InputError:
            _end(process)
            told.seek(max(0, told.seek(0, os.SEEK_END) - 4096))
            last = told.read().decode("utf-8", "replace").strip().splitlines()
            return InputError(f"program {shortened(command, 120)}: {what}" + (f": {last[-1]}" if last else ""))

        def ask(name: str, /, **fields: Any) -> dict[str, Any]:
            with suppress(OSError):  # it has ended, as the empty answer says
                process.stdin.write(json.dumps({"command": name, **fields}).encode() + b"\n")
                process.stdin.flush()
            line = _awaited(lines, process, patience)
            if line is None:
                raise failed(f"gave no answer to {name!r} within {patience:g} s (does it flush its standard output?)")
            if not line:
                with suppress(subprocess.TimeoutExpired):
                    process.wait(GRACE)
                code = process.poll()
                ended = "closed its output" if code is None else f"ended with {code}"
                if code is not None and code < 0:
                    ended = f"was killed by signal {-code} ({signal.Signals(-code).name})"
                raise failed(f"{ended} instead of an answer to {name!r}")
            return _answer(line, name, failed)

        try:
            yield ask
            with suppress(OSError):
                process.stdin.write(b'{"command": "stop"}\n')
                process.stdin.close()
            with suppress(subprocess.TimeoutExpired):
                process.wait(GRACE)
        finally:
            _end(process)


def _answer(line: bytes, name: str, failed: Callable[[str], InputError]) -> dict[str, Any]:
    try:
        said = strictjson.loads(line, "answer")
    except InputError:
        said = None
    if not isinstance(said, dict):
        seen = shown(line.decode("utf-8", "replace").strip())
        raise failed(f"answered {name!r} with {seen}, not with an object of JSON in one line")
    if "error" in said:
        raise failed(f"cannot do {name!r}: {shown(said['error'])}")
    return said


def _awaited(lines: queue.Queue[bytes], process: subprocess.Popen, patience: float) -> bytes | None:
    """The next line, empty where the program has ended (what it started may hold its output open), None where neither
    came in time.
    """
    due = time.monotonic() + patience
    while (left := due - time.monotonic()) > 0:
        ended = process.poll() is not None
        try:
            return lines.get(timeout=min(left, LOOK))
        except queue.Empty:
            if ended:
                return b""
    return None


def _read(stream: IO[bytes], lines: queue.Queue[bytes]) -> None:
    """The program's lines as they come, then an empty one."""
    with suppress(OSError, ValueError):
        while line := stream.readline(LONGEST):
            lines.put(line)
    lines.put(b"")


def _end(process: subprocess.Popen) -> None:
    """Ends the program and what it started."""
    with suppress(OSError):
        if os.name == "nt":
            process.kill()
        else:
            os.killpg(process.pid, signal.SIGKILL)
    with suppress(OSError):
        process.stdin.close()
    process.wait()
