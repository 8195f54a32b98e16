"""`minibert finetune`: a model learns a task from rows, and is held to rows that it has not seen, in one directory.

    model, rows -> pieces -> a head over the model -> training -> held-out evaluation -> model

Every stage is a function of the model, the rows and the options, all on record in run.json, so that resuming remakes
what is needed, checks that it is the same, and continues from the last checkpoint. The directory:

    run.json                          what was asked, what it was completed to, digests of the model and the pieces
    log.jsonl, checkpoints/           see `training`
    config.json, model.safetensors    the tuned model with its vocabulary, as published ones are stored
    report.json                       the held-out figures
"""

import contextlib
import dataclasses
import hashlib
import json
import os
import platform
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

import minibert
from minibert import (
    batches,
    families,
    kernels,
    metrics,
    multitask,
    objective,
    pretraining,
    ranks,
    reading,
    rows,
    runs,
    tasks,
    training,
    transfer,
    tree,
    uses,
)  # fmt: skip
from minibert import config as configs
from minibert.adapters import mix
from minibert.analysis import pictures
from minibert.checkpoint import adapter_bert, atomic, peft, strictjson
from minibert.config import require
from minibert.errors import InputError
from minibert.heads import recommendation, similarity
from minibert.options import LONGEST, option
from minibert.pooling import POOLINGS
from minibert.progress import doing
from minibert.rows import docstrings
from minibert.runs import Run

FORMAT = "minibert-finetune/1"
Row = dict[str, Any]


@dataclass(frozen=True)
class Options(runs.Options):
    """What decides a run's bits, beside the model and the rows."""

    steps: int = option(0, "make so many updates; 0: as many as pass over the rows epochs times", least=0)
    batch_size: int = option(32, "compute each update from so many rows")
    held_out: float = option(0.1, "keep this share of the rows for the evaluation, where none are given; from 1 on so "
                                  "many rows")  # fmt: skip
    learning_rate: float = option(0.0, "let the learning rate rise to this; 0: to 0.0384 over the model's width")
    weight_decay: float = option(0.01, "let weights decay at this rate")
    epochs: float = option(3.0, "pass over the rows so many times")
    seq_length: int = option(128, "read at most so many tokens of a row", least=8, most=LONGEST)
    transfer: str = option("full", "train all of the model, or in these ways, joined by +: "
                                   f"{transfer.HELP.removeprefix('full, ')}; minibert docs transfer says what each "
                                   "does")  # fmt: skip
    pooling: str = option("", "let this stand for a row in place of what the family says, of a task of whole rows",
                          among=("", *POOLINGS))  # fmt: skip
    sampling: str = option("annealed", "of several tasks, draw each update's by how many rows they have, in this way",
                           among=tuple(multitask.SAMPLINGS))  # fmt: skip
    by: str = option("", "compare the two texts of similar, or mask the items of recommend, in this way",
                     among=("", *similarity.WAYS, *recommendation.WAYS))  # fmt: skip

    def __post_init__(self) -> None:
        super().__post_init__()
        require(0 < self.epochs <= 1e6, f"epochs is {self.epochs}; it must be above 0 and at most 1,000,000")
        transfer.ways(self.transfer)

    def plan(self, threads: int, checkpoint_every: int) -> training.Plan:
        """The training loop's part of the options; of a run that is not completed yet with one step."""
        if not self.steps:
            return dataclasses.replace(self, steps=1).plan(threads, checkpoint_every)
        return super().plan(threads, checkpoint_every)


KNOWN = tuple(Options.__dataclass_fields__)


class Part(NamedTuple):
    """What a run has of one task. use: its file; of each part the rows; the training rows' pieces as arrays, and the
    held-out ones'.
    """

    use: ModuleType
    rows: list[Row]
    apart: list[Row]
    learnt: training.Batch
    judged: training.Batch


