"""Exercises: what there is to write (`exercises/`), and what is wrong with what somebody wrote.

An answer is judged by calls, the smallest first: the first one that comes out otherwise is the counterexample, and the
mistake's name is that of the wrong function (`WRONG`) which answers every call as the answer does. One that is right
then stands in the whole model for what is there, and a golden case is replayed.
"""

import contextlib
import copy
import ctypes
import inspect
import pkgutil
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from minibert import exercises, reading
from minibert.config import require
from minibert.errors import InputError
from minibert.golden import case as files
from minibert.golden import compare, subject

SEED = 7
CLOSE = 1e-9  # of the largest number
LONG = 10.0  # seconds that an answer may take for a call; right ones take milliseconds
HEAD = '''"""Exercises. Write each function in place of its `raise` line, with NumPy alone; then run

    minibert learn check {name}

The arguments are arrays and numbers, and are never to be written to. What is left as it stands, is still to do.
"""

import math

import numpy as np

erf = np.vectorize(math.erf, otypes=[float])
'''


@dataclass(frozen=True)
class Verdict:
    """Of one answer. state: "right", "wrong", "to do"; what: the mistake by its name, else what can be seen of it;
    named: whether a known one answers alike; shown: lines with the counterexample.
    """

    name: str
    state: str
    what: str = ""
    named: bool = False
    shown: tuple[str, ...] = ()


def names() -> list[str]:
    """The exercises in their order."""
    found = (module.name for module in pkgutil.iter_modules(exercises.__path__))
    return sorted(found, key=lambda name: exercise(name).ORDER)


def exercise(name: str) -> ModuleType:
    """The file of an exercise."""
    return import_module(f"{exercises.__name__}.{name}")


def title(name: str) -> str:
    """What is to be written, in a line."""
    return inspect.getdoc(exercise(name)).partition("\n")[0]


def sheet(file: str = "exercises.py") -> str:
    """The file to fill in."""
    parts = [HEAD.format(name=file)]
    for number, name in enumerate(names(), 1):
        module = exercise(name)
        arguments = inspect.signature(getattr(module, name))
        said = inspect.getdoc(module).replace("\n", "\n    ").replace("\n    \n", "\n\n")
        parts.append(f'\n\ndef {name}{arguments}:\n    """{number}. {said}\n    """\n    raise NotImplementedError\n')
    return "".join(parts)


# ---- Answers ---------------------------------------------------------------------------------------------------------
def answers(path: Path) -> dict[str, Callable]:
    """The functions of a file that are answers. It is run, as `python FILE` runs it; InputError where that fails."""
    held: dict[str, Any] = {"__name__": "answers", "__file__": str(path)}
    try:
        exec(compile(reading.text(path), str(path), "exec"), held)
    except InputError:
        raise
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from None
    except (SyntaxError, ValueError) as error:
        line = f", line {error.lineno}" if isinstance(error, SyntaxError) else ""
        raise InputError(f"{path}{line}: {getattr(error, 'msg', error)}") from None
    except (Exception, SystemExit) as error:
        raise InputError(f"{path}{_line(error, path)}: {type(error).__name__}: {error}") from None
    found = {name: held[name] for name in names() if callable(held.get(name))}
    require(bool(found), f"{path} has none of the exercises' functions: minibert learn start {path.name} writes them")
    return found


class _Late(BaseException):
    """What is raised in the thread of an answer that takes too long."""


@contextlib.contextmanager
def _ending() -> Iterator[None]:
    """What takes longer than LONG seconds inside ends with TimeoutError, where it stands."""
    asked, ended, lock = threading.get_ident(), [False], threading.Lock()

    def stop() -> None:
        with lock:
            if not ended[0]:  # no signal, which a process in the background may not hear
                ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(asked), ctypes.py_object(_Late))

    timer = threading.Timer(LONG, stop)
    timer.daemon = True
    timer.start()
    try:
        try:
            yield
        finally:
            with lock:
                ended[0] = True
            timer.cancel()
    except _Late as late:
        said = f"no answer in {LONG:g} s: a loop does not end"
        raise TimeoutError(said).with_traceback(late.__traceback__) from None


