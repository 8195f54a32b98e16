"""The training loop: accumulation, the log, checkpoints, resuming bit for bit, held-out evaluation.

Nothing random is carried from step to step: what a step draws is a function of (seed, purpose, step), so the state
of a run is its parameters, its moments, the number of steps done, and of a model that reads a stream of segments what
it carries from one to the next (a family's CARRIED). A run lives in one directory:

    log.jsonl                        one line a step
    checkpoints/00000400/            model.safetensors, optimizer.safetensors, state.json, and carried.safetensors where
                                     something is carried; the last two are kept
"""

import contextlib
import contextvars
import functools
import json
import math
import os
import re
import shutil
import signal
import sys
import threading
import time
import warnings
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from minibert import (
    buffers,
    config,
    families,
    kernels,
    layers,
    objective,
    optim,
    ranks,
    reading,
    signatures,
    touched,
    tree,
)  # fmt: skip
from minibert.batches import by_length, dims, size, taken
from minibert.checkpoint import atomic, safetensors, strictjson
from minibert.checkpoint.names import from_published
from minibert.config import one_of, real, require, shown
from minibert.errors import InputError, WriteError
from minibert.progress import Progress, note

Batch = dict[str, Any]

CARRIED = "carried.safetensors"
HELD_OUT = "held_out"  # losses on held-out rows, in state.json, in the log, and in the state of a run that has checks
LINE = 1 << 16  # bytes of a line of the log: one has some hundreds
LIMITS = {  # numbers of a plan that are counted from 1, and the most that each may be
    "steps": 99_999_999,  # a checkpoint's name has eight digits
    "batch_size": 65_536,
    "accumulate": 65_536,
    "threads": kernels.MOST,
    "checkpoint_every": 99_999_999,
}
PURPOSES = {name: i for i, name in enumerate(
    ("order", "dropout", "train", "held_out", "corruption", "held_out corruption", "sampling", "held_out sampling"),
    start=1)}


@dataclass(frozen=True)
class Plan:
    """How to train. Every field but the last two decides the run's bits."""

    steps: int
    batch_size: int = 32  # rows an update
    accumulate: int = 1  # micro-batches an update is computed from
    optimizer: str = "bert_adam"
    learning_rate: float = 1e-3
    warmup: int = 0  # steps
    schedule: str = "bert"
    weight_decay: float = 0.01
    clip_norm: float = 1.0
    seed: int = 0
    threads: int = 1  # micro-batches computed at the same time
    checkpoint_every: int = 100

    def __post_init__(self):
        for name, most in LIMITS.items():
            require(1 <= getattr(self, name) <= most, f"{name} is {getattr(self, name)}; it must be from 1 to {most:,}")
        for name, end in {"warmup": 100_000_000, "learning_rate": math.inf, "weight_decay": math.inf,
                          "seed": 2**64}.items():
            value = getattr(self, name)
            require(0 <= value < end, f"{name} is {value}; it must be at least 0 and below {end}")
        require(self.clip_norm > 0, f"clip_norm is {self.clip_norm}; it must be positive")
        require(self.batch_size % self.accumulate == 0,
                f"batch_size {self.batch_size} is not a multiple of accumulate {self.accumulate}")
        for name, known in (("optimizer", optim.OPTIMIZERS), ("schedule", optim.SCHEDULES)):
            one_of(name, getattr(self, name), known)


def draws(seed: int, purpose: str, *counters: int) -> np.random.Generator:
    """The generator of one purpose at one place: the same arguments draw the same numbers, whatever ran before."""
    return np.random.default_rng([seed, PURPOSES[purpose], *counters])


# ------------------------------------------------------------------------------------------------------- batches

@functools.lru_cache(maxsize=2)
def _permutation(seed: int, epoch: int, count: int) -> np.ndarray:
    return draws(seed, "order", epoch).permutation(count)


def order(step: int, size: int, count: int, seed: int) -> np.ndarray:
    """The `size` instances of a step (counted from 0): epochs of `count` shuffled instances, end to end."""
    places = np.arange(step * size, (step + 1) * size)
    return np.array([_permutation(seed, int(e), count)[i] for e, i in zip(*divmod(places, count), strict=True)])