class Prepared(NamedTuple):
    """What a run begins with: the model with its heads on its way to the tasks, and what it has of each, by name."""

    moved: transfer.Moved
    parts: dict[str, Part]
    digest: str

    @property
    def model(self) -> Any:
        """The model as it is evaluated."""
        return self.moved.model

    @property
    def count(self) -> int:
        """The pieces of all training rows."""
        return sum(batches.count(part.learnt) for part in self.parts.values())


Files = str | os.PathLike | Mapping[str, str | os.PathLike] | None


@ranks.joined()
def finetune(
    task: str, directory: str | os.PathLike, train: Files = None, dev: Files = None,
    out: str | os.PathLike | None = None, resume: bool = False,
    columns: Mapping[str, str] | None = None, form: str | None = None, threads: int | None = None,
    fields: Mapping[str, Any] | None = None, checkpoint_every: int | None = None, **chosen: Any,
) -> Path:  # fmt: skip
    """Trains a model for a task, prints what came of it and returns the directory that holds it.

    task: its name; several, joined by +, are learnt over one network (`multitask`), and train, dev are {task: file},
    columns {"TASK.column": name}.
    directory: the model, published or a run's; one that has a head for the task with the same classes goes on with it.
    Or the name of a family: a model that has learnt nothing, its vocabulary that of the training rows, with these
    fields of its configuration.
    train, dev: files of rows (`rows.read`, with columns and form); without `dev` some of the training rows are held
    out; without both the task's default rows, where it has such (`rows.docstrings`). out: a new directory, by default
    runs/TASK; with `resume` the run to continue: its recorded options hold, and those given have to agree. threads:
    cores to use, on which no bit depends. chosen: fields of Options; None is not given. Raises InputError for whatever
    cannot be used; Ctrl-C writes a checkpoint, says how to go on and raises KeyboardInterrupt.
    """
    several = _several(task)
    for name, value in chosen.items():
        require(name in KNOWN or value is None, f"unknown option {name!r}{configs.nearest(name, KNOWN)}")
    require(dev is None or train is not None, "rows to be held to (--dev) without rows to learn from (--train)")
    group = ranks.group()
    cores = group.cores(kernels.THREADS) if threads is None else threads
    every = 100 if checkpoint_every is None else checkpoint_every
    Options().plan(cores, every)
    new = f"{directory}" in families.names() and not reading.present(directory)
    require(new or not fields, f"{directory} is a model: its configuration (--set) is what it is")
    lacking = f"{' and '.join(several)} are learnt from files (--train TASK=FILE …)"
    require(len(several) == 1 or train is not None or resume, lacking)
    files = {name: _placed(several, given, f"--{name}") for name, given in (("train", train), ("dev", dev))}
    request = {"task": task, "directory": f"{directory}" if new else runs.place(directory),
               "fields": dict(fields or {}) or None, **files, "columns": _columns(several, columns or {}), "form": form,
               **chosen}  # fmt: skip
    request = {name: value for name, value in request.items() if value is not None}
    folder = group.once(lambda: runs.directory(task, out, resume))

    def trained(run: Run, prepared: Prepared) -> None:
        group.agree("the model, or the rows,", prepared.digest)
        _trained(folder, run, prepared, cores, every)

    begun = runs.Begun(lambda: _planned(request), lambda: _resumed(folder, request), trained, _take_back)
    runs.carry_out(f"finetune {task} {directory}", folder, resume, begun)
    return folder


def use_of(task: str) -> ModuleType:
    """The file of a task that can be learnt from rows; InputError for another."""
    configs.one_of("task", task, names())
    return uses.of(tasks.made(task, {}))


def _several(task: str) -> list[str]:
    """The names in "classify+tag"; InputError for one that is none, or stands there twice."""
    found = task.split("+")
    for name in found:
        use_of(name)
    require(len({*found}) == len(found), f"task {task!r}: one stands there twice")
    tasks.together(tuple(tasks.made(name, {}) for name in found))
    return found