def _line(error: BaseException, path: Path | str | None = None) -> str:
    """The line, of that file where one is given, in which an exception came up."""
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if path in (None, frame.filename, Path(frame.filename))
    ]
    return f", line {frames[-1].lineno}" if frames else ""


def _file(answer: Callable) -> str | None:
    """The file an answer stands in, as its frames name it."""
    return getattr(getattr(answer, "__code__", None), "co_filename", None)


def judged(name: str, answer: Callable, replay: bool = True) -> Verdict:
    """What an answer is: by its calls, and where it is right there, in a golden case."""
    module = exercise(name)
    answered: list[dict[str, Any]] = []
    right = getattr(module, name)
    got: list[Any] = []
    failed: tuple[int, Verdict] | None = None  # behind how many results, and what
    for given in module.calls(np.random.default_rng(SEED)):
        own = copy.deepcopy(given)
        try:
            with np.errstate(all="ignore"), _ending():
                got.append(answer(**own))
        except NotImplementedError:
            return Verdict(name, "to do")
        except (Exception, SystemExit) as error:
            what = f"{type(error).__name__}: {error}{_line(error, _file(answer))}"
            failed = failed or (len(got), Verdict(name, "wrong", what, False, _shown(given)))
            continue
        changed = [key for key, value in own.items() if not _alike(value, given[key], exact=True)]
        if changed:
            return Verdict(name, "wrong", f"it writes to {changed[0]}, which is the caller's", False, _shown(given))
        answered.append(given)
    due = [right(**given) for given in answered]
    bad = next((i for i in range(len(answered)) if not _alike(got[i], due[i])), None)
    if bad is None:
        return failed[1] if failed else (_in_model(name, module, answer) if replay else Verdict(name, "right"))
    what = _named(module, answered, got)
    if what is None and failed and failed[0] <= bad:
        return failed[1]
    seen = what or _seen(got[bad], due[bad])
    return Verdict(name, "wrong", seen, what is not None, _shown(answered[bad], got[bad], due[bad]))


def _named(module: ModuleType, calls: list[dict[str, Any]], got: list[Any]) -> str | None:
    """The known mistake that answers every call so."""
    for what, wrong in module.WRONG.items():
        try:
            with np.errstate(all="ignore"):
                if all(_alike(one, wrong(**copy.deepcopy(given))) for one, given in zip(got, calls, strict=True)):
                    return what
        except ValueError:  # it fails where this answer does not
            continue
    return None


def _alike(a: Any, b: Any, exact: bool = False) -> bool:
    """Equal but for rounding: arrays, numbers, texts, and lists of them, of one shape each; NaN is like NaN."""
    if isinstance(b, list | tuple) or isinstance(a, list | tuple):
        same = isinstance(a, list | tuple) and isinstance(b, list | tuple) and len(a) == len(b)
        return same and all(_alike(x, y, exact) for x, y in zip(a, b, strict=True))
    if isinstance(a, str) or isinstance(b, str):
        return type(a) is type(b) and a == b
    if isinstance(a, frozenset | set):
        return a == b
    try:
        a, b = np.asarray(a, float), np.asarray(b, float)
    except (TypeError, ValueError):
        return False
    if a.shape != b.shape:
        return False
    bar = 0 if exact else CLOSE * max(1e-300, float(np.abs(b[np.isfinite(b)]).max(initial=0)))
    with np.errstate(invalid="ignore"):
        return bool(np.all((a == b) | (np.abs(a - b) <= bar) | (np.isnan(a) & np.isnan(b))))