def streamed(step: int, size: int, count: int) -> tuple[np.ndarray, bool]:
    """(the `size` instances of a step (counted from 0), whether they go on from those of the step before): `count`
    instances in the order of the text are read in `size` places at once, evenly spaced, again and again.
    """
    each = max(1, count // size)
    return (np.arange(size) * each + step % each) % count, step % each > 0


def micro_batches(
    model: Any, chosen: Batch, plan: Plan, step: int, dropout: bool,
    corrupted: Callable[[Batch, int], Batch] = lambda part, i: part, carried: list[Batch] | None = None,
) -> list[Batch]:  # fmt: skip
    """This rank's micro-batches of a step's rows (`ranks.Group.own` of plan.accumulate), with all that is drawn for
    it: a function of the seed, the step and the model. corrupted(part, i): what is done to the rows of part i before it
    is cut; carried: what each part gets of the step before.

    Rows of like length go together, as each micro-batch is cut to its longest: padding is not computed.
    """
    network, config, parts = model.network, model.config, []
    split = np.split(by_length(network, config, chosen), plan.accumulate)
    for i in ranks.group().own(plan.accumulate):
        rows = split[i]
        part = corrupted({name: array[rows] for name, array in chosen.items()}, i)
        part = {**taken(network, config, part, np.arange(len(rows))), **(carried[i] if carried else {})}
        if dropout:
            places = network.dropouts(config, dims(network, config, part))
            part["dropout"] = layers.keep_masks(draws(plan.seed, "dropout", step, i), places)
        if hasattr(network, "sample"):
            part |= network.sample(draws(plan.seed, "sampling", step, i), model.params, config, part)
        parts.append(part)
    return parts


def denominators(model: Any, parts: list[Batch], count: int | None = None) -> dict[str, float]:
    """{loss term: how many targets all the batches hold}: the large batch's divisors. parts, count: see `_sum`."""
    return _sum(lambda part: objective.counts(model.network, model.config, part), parts, 1, count)


# ------------------------------------------------------------------------------------------------ loss, gradient

def _measured(model: Any, b: Batch, totals: dict[str, float], keep: str) -> tuple[dict[str, Any], Any]:
    """({loss, terms, accuracies, classes}, cache) of a part: its share of the means over all the targets.

    classes: the share of each class among the targets of the terms that are decisions.
    """
    loss, cache = model.loss(b, totals, keep)
    correct = objective.right(cache)
    right = {term: count / max(1, totals[term]) for term, (count, _, _) in correct.items()}
    classes = {term: held / max(1, totals[term]) for term, (_, _, held) in correct.items() if held is not None}
    terms = {term: float(value) for term, value in cache["terms"].items()}
    return {"loss": float(loss), "terms": terms, "accuracies": right, "classes": classes}, cache


def _sum(f: Callable[[Any], Any], parts: list[Any], threads: int, count: int | None = None) -> Any:
    """The sum of the trees f(part) over the parts of all ranks, of which there are `count`; those here alone unless
    given. It is taken by the tree of `ranks.Group.sum`; `threads` at a time are computed.

    Each is computed in this context, so that what observes pairs here (traces, mistakes) sees every thread's calls.
    """
    def each() -> Iterator[Any]:
        with ThreadPoolExecutor(threads) as pool:
            for i in range(0, len(parts), threads):
                several = parts[i:i + threads]
                contexts = [contextvars.copy_context() for _ in several]  # a context can be entered once at a time
                yield from pool.map(lambda context, b: context.run(f, b), contexts, several)

    group = ranks.ALONE if count is None else ranks.group()
    several = threads > 1 and len(parts) > 1
    return group.sum(each() if several else map(f, parts), len(parts) if count is None else count, _plus)


def _plus(a: Any, b: Any) -> Any:
    """The sum of two trees; what one of them lacks, as a term that its batch did not ask, counts 0."""
    if isinstance(a, dict):
        return {key: _plus(a[key], b[key]) if key in a and key in b else a.get(key, b.get(key)) for key in {**a, **b}}
    return tree.map(_added, a, b)


def _added(a: Any, b: Any) -> Any:
    """a + b, of arrays on memory used before."""
    large = isinstance(a, np.ndarray) and a.nbytes >= buffers.LEAST and a.dtype == b.dtype
    return np.add(a, b, out=buffers.empty_like(a)) if large else np.add(a, b)


def gradient(model: Any, parts: list[Batch], threads: int = 1) -> tuple[dict[str, Any], Any]:
    """({loss, terms, accuracies} of the large batch, its gradient), from micro-batches.

    Each micro-batch's sums are divided by the targets of all, so the sum over micro-batches is the large batch's
    mean, whatever their sizes. They are added by a fixed tree: threads change no bit.
    """
    total = _gradient(model, parts, threads, [])
    return total["measured"], total["gradient"]


def _gradient(
    model: Any, parts: list[Batch], threads: int, carried: list[Batch], count: int | None = None,
) -> dict[str, Any]:  # fmt: skip
    """measured, gradient: as `gradient`, over the parts of all ranks, `count` of them; totals: the denominators;
    followed: the mean over the parts of what parameters are to follow, by path. Each of carried, one for each of these,
    is replaced by what the part hands on, where it is computed.
    """
    totals, first = denominators(model, parts, count), ranks.group().own(count).start if count else 0

    def micro(numbered: tuple[int, Batch]) -> dict[str, Any]:
        i, b = numbered
        measured, cache = _measured(model, b, totals, getattr(model.network, "KEEP", "caches"))
        if carried:
            carried[i] = tree.map(np.ascontiguousarray, cache["carried"])
        followed = model.network.followed(cache) if hasattr(model.network, "followed") else {}
        return {"measured": measured, "gradient": model.loss_backward(cache),
                "followed": {path: value / (count or len(parts)) for path, value in followed.items()}}

    total = _sum(micro, [*enumerate(parts, first)], threads, count)
    total["measured"].pop("classes")
    return {**total, "totals": totals}


def evaluation(model: Any, instances: Batch, batch_size: int = 64, threads: int = 1, seed: int = 0) -> dict[str, Any]:
    """{loss, terms, accuracies, targets, classes, majority} over ALL instances, without dropout.

    Every mean is over all targets of the instances together. `classes` are the shares of the classes of a decision,
    `majority` the largest of them: what a constant guess gets.
    """
    module, config = model.network, model.config
    rows = by_length(module, config, instances, longest_first=True)
    count = -(-len(rows) // batch_size)
    own = ranks.group().own(count)
    parts = [taken(module, config, instances, rows[i * batch_size:(i + 1) * batch_size]) for i in own]
    if hasattr(module, "sample"):
        parts = [{**part, **module.sample(draws(seed, "held_out sampling", i), model.params, config, part)}
                 for i, part in zip(own, parts, strict=True)]
    totals = denominators(model, parts, count)

    return _judged(_sum(lambda part: _measured(model, part, totals, "last")[0], parts, threads, count), totals)


def stream_evaluation(model: Any, instances: Batch, streams: int = 16) -> dict[str, Any]:
    """`evaluation` of a stream of segments, in the order of the text: each carries to the next what the model hands on.
    As many streams as are asked for are read side by side.
    """
    count = len(next(iter(instances.values())))
    pieces = [piece for piece in np.array_split(np.arange(count), streams) if len(piece)]  # the longest first
    totals, sums, carried = denominators(model, [instances]), [], {}
    for step in range(len(pieces[0])):
        rows = np.array([piece[step] for piece in pieces if step < len(piece)])
        part = {name: array[rows] for name, array in instances.items()}
        part |= tree.map(functools.partial(_first, count=len(rows)), carried)
        measured, cache = _measured(model, part, totals, "last")
        carried = cache["carried"]
        sums.append(measured)
    return _judged(functools.reduce(_plus, sums), totals)


def _first(array: np.ndarray, count: int) -> np.ndarray:
    return array[:count]


def _judged(measured: dict[str, Any], totals: dict[str, float]) -> dict[str, Any]:
    measured["classes"] = {term: shares.tolist() for term, shares in measured["classes"].items()}
    majority = {term: max(shares) for term, shares in measured["classes"].items()}
    return {**measured, "targets": totals, "majority": majority}


def wilson_lower(accuracy: float, count: float, z: float = 2.5758293035489004) -> float:
    """Lower end of Wilson's interval of a share measured on `count` trials; z = 2.576 is the two-sided 99 % one."""
    centre = accuracy + z * z / (2 * count)
    spread = z * math.sqrt(accuracy * (1 - accuracy) / count + z * z / (4 * count * count))
    return (centre - spread) / (1 + z * z / count)


# --------------------------------------------------------------------------------------------------- checkpoints

def _moments(state: dict) -> list[str]:
    return [name for name in state if name not in ("step", "carried", HELD_OUT)]


def _named(model: Any, held: Any) -> dict[str, np.ndarray]:
    """A tree under published names; one whose arrays have other shapes than the parameters, by path."""
    return model.state_dict(held) if _shaped(model, held) else tree.flatten(held)


def _shaped(model: Any, held: Any) -> bool:
    """Whether the tree's arrays are shaped like the parameters: Adafactor's moments aren't."""
    return all(a.shape == p.shape for a, p in zip(tree.leaves(held), tree.leaves(model.params), strict=True))


def save_checkpoint(run: Path, model: Any, state: dict, seconds: float) -> Path:
    """Writes checkpoints/STEP whole or not at all, and drops all but it and the one before.

    One of this step that already stands there could not be read, or it would not be made again: it is replaced.
    """
    path = run / "checkpoints" / f"{state['step']:08d}"
    with written(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        if os.path.lexists(path):
            _drop(path)
    with atomic.directory(path) as folder:
        safetensors.write(folder / "model.safetensors", model.state_dict())
        safetensors.write(folder / "optimizer.safetensors",
                          {f"{slot}.{name}": a for slot in _moments(state)
                           for name, a in _named(model, state[slot]).items()})
        if "carried" in state:
            safetensors.write(folder / CARRIED, tree.flatten(state["carried"]))
        said = {"step": state["step"], "seconds": seconds}
        said |= {HELD_OUT: state[HELD_OUT]} if HELD_OUT in state else {}
        atomic.write_text(folder / "state.json", json.dumps(said) + "\n")
    for old in checkpoints(run)[:-2]:
        with written(old):
            _drop(old)
    return path


def _drop(path: Path) -> None:
    doomed = path.with_name(f".old-{path.name}")  # half a checkpoint must never look like one
    os.replace(path, doomed)
    discard(doomed)


def discard(path: Path) -> None:
    """Removes a folder with all in it; of a link only the link."""
    shutil.rmtree(path, ignore_errors=True)  # nothing but a folder itself
    with contextlib.suppress(OSError):
        path.unlink(missing_ok=True)


def require_plain(path: Path) -> None:
    """InputError where a link stands: whoever wrote there would write elsewhere."""
    linked = os.path.islink(path) or getattr(os.path, "isjunction", lambda _: False)(path)
    require(not linked, f"{path} is a link: put what it leads to in its place")


@contextlib.contextmanager
def written(path: Path) -> Iterator[None]:
    """What the system says when this cannot be written, as one line."""
    try:
        yield
    except (OSError, ValueError) as error:  # ValueError: no name that a file can have
        if isinstance(error, InputError):
            raise
        raise WriteError(f"cannot write {path}: {getattr(error, 'strerror', None) or error}") from None


def checkpoints(run: Path) -> list[Path]:
    """The run's checkpoints, oldest first."""
    return [run / "checkpoints" / name for name in _names(run) if re.fullmatch(r"[0-9]{8}", name)]


def _names(run: Path) -> list[str]:
    require_plain(run / "checkpoints")
    return reading.names(run / "checkpoints") if reading.present(run / "checkpoints") else []


def load_checkpoint(run: Path, model: Any, state: dict, steps: int, checks: "Checks | None" = None) -> float:
    """Fills model.params and the optimizer's state from the newest readable checkpoint; returns its seconds.

    steps: of the whole run; checks: how often its held-out loss is measured. Leftovers of writes that were cut off are
    removed. Without a checkpoint everything stays as it is: step 0.
    """
    for name in _names(run):
        if re.fullmatch(r"\.old-[0-9]{8}|\.[0-9]{8}\.[0-9]+-[0-9]+\.new", name):
            discard(run / "checkpoints" / name)
    damaged: list[str] = []
    for path in reversed(checkpoints(run)):
        try:
            state["step"], seconds = _loaded(path, model, state, steps, checks)
        except InputError as error:
            damaged.append(f"{path} is damaged ({error})")
            continue
        for said in damaged:
            note(f"checkpoint {said}; using the one before")
        return seconds
    require(not damaged, f"no readable checkpoint: {'; '.join(damaged)}: remove the directory to start again")
    return 0.0


def _loaded(path: Path, model: Any, state: dict, steps: int, checks: "Checks | None") -> tuple[int, float]:
    """(step, seconds) of a checkpoint whose tensors now fill the parameters and moments."""
    require_plain(path)
    saved = strictjson.loads(reading.contents(path / "state.json"), "state.json")
    step, seconds = (saved.get("step"), saved.get("seconds")) if isinstance(saved, dict) else (None, None)
    require(type(step) is int and step == int(path.name) and 1 <= step <= steps,
            f"state.json: 'step' is {shown(step)}, not the step of this run that its directory is called by")
    require(type(seconds) in (int, float) and 0 <= seconds < math.inf, f"state.json: 'seconds' is {shown(seconds)}")
    if checks:
        losses = saved.get(HELD_OUT)
        fits = isinstance(losses, list) and len(losses) == step // checks.every
        fits = fits and all(type(loss) is float and math.isfinite(loss) for loss in losses)
        require(fits, f"state.json: {HELD_OUT!r} is {shown(losses)}, not a loss for every {checks.every} steps")
        state[HELD_OUT][:] = losses
    _fill(model, model.params, _tensors(path / "model.safetensors", [model.params]))
    slots = _tensors(path / "optimizer.safetensors", [state[slot] for slot in _moments(state)])
    for slot in _moments(state):
        _fill(model, state[slot], {name.removeprefix(f"{slot}."): a for name, a in slots.items()
                                   if name.startswith(f"{slot}.")})
    if "carried" in state:
        state["carried"] = _carried(path / CARRIED, model, len(state["carried"]))
    return step, float(seconds)


def _carried(path: Path, model: Any, parts: int) -> list[Batch]:
    """What a checkpoint holds for each part of the next step, if it is what the network takes."""
    flat, specs = safetensors.read(path), model.network.inputs(model.config)
    odd = [name for name in flat if not re.fullmatch(r"[0-9]{1,5}\.\w+(\.[0-9]{1,5})?", name)]
    found = None if odd else tree.unflatten(flat)
    fits = isinstance(found, list) and len(found) == parts and all({*part} <= {*specs} for part in found)
    require(fits, f"{path.name} holds something else than what {parts} parts of a step carry on")
    kind = tree.leaves(model.params)[0].dtype
    for part in found:
        for name, held in part.items():
            signatures.check(name, held, signatures.parse(specs[name]), config.to_fields(model.config))
            require(all(array.dtype == kind for array in tree.leaves(held)), f"{path.name} is of another precision")
    return found


def _tensors(path: Path, due: list[Any]) -> dict[str, np.ndarray]:
    """The file's tensors, if they take the bytes that these trees do: before that no memory is taken."""
    size = max((entry.end for entry in safetensors.header(path).entries.values()), default=0)
    fits = size == sum(leaf.nbytes for part in due for leaf in tree.leaves(part))
    require(fits, f"{path.name} holds other tensors than this model")
    return safetensors.read(path)


def _fill(model: Any, target: Any, tensors: dict[str, np.ndarray]) -> None:
    """Writes tensors, named as `_named` does, into the leaves of a tree with the parameters' keys."""
    loaded = tree.flatten(from_published(tensors, model.names())) if _shaped(model, target) else tensors
    leaves = tree.flatten(target)
    require(leaves.keys() == loaded.keys(), "it holds other tensors than this model")
    for path, leaf in leaves.items():
        same = leaf.shape == loaded[path].shape and leaf.dtype == loaded[path].dtype
        require(same, f"{path} has another shape or dtype than in this model")
        require(np.isfinite(loaded[path]).all(), f"{path} has entries that are NaN or infinite")
        leaf[...] = loaded[path]


# ----------------------------------------------------------------------------------------------------------- log

def read_log(path: Path) -> list[dict]:
    """The log's entries in order; lines that are none, as a last one cut off by a kill, are left out."""
    return list(_entries(path)) if reading.present(path) else []


def _entries(path: Path) -> Iterator[dict]:
    with reading.opened(path) as file:
        while line := file.readline(LINE):
            with contextlib.suppress(ValueError, RecursionError):
                entry = json.loads(line.decode("utf-8"))
                if isinstance(entry, dict) and type(entry.get("step")) is int:
                    yield entry


def _cut_log(path: Path, step: int) -> None:
    """Drops what was logged after the checkpoint: those steps will be taken, and logged, again."""
    require_plain(path)
    with atomic.file(path) as out:
        for entry in _entries(path) if reading.present(path) else ():
            if 1 <= entry["step"] <= step:
                out.write(_line(entry))


def _line(entry: dict) -> bytes:
    return f"{json.dumps(entry)}\n".encode()


def _log(file: Any, entry: dict) -> None:
    """Appends to a file without buffer, so that nothing is left to be written when it is closed."""
    line = _line(entry)
    with written(file.name):
        while line:
            line = line[file.write(line):]


# ----------------------------------------------------------------------------------------------------- interrupt

@contextlib.contextmanager
def interruption() -> Iterator[threading.Event]:
    """An event that the first Ctrl-C sets, so that a step under way can end; a second Ctrl-C stops at once."""
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread():  # signals reach the main thread alone
        yield asked
        return

    def first(number: int, frame: Any) -> None:
        asked.set()
        signal.signal(signal.SIGINT, before)

    before = signal.signal(signal.SIGINT, first)
    try:
        yield asked
    finally:
        signal.signal(signal.SIGINT, before)


# --------------------------------------------------------------------------------------------------------- cores

@contextlib.contextmanager
def sharing(threads: int, parts: int) -> Iterator[None]:
    """The cores go to micro-batches where this rank has several, else to the kernels, as many as change no bit."""
    with _shares:
        if not _before:
            _before.append(kernels.THREADS)
        _before.append(0)
        kernels.THREADS = min(threads, kernels.PIECES) if len(ranks.group().own(parts)) == 1 else 1
    try:
        with kernels.one_blas_thread():
            yield
    finally:
        with _shares:
            _before.pop()
            if len(_before) == 1:  # the last run out puts back what the first one found
                kernels.THREADS = _before.pop()


_shares = threading.Lock()
_before: list[int] = []  # what the first run found, then one entry for each run under way


# ------------------------------------------------------------------------------------------------------ the loop

Rates = Callable[[str, int], float | None]


def scheduled(plan: Plan) -> Callable[[int], float]:
    """The learning rate of each step, counted from 0."""
    return functools.partial(optim.SCHEDULES[plan.schedule], peak=plan.learning_rate, warmup=plan.warmup,
                             total=plan.steps)


class Checks(NamedTuple):
    """The loss on held-out rows, measured after every `every` steps. measured() -> the loss; losses: those so far."""

    measured: Callable[[], float]
    every: int
    losses: list[float]

    def since(self) -> float:
        """The step from which on parameters are averaged: behind the first check at which the loss had stopped to fall
        (`optim.non_monotone`); infinite before that.
        """
        found = (n for n in range(1, len(self.losses) + 1) if optim.non_monotone(self.losses[:n]))
        return next(found, math.inf) * self.every


def fit(
    model: Any, plan: Plan, run: Path, batches: Callable[..., list[Batch]], rates: Rates | None = None,
    carrying: bool = False, around: Callable[[Any], Any] | None = None, checks: Checks | None = None,
) -> None:  # fmt: skip
    """Trains model.params in place from the directory's last checkpoint (or from step 0) to plan.steps.

    batches(step): the step's micro-batches, a function of the step alone. carrying: of the step and of what each part
    of the step before has handed on, {} before the first, which checkpoints hold: batches(step, carried).
    rates(path, step): the learning rate of a parameter at a step, `scheduled(plan)` of the step unless given. 0 leaves
    the parameter as it is; None freezes it: its moments stay too, its steps are not counted (Adam's corrections), and
    its gradient has no part in the norm that is clipped. around(optimizer): another in the place of the plan's, which
    keeps more in its state. checks: what the held-out loss is measured by, on record in the log and in checkpoints; all
    rows of all tables then take part in a step. Killed at any moment, it takes up at the last checkpoint and
    ends with the same bits. Ctrl-C ends the step, writes a checkpoint and raises KeyboardInterrupt. A loss or gradient
    that is not finite raises InputError before anything is updated.

    Of a group of ranks (`ranks`) each computes its share of the micro-batches, all make the same update of the same
    gradient, and the first alone reads and writes the directory. How many there are changes no bit.
    """
    group = ranks.group()
    rows = model.names()
    names = {path: name for path, name, _ in rows}
    optimizer = optim.OPTIMIZERS[plan.optimizer]
    new_state, update = around(optimizer) if around else optimizer
    state = new_state(model.params)
    if carrying:
        state["carried"] = [{} for _ in range(plan.accumulate)]
    if checks:
        state[HELD_OUT] = checks.losses
    seconds, held, state = group.once(lambda: _taken_up(run, model, state, plan.steps, checks))
    if checks:
        checks.losses[:] = state[HELD_OUT]
        state[HELD_OUT] = checks.losses
    for leaf, array in zip(tree.leaves(model.params), tree.leaves(held), strict=True):
        leaf[...] = array
    undecayed = families.undecayed(model.network, model.config)
    decay = optim.DECAY_RATES[plan.optimizer](rows, plan.weight_decay, undecayed)
    rate = scheduled(plan)
    asleep = _asleep(rates, model.params, state["step"])
    rates = rates or (lambda path, step: rate(step))
    stage = getattr(model.network, "stage", lambda *_: ())
    summed = getattr(model.network, "SUMMED", False)
    few = not checks and touched.applies(model.network, plan.optimizer, plan.weight_decay)
    progress = Progress("step", plan.steps, state["step"], kept=True)
    heads = objective.heads(model.network, model.config)
    short = {term: head.SHORT for term, head in heads.items() if hasattr(head, "SHORT")}
    recent: deque[dict] = deque(maxlen=50)
    with interruption() as asked, warnings.catch_warnings(), \
            open(os.devnull if group.rank else run / "log.jsonl", "ab", buffering=0) as log:
        warnings.simplefilter("ignore", RuntimeWarning)  # numpy's: what overflows is said below, in one line
        while state["step"] < plan.steps:
            began = time.perf_counter()
            step = state["step"]
            frozen = stage(model.params, model.config, step, plan.steps)
            parts = batches(step, state["carried"]) if carrying else batches(step)
            works, own, read = touched.cut(model, parts) if few else (model, parts, {})
            try:
                found = _gradient(works, own, plan.threads, state.get("carried", []), plan.accumulate)
            except InputError as error:
                slower = ", or a lower learning rate" if "not finite" in str(error) else ""
                raise InputError(f"training stopped at step {step + 1}: {error}{slower}") from None
            measured, chosen = found["measured"], _rates(rates, step, model.params, frozen)
            follow(model.params, {path: value for path, value in found["followed"].items() if path in chosen})
            grads = _only(chosen, found["gradient"])
            scale, norm = _finite(step + 1, measured["loss"], grads, plan.clip_norm, names)
            scale *= max(found["totals"].values()) if summed else 1
            slots = {slot: touched.taken(state[slot], read) if few else state[slot] for slot in _moments(state)}
            asleep.update(path for path in asleep if path not in chosen)
            for lr, missed in dict.fromkeys((chosen[path], asleep[path]) for path in chosen):
                paths = [path for path in chosen if (chosen[path], asleep[path]) == (lr, missed)]
                live = {slot: _only(paths, held) for slot, held in slots.items()}
                live["step"] = step - missed
                update(_only(paths, works.params), _only(paths, grads), live, lr=lr, decay=decay, scale=scale)
            if few:
                touched.put(model.params, works.params, read)
                for slot, held in slots.items():
                    touched.put(state[slot], held, read)
            state["step"] = step + 1
            took = time.perf_counter() - began
            seconds += took
            tokens = sum(group.gathered(sum(size(model.network, model.config, part) for part in parts)))
            recent.append({"step": step + 1, **measured, "learning_rate": max(chosen.values()), "gradient_norm": norm,
                           "tokens_per_second": round(tokens / took), "seconds": round(seconds, 3)})
            if checks and state["step"] % checks.every == 0:
                checks.losses.append(checks.measured())
                recent[-1][HELD_OUT] = checks.losses[-1]
            _log(log, recent[-1])
            progress.show(step + 1, made=functools.partial(_said, recent, short))
            done, stops = state["step"] == plan.steps, any(group.gathered(asked.is_set()))
            if done or stops or state["step"] % plan.checkpoint_every == 0:
                if carrying:
                    state["carried"] = _all_carried(group, state["carried"])
                group.once(functools.partial(_kept, run, log, model, state, seconds))
            if stops and not done:
                progress.close()
                raise KeyboardInterrupt(f"stopped after step {state['step']} of {plan.steps}")
    progress.close()


FOLLOWING = 0.1  # torch.nn.BatchNorm1d's momentum


def follow(params: Any, values: dict[str, np.ndarray]) -> None:
    """What no gradient trains goes a tenth of the way to the value of a step."""
    for path, value in values.items():
        held = tree.get(params, path)
        held += held.dtype.type(FOLLOWING) * (value - held)


def _taken_up(
    run: Path, model: Any, state: dict, steps: int, checks: "Checks | None"
) -> tuple[float, Any, dict]:  # fmt: skip
    """(seconds, parameters, state) of the directory's last checkpoint, or as they are; the log ends there, too."""
    with written(run):
        Path(run).mkdir(parents=True, exist_ok=True)
    seconds = load_checkpoint(run, model, state, steps, checks)
    _cut_log(run / "log.jsonl", state["step"])
    return seconds, model.params, state


def _kept(run: Path, log: Any, model: Any, state: dict, seconds: float) -> None:
    """A checkpoint, behind the log of all that led to it."""
    with written(run / "log.jsonl"):
        os.fsync(log.fileno())
    save_checkpoint(run, model, state, seconds)


def _all_carried(group: ranks.Group, carried: list[Batch]) -> list[Batch]:
    """What the parts of all ranks have handed on."""
    own = group.own(len(carried))
    return [part for several in group.gathered(carried[own.start:own.stop]) for part in several]


def _asleep(rates: Rates | None, params: Any, steps: int) -> Counter[str]:
    """For how many of the first steps each parameter was frozen by its rate."""
    paths = [path for path, _ in tree.items(params)]
    frozen = Counter(path for step in range(steps if rates else 0) for path in paths if rates(path, step) is None)
    return Counter({path: frozen[path] for path in paths})


def _rates(rates: Rates, step: int, params: Any, frozen: tuple[str, ...]) -> dict[str, float]:
    """The rates of the parameters that learn, in the order of the tree; not those of the frozen top-level parts."""
    learning = (path for path, _ in tree.items(params) if path.partition(".")[0] not in frozen)
    found = {path: rate for path in learning if (rate := rates(path, step)) is not None}
    require(bool(found), f"every parameter is frozen at step {step + 1}: nothing is left to train")
    return {path: real(f"the rate of {path}", rate, most=sys.float_info.max) for path, rate in found.items()}


def _only(paths: Iterable[str], params: Any) -> dict[str, Any]:
    """The leaves at these paths, by path: the same arrays."""
    flat = tree.flatten(params)
    return {path: flat[path] for path in paths}


def _finite(step: int, loss: float, grads: Any, clip_norm: float, names: dict[str, str]) -> tuple[float, float]:
    try:
        clipping = optim.clipping(grads, clip_norm, names)
        require(math.isfinite(loss), "lower the learning rate, or look for extreme weights")
        return clipping
    except InputError as error:
        raise InputError(f"training stopped at step {step}, loss {loss}: {error}") from None


def _said(recent: deque[dict], short: dict[str, str]) -> list[str]:
    """The means of the last steps, for the progress line, the loss first; short: names of terms."""
    said: dict[str, list[float]] = {}
    for name, value in (item for entry in recent for item in tree.items(entry)):
        said.setdefault(name, []).append(value)
    mean = {name: sum(values) / len(values) for name, values in said.items()}
    asked = [name.partition(".")[2] for name in said if name.startswith("terms.")]
    right = {term: f" ({mean[f'accuracies.{term}']:.1%})" for term in asked if f"accuracies.{term}" in mean}
    terms = (f"{short.get(term, term)} {mean[f'terms.{term}']:.3f}{right.get(term, '')}" for term in asked)
    return [f"loss {mean['loss']:.3f}", *terms, f"{mean['tokens_per_second']:,.0f} tokens/s"]
