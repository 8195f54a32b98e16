"""The directory of a run, whatever is trained in it: begun once, for one process at a time, taken up again, said.

    run.json                          what was asked, and what it was completed to
    log.jsonl, checkpoints/           see `training`
    report.json                       the held-out figures, once it is done
"""

import contextlib
import errno
import itertools
import json
import os
import shlex
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from minibert import batches, memory, optim, options, ranks, reading, training
from minibert.checkpoint import atomic, lock
from minibert.config import require
from minibert.errors import InputError, WriteError, printable
from minibert.options import option
from minibert.progress import filled

RECORD, LOG, REPORT = "run.json", "log.jsonl", "report.json"
Run = dict[str, Any]


@dataclass(frozen=True)
class Options(options.Options):
    """What decides a run's bits, beside the corpus, the model's configuration and the options of the family's data."""

    steps: int = option(3000, "make so many updates")
    batch_size: int = option(16, "compute each update from so many rows")
    accumulate: int = option(2, "compute them in so many parts, side by side where there are cores")
    held_out: float = option(0.1, "keep this share of the text for the evaluation; from 1 on so many documents")
    learning_rate: float = option(2e-3, "let the learning rate rise to this")
    warmup: float = option(0.1, "let it rise over this share of the steps; from 1 on so many steps", least=0)
    optimizer: str = option("bert_adam", "update the parameters by this rule", among=tuple(optim.OPTIMIZERS))
    schedule: str = option("bert", "let the learning rate fall by this rule", among=tuple(optim.SCHEDULES))
    weight_decay: float = option(0.1, "let weights decay at this rate")
    clip_norm: float = option(1.0, "cut a gradient to this norm")
    dropout_steps: int = option(0, "drop out nothing from this step on; 0: always drop out", least=0,
                                most=training.LIMITS["steps"])  # fmt: skip
    seed: int = option(0, "begin all that is drawn from this number")
    dtype: str = option("float32", "compute in this precision", among=("float32", "float64"))

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.held_out > 0, f"held_out is {self.held_out}; it must be positive")
        self.plan(1, 1)

    def plan(self, threads: int, checkpoint_every: int) -> training.Plan:
        """The training loop's part of the options."""
        own = {name: getattr(self, name) for name in training.Plan.__dataclass_fields__ if hasattr(self, name)}
        steps = min(self.steps, training.LIMITS["steps"])  # more are refused below
        own["warmup"] = int(self.warmup * steps if self.warmup < 1 else self.warmup)
        return training.Plan(**{**own, "threads": threads, "checkpoint_every": checkpoint_every})


class Begun(NamedTuple):
    """A kind of run. planned, resumed: what a new run, or one that is there, begins with, its record first; trained:
    what is done with that; take_back: removes what a request has made that proves unusable.
    """

    planned: Callable[[], tuple[Any, ...]]
    resumed: Callable[[], tuple[Any, ...]]
    trained: Callable[..., None]
    take_back: Callable[[Path], None]


def carry_out(command: str, directory: Path, resume: bool, begun: Begun) -> None:
    """Begins a run in a new directory, or goes on with the one that is there; command: what it is called by.

    Of a group of ranks the first holds the directory, which all have to see.
    """
    group = ranks.group()
    with going_on(command, directory):
        if resume:
            _require_seen(directory)
            with group.first(lambda: lock.held(directory)):
                run, *others = begun.resumed()
                _require_parts(run)
                begun.trained(run, *others)
            return
        group.once(lambda: require_free(directory))
        run, *others = begun.planned()
        _require_parts(run)
        with group.first(lambda: new(directory, begun.take_back)):
            group.once(lambda: record(directory, run))
            _require_seen(directory)
            begun.trained(run, *others)


def _require_parts(run: Run) -> None:
    """That every rank has a part of an update to compute."""
    ranks_, parts = ranks.group().size, run["options"]["accumulate"]
    require(ranks_ <= parts, f"{ranks_} processes, and an update is computed in {parts} parts: raise accumulate, or "
            "start fewer")


def _require_seen(directory: Path) -> None:
    """That the run is there, on whatever machine."""
    group = ranks.group()
    seen = group.gathered(reading.present(directory / RECORD))
    require(seen[0], f"{directory} holds no run to resume")
    require(all(seen), f"process {(*seen, False).index(False)} does not see {directory}: put it on a disk that all "
            "machines share")