# ---- In the whole model ----------------------------------------------------------------------------------------------
def _in_model(name: str, module: ModuleType, answer: Callable) -> Verdict:
    """The answer in the place that it has in a model; one that has none is right as it is."""
    if not hasattr(module, "CASE"):
        return Verdict(name, "right")
    case = files.read(module.CASE)
    put, parts = (getattr(module, part, lambda _: {})(answer) for part in ("put", "parts"))

    def around(f: Callable, args: tuple, constants: dict) -> Any:
        return put[f.__name__](f, args, constants) if f.__name__ in put else f(*args, **constants)

    whole = replace(subject.cast(case.subject(), np.float64, [lambda: around]), parts=parts)
    where, steps = f"in the model, {module.CASE}", tuple(case.facts["steps"]) if parts else ()
    try:
        with np.errstate(all="ignore"):
            got = subject.observe(whole, steps)
    except (Exception, SystemExit) as error:
        return Verdict(name, "wrong", f"{where}: {type(error).__name__}: {error}")
    off = _off(case, got)
    if off is not None:
        return Verdict(name, "wrong", f"{where}: {off} is not what is due")
    return Verdict(name, "right", f"{where}: {len(got)} tensors as they are due")


def _off(case: Any, got: Mapping[str, np.ndarray]) -> str | None:
    """The first tensor of a replay that rounding does not explain."""
    for key, entry in case.entries.items():
        if key in got and entry.role not in ("weight", "input") and (floor := compare.floor(entry, "float32")):
            value = np.asarray(got[key])
            truth = case.tensor(key)
            if value.shape != truth.shape or not compare.error(value, truth, entry.scale) <= compare.SUSPECT * floor:
                return key
    return None


# ---- What is shown ---------------------------------------------------------------------------------------------------
def _shown(given: Mapping[str, Any], *results: Any) -> tuple[str, ...]:
    """The call, what came and what is due: a line each."""
    told = ", ".join(f"{key}={_brief(value)}" for key, value in given.items())
    return (told, *(f"{word} {_brief(value)}" for word, value in zip(("got", "due"), results, strict=False)))


def _brief(value: Any) -> str:
    """A value in a line."""
    if isinstance(value, np.ndarray):
        said = np.array2string(
            value, precision=4, separator=", ", suppress_small=True, max_line_width=10**6, threshold=12
        )
        return " ".join(said.split())
    if isinstance(value, list | tuple):
        inner = ", ".join(map(_brief, value))
        return f"[{inner}]" if isinstance(value, list) else f"({inner})"
    if isinstance(value, frozenset):
        return "{" + ", ".join(sorted(map(repr, value))) + "}"
    return f"{value:.6g}" if isinstance(value, float) else repr(value)


def _seen(got: Any, due: Any) -> str:
    """What is wrong with a result that no known mistake explains: its kind, its shape, or its first wrong entry."""
    if got is None:
        return "it returns nothing"
    if isinstance(due, tuple | list) and not isinstance(due, np.ndarray):
        many = f"{len(due)} result{' is' if len(due) == 1 else 's are'} due"
        if not isinstance(got, tuple | list):
            return f"{type(got).__name__} where {many}"
        if len(got) != len(due):
            return f"{many}, not {len(got)}"
        i = next(i for i, (a, b) in enumerate(zip(got, due, strict=True)) if not _alike(a, b))
        return f"result {i + 1}: {_seen(got[i], due[i])}"
    if isinstance(due, str):
        return f"{got!r} where {due!r} is due"
    try:
        a, b = np.asarray(got, float), np.asarray(due, float)
    except (TypeError, ValueError):
        return f"{type(got).__name__} where numbers are due"
    if a.shape != b.shape:
        return f"its shape is {a.shape}, due is {b.shape}"
    with np.errstate(invalid="ignore"):
        wrong = ~(
            (a == b)
            | (np.abs(a - b) <= CLOSE * max(1e-300, float(np.abs(b).max(initial=0))))
            | (np.isnan(a) & np.isnan(b))
        )
    index = tuple(int(i) for i in np.argwhere(wrong)[0])
    place = f" at {list(index)}" if index else ""
    return f"no known mistake: {a[index]:.6g}{place}, where {b[index]:.6g} is due"