def _placed(several: list[str], given: Files, option: str) -> str | dict[str, str] | None:
    """The files of a run's tasks as its record has them: of one its path, of several {task: path}."""
    if given is None:
        return None
    if len(several) == 1:
        require(not isinstance(given, Mapping), f"{option}: {several[0]} takes one file")
        return runs.place(given)
    fits = isinstance(given, Mapping) and {*given} == {*several}
    require(fits, f"{option}: expected {' '.join(f'{name}=FILE' for name in several)}")
    return {name: runs.place(given[name]) for name in several}


def _columns(several: list[str], given: Mapping[str, str]) -> dict[str, str] | None:
    """The columns, of several tasks each behind its task's name."""
    for name in given if len(several) > 1 else ():
        fits = name.partition(".")[0] in several
        require(fits, f"--columns {name!r}: of several tasks write {several[0]}.COLUMN=NAME")
    return dict(given) or None


def names() -> list[str]:
    """The tasks there are rows for."""
    return [name for name in tasks.names() if tasks.rows_of(name) in rows.tasks.TASKS]


def _take_back(directory: Path) -> None:
    with contextlib.suppress(OSError):
        (directory / runs.RECORD).unlink()


# ---- The record of a run ---------------------------------------------------------------------------------------------
def _planned(request: dict[str, Any]) -> tuple[Run, Prepared]:
    """Completes a request, before anything is made."""
    settings = configs.from_fields(Options, {name: request[name] for name in KNOWN if name in request})
    prepared = _prepared(request, settings)
    steps = settings.steps or max(1, round(settings.epochs * prepared.count / settings.batch_size))
    rate = settings.learning_rate or 0.0384 / _width(prepared.model)
    settings = dataclasses.replace(settings, steps=steps, learning_rate=rate)
    made_by = {"minibert": minibert.__version__, "numpy": np.__version__, "python": platform.python_version()}
    run = {"format": FORMAT, "request": request, "options": configs.to_fields(settings), "sha256": prepared.digest}
    return {**run, "made_by": made_by}, prepared


def _width(model: Any) -> int:
    return getattr(model.config, families.field(model.module, "hidden_size"), 768)


def _resumed(directory: Path, request: dict[str, Any]) -> tuple[Run, Prepared]:
    """The recorded run, if what is asked now, the model and the rows agree with it."""
    path = directory / runs.RECORD
    for name in (runs.RECORD, runs.REPORT, runs.LOG):
        training.require_plain(directory / name)
    run = strictjson.loads(reading.contents(path), str(path))
    require(isinstance(run, dict) and run.get("format") == FORMAT, f"{path} is not the record of a run ({FORMAT})")
    try:
        _require_record(run)
        settings = configs.from_fields(Options, run["options"])
    except InputError as error:
        raise InputError(f"{path} is damaged: {error}") from None
    recorded = {**run["request"], **run["options"]}
    for name, value in request.items():
        require(recorded.get(name) == value, f"{_asked(name)} is {value!r}, but {directory} was begun with "
                f"{recorded.get(name)!r}: leave it out to resume, or choose another directory to start a new run")
    prepared = _prepared(run["request"], settings)
    require(prepared.digest == run["sha256"], f"the model or the rows of {directory} have changed since the run began, "
            f"with {run['made_by']}: restore them, or start a new run")
    return run, prepared


def _asked(name: str) -> str:
    """What the command line calls what a request has."""
    known = {"directory": "the model", "task": "the task", "form": "--format"}
    return known.get(name, f"--{name.replace('_', '-')}")


def _require_record(run: Run) -> None:
    """That the record has what `_planned` gave it, each of its kind."""
    for name in ("request", "options", "made_by"):
        require(isinstance(run.get(name), dict), f"{name!r} is {configs.shown(run.get(name))}, not an object")
    request = run["request"]
    texts = {name: request.get(name, "") for name in ("task", "directory", "form")}
    for name in ("train", "dev"):
        files = request.get(name, "")
        each = files if isinstance(files, dict) else {"": files}
        texts |= {f"{name} {task}".strip(): file for task, file in each.items()}
    for name, text in {**texts, "sha256": run.get("sha256")}.items():
        require(isinstance(text, str), f"{name!r} is {configs.shown(text)}, not text")
    for name in ("columns", "fields"):
        require(isinstance(request.get(name, {}), dict), f"{name!r} is not an object")
    for name in ("task", "directory"):
        require(name in request, f"{name!r} is missing")
    several = _several(request["task"])
    for name in ("train", "dev"):
        files = request.get(name)
        fits = isinstance(files, dict) and {*files} == {*several} if len(several) > 1 else not isinstance(files, dict)
        require(fits or (files is None and name == "dev"), f"{name!r} does not hold the files of {request['task']}")