@contextlib.contextmanager
def going_on(command: str, directory: Path) -> Iterator[None]:
    """Whoever is stopped, by Ctrl-C or for want of room on a disk or in memory, is told how to go on."""
    try:
        yield
    except KeyboardInterrupt as stop:
        said = f"{stop}" or "stopped while preparing or evaluating"
        raise KeyboardInterrupt(_told(said, command, directory)) from None
    except WriteError as error:
        raise WriteError(_told(f"{error}", command, directory)) from None
    except MemoryError as error:
        said = f"not enough memory{f' ({error})' if f'{error}' else ''}"
        raise InputError(f"{said}: start a run with a lower batch_size, more accumulate or a smaller model") from None
    except OSError as error:
        if error.filename is not None:
            raise InputError(_told(f"{error.filename}: {error.strerror}", command, directory)) from None
        raise OSError(error.errno, _told(error.strerror or f"{error}", command, directory)) from None


def _told(what: str, command: str, directory: Path) -> str:
    begun = reading.present(directory / RECORD)
    return printable(what + f"; continue with: minibert {command} --out {shlex.quote(str(directory))} --resume" * begun)


@contextlib.contextmanager
def new(directory: Path, take_back: Callable[[Path], None]) -> Iterator[None]:
    """A new run's directory, for this process alone.

    A request that proves unusable before training begins takes back what it has made, to be asked for again, corrected.
    """
    with training.written(directory):
        directory.mkdir(parents=True, exist_ok=True)
    try:
        with lock.held(directory):
            require_free(directory)
            try:
                yield
            except WriteError:  # the request may be right
                raise
            except InputError:
                if not reading.present(directory / LOG):
                    take_back(directory)
                raise
    finally:
        with contextlib.suppress(OSError):
            directory.rmdir()  # where nothing is in it


def directory(name: str, out: str | os.PathLike | None, resume: bool) -> Path:
    """The one asked for. By default the last of runs/NAME, runs/NAME-2, … to resume, else the next of them."""
    if out is not None:
        return Path(out)
    names = (Path("runs", name if n == 1 else f"{name}-{n}") for n in itertools.count(1))
    taken = list(itertools.takewhile(reading.present, names))
    require(taken or not resume, f"there is no run {Path('runs', name)} to resume: name one with --out")
    return taken[-1] if resume else Path("runs", f"{name}-{len(taken) + 1}" if taken else name)


def require_free(directory: Path) -> None:
    free = not reading.present(directory / RECORD)
    require(free, f"{directory} holds a run: continue it with --resume, or choose another")
    names = reading.names(directory) if reading.present(directory) else []
    require(all(name.startswith(".") for name in names), f"{directory} is not empty: choose a new directory")


def record(directory: Path, run: Run) -> None:
    """As ASCII: names of files need not have UTF-8."""
    atomic.write_bytes(directory / RECORD, json.dumps(run, allow_nan=False, separators=(",", ":")).encode("ascii"))


def place(path: str | os.PathLike) -> str:
    """The path in full, behind any link."""
    try:
        return str(Path(path).resolve())
    except (OSError, RuntimeError, ValueError, TypeError) as error:  # RuntimeError: links in a circle
        raise InputError(f"{path} is no path of a file: {error}") from None


def say(label: str, text: str) -> None:
    try:
        print(filled(f"{label:<10}{printable(text)}", sys.stdout, 10), flush=True)
    except OSError as error:
        if error.errno == errno.EPIPE:  # nobody reads on; the run goes on
            return
        raise OSError(error.errno, f"cannot write to standard output: {error.strerror or error}") from None


def require_memory(model: Any, chosen: training.Batch, plan: training.Plan) -> None:
    """That the machine, where the system says what it has, can hold the first step's micro-batches, of these rows, side
    by side.
    """
    if "SC_PHYS_PAGES" not in getattr(os, "sysconf_names", ()):
        return
    there = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    sizes, most = batches.lengths(model.network, model.config, chosen), batches.longest(model.network, model.config)
    longest = max(8, *(int(size.max()) for size in sizes.values())) if sizes else None
    longest = longest if most is None else min(most, longest)
    row = sum(held.bytes for held in memory.activations(model, 1, longest))
    needed = row * plan.batch_size // plan.accumulate * min(plan.threads, plan.accumulate)
    require(needed <= there, f"a step would hold some {needed / 2**30:,.1f} GiB, and this machine has "
            f"{there / 2**30:,.1f}: lower batch_size, {plan.batch_size}, or raise accumulate, {plan.accumulate}")