# ---- What a run begins with ------------------------------------------------------------------------------------------
def _prepared(request: dict[str, Any], settings: Options) -> Prepared:
    """The model and the rows of a request: always the same of the same."""
    several, place = request["task"].split("+"), request["directory"]
    if new := place in families.names():
        module = families.family(place)
    else:
        with doing(f"loading {place}"):
            loaded = minibert.load(place, dtype=settings.dtype)
        module = loaded.module
    read = {task: _parts(_of(request, task), module, settings) for task in several}
    if new:
        with doing("learning the vocabulary" if module.TOKENIZER else "making the model"):
            texts = (text for learnt, _ in read.values() for _, row in learnt for text in _texts(row))
            loaded = pretraining.untrained(place, texts, request.get("fields", {}), settings.seed, settings.dtype)
    if not hasattr(module, "PERCEIVES"):
        require(loaded.tokenizer is not None, f"{place} holds no vocabulary to read rows with")
        require(hasattr(module, "read"), f"{loaded.family} reads no texts")
    with doing("reading the rows"):
        known, given = {}, {}
        for task, (placed, held) in read.items():
            own, apart = [row for _, row in placed], [row for _, row in held]
            known[task] = own if "dev" in request else own + apart  # a file's own classes, wherever its rows went
            given[task] = {**use_of(task).settings(task, known[task]), **_given(task, settings)}
        if len(several) == 1:
            model, kept = _headed(loaded, several[0], given[several[0]], settings.seed, known[several[0]])
        else:
            model, kept = _with_several(loaded, given, settings.seed)
        parts = {}
        for task, halves in read.items():
            made = (uses.batch(one, *uses.labelled(one, half, settings.seq_length))
                    for one in [uses.alone(model, task)] for half in halves)  # fmt: skip
            parts[task] = Part(use_of(task), *([row for _, row in half] for half in halves), *made)
    digest = hashlib.sha256(json.dumps([tasks.class_names(task) for task in model.uses]).encode())
    held = [(f"{task}.{i}.{n}", a) for task, part in parts.items() for i, half in enumerate((part.learnt, part.judged))
            for n, a in half.items()]  # fmt: skip
    for name, array in sorted([*loaded.state_dict().items(), *held]):
        digest.update(f"{name} {array.shape} {array.dtype}".encode())
        digest.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8))
    new = frozenset(path for path, _ in tree.items(model.params) if path not in kept)
    moved = transfer.begun(settings.transfer, model, new, settings.seed)
    if moved.teacher is not None:
        for name, array in sorted(moved.teacher.model.state_dict().items()):
            digest.update(f"teacher {name}".encode())
            digest.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8))
    return Prepared(moved, parts, digest.hexdigest())


def _of(request: dict[str, Any], task: str) -> dict[str, Any]:
    """What a request says of one of its tasks."""
    if request["task"] == task:
        return request
    files = {name: request[name][task] for name in ("train", "dev") if name in request}
    columns = {name.removeprefix(f"{task}."): called for name, called in request.get("columns", {}).items()
               if name.startswith(f"{task}.")}  # fmt: skip
    return {**request, "task": task, **files, "columns": columns or None}


def _texts(row: Row) -> Iterator[str]:
    """All that a row says, but for its label."""
    for name, value in row.items():
        if name != "label" and isinstance(value, str):
            yield value
        elif name not in ("label", "tags") and isinstance(value, list) and all(isinstance(one, str) for one in value):
            yield " ".join(value)


def _given(task: str, settings: Options) -> dict[str, Any]:
    """The settings of the task that the options say."""
    chosen = {name: getattr(settings, name) for name in ("pooling", "by") if getattr(settings, name)}
    known = tasks.made(task, {}).settings
    for name in chosen:
        require(hasattr(known, name), f"--{name}: {task} has no such choice")
    return chosen


def _parts(
    request: dict[str, Any], module: Any, settings: Options
) -> tuple[list[tuple[str, Row]], list[tuple[str, Row]]]:  # fmt: skip
    """((where, row) of the training rows, of the held-out ones), of the kind that the family reads."""
    task, columns, form = tasks.rows_of(request["task"], module), request.get("columns"), request.get("form")
    known = [name for name in names() if tasks.rows_of(name, module) in rows.tasks.TASKS]
    require(task in rows.tasks.TASKS, f"{families.named(module)} cannot {request['task']}: a row is a "
            f"{getattr(module, 'PERCEIVES', 'text')}, and there are: {', '.join(known)}")  # fmt: skip
    if "train" not in request:
        require(task in docstrings.TASKS, f"{task} has no rows of its own: give a file of rows to learn from (--train)")
        parts = docstrings.rows(task)
        own = ([(f"row {i + 1} of the default rows", row) for i, row in enumerate(parts[part])]
               for part in ("train", "dev"))  # fmt: skip
        return tuple(own)
    learnt = [*rows.placed(request["train"], task, columns, form=form)]
    if "dev" in request:
        return learnt, [*rows.placed(request["dev"], task, columns, form=form)]
    share = settings.held_out
    apart = round(share * len(learnt)) if share < 1 else int(share)
    require(0 < apart < len(learnt), f"{request['train']} has {len(learnt)} rows, of which {apart} would be held out: "
            "give more, another share (--held-out), or a file of rows to be held to (--dev)")  # fmt: skip
    order = training.draws(settings.seed, "held_out").permutation(len(learnt))
    return [learnt[i] for i in np.sort(order[apart:])], [learnt[i] for i in np.sort(order[:apart])]


def _headed(
    loaded: Any, task: str, settings: dict[str, Any], seed: int, rows: list[Row]
) -> tuple[Any, set[str]]:  # fmt: skip
    """(the model with its head for the task where that is the one that is asked for, else with a new one alone; the
    paths of its network).
    """
    due = tasks.made(task, settings)
    if due.head.READS == tasks.OWN:
        fit = loaded.uses != (due,) and hasattr(uses.of(due), "begun")
        tasks.network(loaded.module, (due,))  # whether the family has what it takes
        model, kept = uses.of(due).begun(loaded, due, rows, seed) if fit else (loaded, {*tree.flatten(loaded.params)})
        network = tasks.network(model.module, (due,))
        missing = [part for part in objective.needs(network, model.config) if part not in model.params]
        require(not missing, f"{task} needs the head {', '.join(missing)}, which the model does not have")
        return minibert.Model(model.family, model.config, model.params, model.tokenizer, model.generation,
                              uses=(due,), beside=model.beside), kept  # fmt: skip
    config, params = tasks.used(loaded.module, loaded.config, loaded.params)
    kept = {path for path, _ in tree.items(params)}
    if loaded.tasks == (task,) and _asks_alike(loaded.uses[0], due):
        return loaded, kept
    bare = minibert.Model(loaded.family, config, params, loaded.tokenizer, beside=loaded.beside)
    return bare.with_task(task, seed=seed, **settings), kept


def _with_several(loaded: Any, given: dict[str, dict[str, Any]], seed: int) -> tuple[Any, set[str]]:
    """(the model with its heads for these tasks where those are the ones that are asked for, else with new ones; the
    paths of its network).
    """
    due = tasks.together(tuple(tasks.made(task, settings) for task, settings in given.items()))
    config, params = tasks.used(loaded.module, loaded.config, loaded.params)
    kept = {path for path, _ in tree.items(params)}
    if loaded.tasks == tuple(given) and all(map(_asks_alike, loaded.uses, due)):
        return loaded, kept
    made = minibert.Model(loaded.family, config, params, loaded.tokenizer, beside=loaded.beside)
    for i, (task, settings) in enumerate(given.items()):
        made = made.with_task(task, seed=seed + i, **settings)
    return made, kept


def _asks_alike(one: tasks.Task, other: tasks.Task) -> bool:
    """Whether they have the same classes, take them for the same kind of answer, and read rows alike."""
    known = ("problem_type", "pooling", "size", "by", "slices", "units", "longest", "depth", "parts")
    kinds = [[getattr(task.settings, name, None) for name in known] for task in (one, other)]
    return tasks.class_names(one) == tasks.class_names(other) and kinds[0] == kinds[1]


# ---- The stages ------------------------------------------------------------------------------------------------------
def _trained(directory: Path, run: Run, prepared: Prepared, threads: int, checkpoint_every: int) -> None:
    """All stages that are not done yet, each saying what it made."""
    moved, settings = prepared.moved, configs.from_fields(Options, run["options"])
    model, learner, several = moved.model, moved.learner, len(prepared.parts) > 1
    plan, most = settings.plan(threads, checkpoint_every), uses.longest(model, settings.seq_length)
    for name, part in prepared.parts.items():
        count, held = batches.count(part.learnt), batches.count(part.judged)
        units = getattr(model.module, "COUNTED", ("", "", "tokens"))[2]
        cut = (f" in {count:,} pieces of up to {most} {units}", f" in {held:,}") if model.module.lengths(model.config) \
            else ("", "")
        runs.say("data", f"{f'{name}: ' if several else ''}{len(part.rows):,} rows{cut[0]}; {len(part.apart):,} rows "
                 f"held out{cut[1]}")  # fmt: skip
        first = _rows(part.learnt, training.order(0, plan.batch_size, count, plan.seed))
        runs.require_memory(uses.alone(model, name), first, plan)
    classes = [len(tasks.class_names(task)) for task in model.uses]
    counted = f", {' and '.join(f'{n:,}' for n in classes)} classes" if all(classes) else ""
    runs.say("model", f"{model.family} for {' and '.join(model.tasks)}{counted}, "
             f"{sum(p.size for p in tree.leaves(model.params)):,} parameters, {settings.steps:,} steps")  # fmt: skip
    given, rates = _course(prepared, settings, plan)
    with training.sharing(threads, plan.accumulate):
        training.fit(learner, plan, directory, given, rates, around=moved.around(settings.steps))
        model = transfer.ended(moved)
        with doing("evaluating on the held-out rows"):
            reports = {name: _report(run, model, name, part, settings, threads)
                       for name, part in prepared.parts.items()}  # fmt: skip
    report = {"tasks": reports} if several else next(iter(reports.values()))
    try:
        said = strictjson.dumps(report)
    except ValueError:  # JSON has no such numbers
        raise InputError(f"{directory}: its held-out figures are not finite: look for extreme weights") from None
    ranks.group().once(lambda: _save(directory, model, moved, said))
    if "mix" in dict(moved.ways):
        shares = ", ".join(f"{name} {share:.2f}" for name, share in mix.called(mix.shares(model.params)).items())
        runs.say("mix", f"{shares}; drawn in {directory}/mix.svg")
    which = f" --task {model.tasks[0]}" if several else ""
    runs.say("saved", f"{directory}; try: minibert predict {directory}{which}")


def _save(directory: Path, model: Any, moved: transfer.Moved, report: bytes) -> None:
    model.save(directory)
    if any(path.endswith(".lora.down.weight") for path, _ in tree.items(moved.model.params)):
        with contextlib.suppress(InputError):  # a weight stored within another, as GPT-2's
            peft.save(moved.model, directory / "adapter")
    if any(path.startswith("encoder.") and ".adapter." in path for path, _ in tree.items(model.params)):
        adapter_bert.save(model, directory / "adapter.npz")
    if "mix" in dict(moved.ways):
        title = f"share of each layer's states in the mix: {' and '.join(model.tasks)}"
        atomic.write_text(directory / "mix.svg", pictures.bars(title, mix.called(mix.shares(model.params))))
    atomic.write_bytes(directory / runs.REPORT, report)


def _rows(batch: training.Batch, chosen: np.ndarray) -> training.Batch:
    return {name: array[chosen] for name, array in batch.items()}


def _course(prepared: Prepared, settings: Options, plan: training.Plan) -> tuple[Callable, training.Rates | None]:
    """(the micro-batches of a step, the rates of its parameters), of several tasks the task's whose turn it is."""
    moved, model, rate = prepared.moved, prepared.model, training.scheduled(plan)
    dropped = settings.dropout_steps or settings.steps
    rates = moved.rates(settings.steps, max(1, prepared.count // plan.batch_size), rate)
    if len(prepared.parts) == 1:
        (part,) = prepared.parts.values()
        count = batches.count(part.learnt)

        def given(step: int) -> list[training.Batch]:
            chosen = _rows(part.learnt, training.order(step, plan.batch_size, count, plan.seed))
            return moved.told(training.micro_batches(model, chosen, plan, step, step < dropped))

        return given, rates
    learnt = {name: part.learnt for name, part in prepared.parts.items()}
    epochs = max(1, round(settings.steps * plan.batch_size / prepared.count))
    course = multitask.course(model, learnt, plan, settings.sampling, epochs)

    def of_task(path: str, step: int) -> float | None:
        own = course.rates(path, step)
        return own if own is None or rates is None else rates(path, step)

    return lambda step: moved.told(course.batches(step, step < dropped)), of_task


def _report(run: Run, model: Any, name: str, part: Part, settings: Options, threads: int) -> dict[str, Any]:
    """The held-out figures of a task beside those of an answer that does not look at the row; said and returned."""
    use, apart, one = part.use, part.apart, uses.alone(model, name)
    measured = training.evaluation(one, part.judged, threads=threads, seed=settings.seed)
    task, said, tuned = _said(one, part, settings)
    model.uses = tuple(task if other.name == name else other for other in model.uses)
    found = use.measures(task, apart, said)
    own = rows.measures(run["request"].get("form"))
    found = {name: found[name] for name in (*own, *found)}
    constant = use.measures(task, apart, use.constant(task, part.rows, apart))
    first, *others = found
    figures = [f"{one[first]:.1%}" if first in metrics.SHARES else f"{one[first]:.3f}" for one in (found, constant)]
    which = f"{name}: " if len(model.uses) > 1 else ""
    runs.say("held out", f"{which}{first.replace('_', ' ')} {figures[0]} of {len(apart):,} rows; the constant answer's "
             f"{figures[1]}; loss {measured['loss']:.3f}"
             f"{''.join(f'; {name} {found[name]:.3f}'.replace('_', ' ') for name in others)}")  # fmt: skip
    for name in tuned.keys() - {"untuned"}:
        before = tuned["untuned"][first]
        runs.say("tuned", f"{name} {tuned[name]:.4g}, on the held-out rows; {first} {before:.1%} without")
    return {**measured, "rows": len(apart), "measures": found, "constant": constant, **tuned}


def _said(model: Any, part: Part, settings: Options) -> tuple[tasks.Task, list[Row], dict[str, Any]]:
    """(the task with what its use tunes on the held-out rows, what is said of them, what is reported of that)."""
    use, (task,), apart = part.use, model.uses, part.apart
    tunes = hasattr(use, "tuned")
    every = task._replace(settings=dataclasses.replace(task.settings, **use.EVERY)) if tunes else task
    shown = getattr(use, "shown", lambda row: row)
    said = list(uses.answered(model, every, (("", shown(row)) for row in apart), settings.seq_length))
    if not tunes:
        return task, said, {}
    chosen = use.tuned(apart, said)
    tuned = task._replace(settings=dataclasses.replace(task.settings, **chosen))
    before, after = ([use.judged(one, row) for row in said] for one in (task, tuned))
    return tuned, after, {**chosen, **({"untuned": use.measures(task, apart, before)} if chosen else {})}
