"""`minibert pretrain`: from text to a trained model that `minibert.load` reads, in one directory.

    corpus -> split by documents -> vocabulary -> instances -> training -> held-out evaluation -> model

A run may go on from a model (`start`), of the same family or of its kin: other text, other objectives, stage by stage.

Every stage is a function of the corpus and the options, both on record in run.json, so that resuming remakes what data
are missing, checks that they are the same, and continues from the last checkpoint. The directory:

    run.json                          what was asked, what it was completed to, digests of corpus and instances
    vocab.txt, tokenizer.json, …      the vocabulary, learnt on the training documents alone
    data/                             the instances, until the run is done: see `data`
    log.jsonl, checkpoints/           see `training`
    config.json, model.safetensors    the trained model, as published ones are stored
    report.json                       the held-out figures
"""

import contextlib
import functools
import hashlib
import itertools
import math
import os
import platform
import re
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

import minibert
from minibert import (
    batches,
    corpus,
    data,
    families,
    kernels,
    languages,
    lengths,
    objective,
    options,
    ranks,
    reading,
    runs,
    tasks,
    tokenizers,
    training,
    transfer,
    tree,
)
from minibert import config as configs
from minibert.checkpoint import atomic, strictjson
from minibert.checkpoint import directory as directories
from minibert.config import require
from minibert.errors import InputError
from minibert.lengths import Phase
from minibert.options import option
from minibert.processes import require_number
from minibert.progress import doing
from minibert.runs import Run

DATA, FORMAT = "data", "minibert-run/1"

# The most that may be asked for: what exceeds it would not fail but keep a machine busy, or drive it out of memory.
BATCH = 1 << 22  # tokens of a micro-batch
PARAMETERS = 1 << 33


CHECKED = 256  # rows, at most, that the held-out loss is measured on during a run


@dataclass(frozen=True)
class Options(runs.Options):
    """What decides a run's bits, beside the corpus, the model's configuration and the options of the family's data."""

    averaging: str = option("none", "keep the mean of the parameters since a loss on held-out text stopped to fall "
                                    "(nt-asgd), or the last ones", among=("none", "nt-asgd"))  # fmt: skip
    check_every: int = option(0, "measure that loss after so many steps; 0: twenty times in a run", least=0,
                              most=training.LIMITS["steps"])  # fmt: skip
    lengths: str = option("", "read rows of LENGTH tokens for this SHARE of the steps, then longer ones, as in BERT's "
                              "128:0.9,512:0.1; of --seq-length throughout unless given")  # fmt: skip

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.lengths:
            lengths.phases(self.lengths, self.steps)

    def phases(self, longest: int) -> list[Phase]:
        """Which rows are read when; longest: seq_length."""
        return lengths.phases(self.lengths, self.steps) if self.lengths else [Phase(0, longest)]


RUN = tuple(Options.__dataclass_fields__)


def known(module: ModuleType) -> list[str]:
    """The options of a family's runs: the run's own, then those of its data functions; none where it has no such."""
    return [*RUN, *module.Data.__dataclass_fields__] if hasattr(module, "Data") else []


# Named starting points: changes to options, and which fields of the model the family takes. "long" learns to tell the
# next sentence: it takes some 2500 updates of 32 pairs before that begins. Without short pairs the two classes are
# nearly equal, and with 0.3 of the text held out there are over 2000 pairs to judge by.
PRESETS: dict[str, tuple[dict[str, Any], str]] = {
    "quick": ({}, "QUICK"),
    "long": ({"steps": 8000, "batch_size": 32, "duplicates": 20, "short_rate": 0.0, "held_out": 0.3}, "NARROW"),
}


def _preset(name: str, module: ModuleType) -> tuple[dict[str, Any], dict[str, Any]]:
    """(options, configuration fields) of a preset, or of a size that the family names: tiny, mini, …; with the
    family's DEFAULTS.

    Those sizes get the learning rate of the presets scaled by width, where the family has none of its own, and the gain
    that 0.02 has in BERT-base.
    """
    sizes = module.PRESETS
    require(name in PRESETS or name in sizes, f"unknown preset {name!r}{configs.nearest(name, [*PRESETS, *sizes])}; "
            f"there are: {', '.join([*PRESETS, *sizes])}")
    if name in PRESETS:
        changes, fields = PRESETS[name]
        changes = {option: value for option, value in changes.items() if option in known(module)}
        return {**module.DEFAULTS, **changes}, dict(getattr(module, fields))
    width = sizes[name].get(module.WIDTH) or getattr(module.Config(), module.WIDTH)
    spread = families.own(module, {"initializer_range": 0.02 * (768 / width) ** 0.5})
    return {"learning_rate": 0.128 / width, **module.DEFAULTS}, {**sizes[name], **spread}


@ranks.joined()
def pretrain(family: str = "bert", corpus_files: Iterable[str | os.PathLike] = (),
             out: str | os.PathLike | None = None, resume: bool = False, preset: str | None = None,
             config: str | os.PathLike | None = None, fields: dict[str, Any] | None = None,
             vocabulary: str | os.PathLike | None = None, threads: int | None = None,
             checkpoint_every: int | None = None, processes: int = 1, start: str | os.PathLike | None = None,
             language: Iterable[str] = (), **chosen: Any) -> Path:
    """Trains a model, prints what came of it and returns the directory that holds it.

    corpus_files: UTF-8 text; without any, the text every Python ships. out: a new directory, by default runs/FAMILY;
    with `resume` the run to continue: its recorded options hold, and those given have to agree. preset, config (a
    config.json) and fields (by published name) make the model's configuration, the later the stronger. vocabulary:
    a published directory or file with one, instead of learning it. start: a directory with a model of the family or of
    its kin to go on from, with its vocabulary: its configuration, then its parameters as far as the new model has them
    of that shape; what it lacks begins as in any run. threads: cores to use; processes: that make the
    data (see `processes.mapped`); no bit depends on either. language: in the place of corpus_files, texts "zh=FILE",
    "en-zh=PAIRS" (`languages.Languages`), of which rows and vocabulary are made by smoothed shares. chosen: fields of
    Options and of the family's Data; None is not given. Raises InputError for whatever cannot be used; Ctrl-C writes a
    checkpoint, says how to go on and raises KeyboardInterrupt. Started several times by an MPI's mpiexec, the processes
    are one run (`ranks`).
    """
    group = ranks.group()
    module = families.family(family)
    whole = not isinstance(module, tasks.Network)
    require(whole, f"{family}: a task is learnt by minibert finetune, from a model that pretrain FAMILY has made")
    require(hasattr(module, "Data"), f"{family} is not trained from text: it has no data functions")
    for name, value in chosen.items():
        there = name in known(module) or value is None
        require(there, f"{family} has no option {name!r}{configs.nearest(name, known(module))}")
    cores = group.cores(kernels.THREADS) if threads is None else threads
    every = 100 if checkpoint_every is None else checkpoint_every
    require_number(processes)
    Options().plan(cores, every)
    files = [name for name in options.files(module.Data) if chosen.get(name) and chosen[name] not in options.PROGRAMS]
    chosen |= {name: runs.place(chosen[name]) for name in files}
    spoken = {name: runs.place(path) for name, path in languages.given(language).items()}
    request = {"family": family, "corpus_files": [runs.place(file) for file in corpus_files] or None,
               "language": [f"{name}={path}" for name, path in spoken.items()] or None,
               "preset": preset, "config": config and runs.place(config), "fields": fields or None,
               "vocabulary": vocabulary and runs.place(vocabulary), **chosen}
    request = {name: value for name, value in request.items() if value is not None}
    if start is not None:
        own = vocabulary is None and config is None
        require(own, "a run that goes on from a model (--from) has its vocabulary and configuration: give no others")
        request |= {"start": runs.place(start), "vocabulary": runs.place(start)}
    directory = group.once(lambda: runs.directory(family, out, resume))

    def trained(run: Run, documents: corpus.Documents, survey: corpus.Survey) -> None:
        _trained(directory, run, documents, survey, cores, processes, every)

    begun = runs.Begun(lambda: group.once(lambda: _planned(request)),
                       lambda: group.once(lambda: _resumed(directory, request)), trained, _take_back)
    runs.carry_out(f"pretrain {family}", directory, resume, begun)
    return directory


def _take_back(directory: Path) -> None:
    _remove_data(directory)
    for name in (runs.RECORD, *tokenizers.FILES):
        with contextlib.suppress(OSError):
            (directory / name).unlink()


# ---- The record of a run ---------------------------------------------------------------------------------------------

def _planned(request: dict[str, Any]) -> tuple[Run, corpus.Documents, corpus.Survey]:
    """Completes a request, before anything is made."""
    module = families.family(request["family"])
    chosen, fields = _preset(request.get("preset", "quick"), module)
    for name in ("vocabulary", *options.files(module.Data)):  # before the text is read, which takes a while
        place = request.get(name)
        there = place in (None, "", *options.PROGRAMS) or reading.present(place)
        require(there, f"cannot read {place}: there is no such file or directory")
    if "config" in request:
        given = strictjson.as_written(reading.contents(request["config"]), request["config"])
        require(isinstance(given, dict), f"{request['config']} is not a JSON object")
        fields |= directories.mathematical(given, module)
    started = {}
    if "start" in request:
        model = _start(request)
        theirs, known_fields = configs.to_fields(model.config), module.Config.__dataclass_fields__
        fields = {name: value for name, value in theirs.items() if name in known_fields}
        started = {"start_sha256": _digest(model)}
    fields |= request.get("fields", {})
    if "vocab_size" in fields:
        chosen["vocab_size"] = fields.pop("vocab_size")
    chosen |= {name: value for name, value in request.items() if name in known(module)}
    if "languages" in known(module) and not chosen.get("languages"):
        chosen["languages"] = " ".join(languages.spoken(languages.given(request.get("language", ()))))
    if chosen.get("lengths"):
        last = lengths.phases(chosen["lengths"], 1)[-1].length
        require("seq_length" in known(module), f"{request['family']} has no rows of tokens: leave lengths out")
        same = request.get("seq_length", last) == last
        require(same, f"seq_length is {request.get('seq_length')}, and the last of lengths {last}: leave it out")
        chosen["seq_length"] = last
    settings, own, fields = _settled(request["family"], chosen, fields)
    documents, survey = _surveyed(request, own)
    settled = {**configs.to_fields(settings), **configs.to_fields(own)}
    run = {"format": FORMAT, "request": request, "options": settled, "fields": fields,
           "corpus": {"documents": len(survey.sizes), "sha256": survey.sha256},
           "made_by": {"minibert": minibert.__version__, "numpy": np.__version__,
                       "python": platform.python_version()}, **started}
    return run, documents, survey


def _start(request: dict[str, Any]) -> Any:
    """The model that a run goes on from; InputError for one of a family that is no kin to the run's."""
    with doing(f"loading {request['start']}"):
        model = minibert.load(request["start"])
    first, *_ = families.lineage(request["family"])[::-1]
    kin = first in families.lineage(model.family)
    require(kin, f"{request['start']} is {model.family}, no kin to {request['family']}: go on from one that is")
    return model


def _digest(model: Any) -> str:
    """Of the parameters' bits, by name."""
    digest = hashlib.sha256()
    for name, array in sorted(model.state_dict().items()):
        digest.update(f"{name} {array.shape} {array.dtype}".encode())
        digest.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8))
    return digest.hexdigest()


def _take_over(model: Any, start: Any) -> None:
    """Writes what a model has of those shapes into the parameters of another, and says how much of them that is."""
    held, taken = tree.flatten(start.params), 0
    for path, leaf in tree.items(model.params):
        if path in held and held[path].shape == leaf.shape:
            leaf[...] = held[path]
            taken += leaf.size
    require(taken > 0, f"{model.family} has no parameter of {start.family}'s: go on from another model")
    new = sum(leaf.size for leaf in tree.leaves(model.params)) - taken
    runs.say("start", f"{start.family}: {taken:,} parameters taken over, {new:,} new")


def _settled(
    family: str, chosen: dict[str, Any], fields: dict[str, Any]
) -> tuple[Options, Any, dict[str, Any]]:
    """(the run's options, the data's, the model's fields), complete; InputError for what the family does not know or
    nobody can train.
    """
    module = families.family(family)
    settings, own = options_of(module, chosen)
    for phase in settings.phases(own.seq_length)[:-1]:
        replace(own, seq_length=phase.length)  # which refuses what is too short
    fields = module.fields(own, fields)
    sizes = configs.from_fields(module.Config, {**fields, **_vocabulary(module, getattr(own, "vocab_size", 0))})
    room = batches.longest(module, sizes)
    fits = room is None or room >= own.seq_length
    require(fits, f"seq_length {own.seq_length} exceeds what the model's configuration allows, {room}")
    tokens = settings.batch_size // settings.accumulate * own.seq_length
    require(tokens <= BATCH, f"batch_size {settings.batch_size} makes micro-batches of {tokens:,} tokens, {BATCH:,} at "
            f"most: lower it, or raise accumulate, {settings.accumulate}")
    count = sum(math.prod(shape) for _, shape in tree.items(objective.trained(module, sizes)))
    require(count <= PARAMETERS, f"the model would have {count:,} parameters, {PARAMETERS:,} at most: make it smaller")
    return settings, own, fields


def options_of(module: ModuleType, chosen: dict[str, Any]) -> tuple[Options, Any]:
    """The run's options and the data's, from both together."""
    names = known(module)
    for name in chosen:
        require(name in names, f"unknown option {name!r}{configs.nearest(name, names)}")
    run = configs.from_fields(Options, {name: value for name, value in chosen.items() if name in RUN})
    return run, configs.from_fields(module.Data, {name: chosen[name] for name in chosen if name not in RUN})


def _vocabulary(module: ModuleType, size: int, **ids: int | None) -> dict[str, Any]:
    """The config fields that a vocabulary decides, as far as the family has them; ids: of tokens that it may lack."""
    own = {"vocab_size": size, **{name: i for name, i in ids.items() if i is not None}}
    return {name: value for name, value in own.items() if name in module.Config.__dataclass_fields__}


def _resumed(directory: Path, request: dict[str, Any]) -> tuple[Run, corpus.Documents, corpus.Survey]:
    """The recorded run, if what is asked now, and the corpus as it is now, agree with it."""
    path = directory / runs.RECORD
    for name in (runs.RECORD, runs.REPORT, runs.LOG, DATA):
        training.require_plain(directory / name)
    run = strictjson.loads(reading.contents(path), str(path))
    require(isinstance(run, dict) and run.get("format") == FORMAT, f"{path} is not the record of a run ({FORMAT})")
    try:
        if isinstance(run.get("options"), dict):  # "" was no choice: an older record has it of other families' options
            run["options"] = {name: value for name, value in run["options"].items() if value != ""}
        _require_record(run)
    except InputError as error:
        raise InputError(f"{path} is damaged: {error}") from None
    recorded = {**run["request"], **run["options"]}
    for name, value in request.items():
        require(recorded.get(name) == value, f"{name} is {value!r}, but {directory} was begun with "
                f"{recorded.get(name)!r}: leave it out to resume, or choose another directory to start a new run")
    same = "start" not in run["request"] or _digest(_start(run["request"])) == run.get("start_sha256")
    require(same, f"the model that {directory} goes on from has changed since the run began: restore it, or start anew")
    own = options_of(families.family(run["request"]["family"]), run["options"])[1]
    documents, survey = _surveyed(run["request"], own)
    require(survey.sha256 == run["corpus"]["sha256"],
            f"the corpus of {directory} has changed since the run began: restore it, or start a new run")
    return run, documents, survey


def _require_record(run: Run) -> None:
    """That the record has what `_planned` gave it, each of its kind."""
    for name in ("request", "options", "fields", "corpus", "made_by"):
        require(isinstance(run.get(name), dict), f"{name!r} is {configs.shown(run.get(name))}, not an object")
    request, files = run["request"], run["request"].get("corpus_files", [""])
    spoken = request.get("language", [""])
    for name, several in (("corpus_files", files), ("language", spoken)):
        require(isinstance(several, list) and several, f"{name!r} is {configs.shown(several)}, not a list")
    texts = {name: request.get(name, "") for name in ("family", "vocabulary", "config", "preset", "start")}
    texts |= {"sha256": run["corpus"].get("sha256"), "instances_sha256": run.get("instances_sha256", "")}
    for name, text in [*texts.items(), *(("corpus_files", file) for file in files),
                       *(("language", text) for text in spoken)]:
        require(isinstance(text, str), f"{name!r} is {configs.shown(text)}, not text")
    _settled(request.get("family", ""), run["options"], run["fields"])


def _surveyed(request: dict[str, Any], own: Any) -> tuple[corpus.Documents, corpus.Survey]:
    """The run's documents: text, or what the family with these options makes of files that hold none."""
    files, spoken, module = request.get("corpus_files"), request.get("language"), families.family(request["family"])
    if hasattr(module, "documents"):
        for name in ("language", "vocabulary"):
            require(name not in request, f"{request['family']} reads no text: give no {name}")
        with doing(f"reading the {module.COUNTED[0]}"):
            documents = module.documents(files, own)
        return documents, corpus.survey(documents)
    require(not (files and spoken), "text is given twice: by --corpus and by --language")
    documents = corpus.Files(files) if files else corpus.default_documents() if not spoken else None
    documents = languages.Languages(languages.given(spoken)) if spoken else documents
    with doing("reading the text"):
        return documents, corpus.survey(documents)


# ---- The stages ------------------------------------------------------------------------------------------------------

def _trained(directory: Path, run: Run, documents: corpus.Documents, survey: corpus.Survey, threads: int,
             processes: int, checkpoint_every: int) -> None:
    """All stages that are not done yet, each saying what it made."""
    module = families.family(run["request"]["family"])
    settings, own = options_of(module, run["options"])
    text, apart = corpus.split(documents, settings.held_out, settings.seed, survey.sizes)
    units = getattr(module, "COUNTED", ("documents", "sentences", "tokens"))
    said = f"{len(survey.sizes):,} {units[0]}{f', {survey.sentences:,} {units[1]}' if units[1] else ''}"
    runs.say("corpus", f"{said}; {len(apart)} {units[0]} held out")
    tokenizer = None
    if module.TOKENIZER is not None:
        with doing("learning the vocabulary"):
            tokenizer = _tokenizer(directory, module, run["request"].get("vocabulary"), text, own)
    with doing("studying the text"):
        studied = data.studied(module, tokenizer, own, text, processes)
    often = languages.weights(text, own.smoothing) if "language" in run["request"] else {}
    passes = {name: max(1, round(own.duplicates * weight)) for name, weight in often.items()}
    recipe = data.Recipe(run["request"]["family"], tokenizer, own, settings.seed, studied, passes)
    phases, served = settings.phases(own.seq_length), []
    for phase in phases:
        last = phase is phases[-1]
        shorter = recipe if last else replace(recipe, options=replace(own, seq_length=phase.length))
        place = directory / (DATA if last else f"{DATA}-{phase.length}")
        served.append(data.made(shorter, text, "train", place, processes))
    rows = served[-1]
    held_out = data.made(recipe, apart, "held_out", directory / DATA, processes)
    few = f"the text gives {min(map(len, served))} rows, {len(held_out)} held out: give more text"
    require(all(map(len, served)) and len(held_out), few)
    group = ranks.group()
    group.once(lambda: _check_data(directory, run, [*served, held_out]))
    runs.say("data", f"{f'{recipe.tokens:,} pieces; ' if tokenizer else ''}{len(rows):,} training instances of up to "
         f"{own.seq_length} {units[2]}, {recipe.masking} masking; {len(held_out):,} held out")
    fields = dict(run["fields"]) if tokenizer is None else _of_vocabulary(module, tokenizer, run)
    for name, planned in run["fields"].items() if hasattr(module, "fitted") else ():
        if isinstance(planned, list | tuple) and [*planned] != [*fields[name]]:
            instead = f"{[*fields[name]]} instead of {[*planned]}"
            runs.say(name, f"{instead}: the vocabulary has {fields['vocab_size']} pieces")
    model = minibert.create(run["request"]["family"], seed=settings.seed, dtype=settings.dtype, **fields)
    model.tokenizer = tokenizer
    if hasattr(module, "begun"):
        module.begun(model, own, studied)
    runs.say("model", f"{model.family}, {sum(p.size for p in tree.leaves(model.params)):,} parameters")
    if "start" in run["request"]:
        _take_over(model, _start(run["request"]))
    if hasattr(module, "begin"):
        module.begin(model.params, studied)
    plan = settings.plan(threads, checkpoint_every)
    runs.require_memory(model, rows[training.order(0, plan.batch_size, len(rows), plan.seed)], plan)
    if settings.lengths:
        runs.say("lengths", lengths.said(phases, settings.steps, [_cost(model, each, plan) for each in served]))
    with training.sharing(threads, plan.accumulate):
        dropped = settings.dropout_steps or settings.steps

        def batches(step: int, *carried: list[training.Batch]) -> list[training.Batch]:
            now = lengths.at(phases, step)
            return _batches(model, served[now], plan, step, step < dropped, *carried, since=phases[now].start)

        kept, around, checks = _averaging(model, held_out, settings, threads)
        training.fit(model, plan, directory, batches, carrying=carries(module, own), around=around, checks=checks)
        model.params = kept
        if checks:
            since = f"since step {checks.since():,.0f}" if math.isfinite(checks.since()) else "of the last step alone"
            runs.say("averaged", f"{len(checks.losses)} held-out losses, {min(checks.losses):.3f} at the least; "
                     f"parameters {since}")  # fmt: skip
        with doing("evaluating on the held-out text"):
            report = _report(model, rows, held_out, threads, settings.seed)
    try:
        said = strictjson.dumps(report)
    except ValueError:  # JSON has no such numbers
        raise InputError(f"{directory}: its held-out figures are not finite: look for extreme weights") from None
    group.once(lambda: _save(directory, model, said))
    heads = objective.heads(module, model.config)
    asked = [head for term, head in heads.items() if report["targets"].get(term)]
    uses = [getattr(own, "COMMAND", None) for own in (module, *asked, *heads.values())]
    runs.say("saved", f"{directory}; try: minibert {next(filter(None, uses), 'info')} {directory}")


def _averaging(
    model: Any, held_out: data.Rows, settings: Options, threads: int
) -> tuple[Any, Callable | None, training.Checks | None]:  # fmt: skip
    """(the parameters that are kept, what is put around the optimizer, what it looks at)."""
    if settings.averaging == "none":
        return model.params, None, None
    kept, rows = tree.map(np.array, model.params), held_out[np.arange(min(CHECKED, len(held_out)))]
    mean = minibert.Model(model.family, model.config, kept)

    def measured() -> float:
        return _measured(mean, rows, held_out, threads, settings.seed)["loss"]

    checks = training.Checks(measured, settings.check_every or max(1, settings.steps // 20), [])
    return kept, functools.partial(transfer.average, since=checks.since, kept=kept), checks


def _measured(model: Any, instances: training.Batch, held_out: data.Rows, threads: int, seed: int) -> dict[str, Any]:
    """The figures of held-out rows."""
    if carries(model.module, held_out.recipe.options):
        return training.stream_evaluation(model, instances)
    return training.evaluation(model, instances, threads=threads, seed=seed)
def _save(directory: Path, model: Any, report: bytes) -> None:
    model.save(directory)
    atomic.write_bytes(directory / runs.REPORT, report)
    _remove_data(directory)  # they can be made again


def _remove_data(directory: Path) -> None:
    for name in reading.names(directory):
        if re.fullmatch(rf"{DATA}(-[0-9]+)?", name):
            data.remove(directory / name)


def _tokenizer(directory: Path, module: ModuleType, given: str | None, part: corpus.Part, own: options.Text) -> Any:
    """The run's vocabulary: made or copied into the directory once, then read from there."""
    ranks.group().once(lambda: _made_tokenizer(directory, module, given, part, own))
    return tokenizers.load(directory, module.TOKENIZER, specials_in_text=False)


def _made_tokenizer(
    directory: Path, module: ModuleType, given: str | None, part: corpus.Part, own: options.Text
) -> None:  # fmt: skip
    kind = module.TOKENIZER
    if tokenizers.load(directory, kind) is None:
        if given:
            place, of_kind = Path(given), tokenizers.tokenizer(kind)
            made = tokenizers.load(place, kind) if os.path.isdir(place) else of_kind.load(place)
            require(made is not None, f"{given} holds no vocabulary")
        else:
            often = languages.weights(part, own.vocabulary_smoothing)
            weighted = languages.repeated(part, often, 0) if often else part
            sentences = itertools.chain.from_iterable(data.spoken(module, document) for document in weighted)
            made = _learnt(module, own, sentences)
        made.save(directory)


def _learnt(module: ModuleType, own: options.Text, sentences: Iterable[str], **given: Any) -> Any:
    """A vocabulary of the family's kind."""
    given |= {"specials": module.SPECIALS} if hasattr(module, "SPECIALS") else {}
    given |= {"specials": own.specials} if hasattr(own, "specials") else {}
    given |= {"extra_ids": own.extra_ids} if hasattr(own, "extra_ids") else {}
    given |= {"added": module.ADDED} if hasattr(module, "ADDED") else {}
    return tokenizers.tokenizer(module.TOKENIZER).train(sentences, own.vocab_size, lowercase=own.lowercase, **given)


def untrained(family: str, texts: Iterable[str], fields: dict[str, Any], seed: int, dtype: str) -> Any:
    """A model as a run with the family's quick options begins, its vocabulary learnt from these texts, of whole words
    every one that occurs; none of a family that reads no text.
    """
    module = families.family(family)
    reads = hasattr(module, "Data") and (hasattr(module, "read") or hasattr(module, "PERCEIVES"))
    require(reads, f"{family} reads no texts: begin with another family, or with a model")
    chosen, sizes = _preset("quick", module)
    chosen |= {name: value for name, value in fields.items() if name in module.Data.__dataclass_fields__}
    _, own, made = _settled(family, chosen, sizes | {name: fields[name] for name in fields.keys() - chosen.keys()})
    if module.TOKENIZER is None:
        model = minibert.create(family, seed=seed, dtype=dtype, **made)
        if hasattr(module, "begun"):
            module.begun(model, own, None)
        return model
    tokenizer = _learnt(module, own, texts, **({"min_frequency": 1} if module.TOKENIZER == "words" else {}))
    run = {"request": {"fields": fields}, "fields": made, "options": configs.to_fields(own)}
    model = minibert.create(family, seed=seed, dtype=dtype, **_of_vocabulary(module, tokenizer, run))
    model.tokenizer = tokenizer
    return model


def _of_vocabulary(module: ModuleType, tokenizer: Any, run: Run) -> dict[str, Any]:
    """The model's fields with those that the vocabulary decides; InputError where others are asked for."""
    ids = {f"{role}_token_id": getattr(tokenizer, f"{role}_id") for role in ("pad", "bos", "eos")}
    if hasattr(module, "START"):
        ids["decoder_start_token_id"] = getattr(tokenizer, f"{module.START}_id")
        if module.START == "sep" and ids["eos_token_id"] is None:  # it ends a text, too
            ids["eos_token_id"] = tokenizer.sep_id
    asked = {**run["request"].get("fields", {}), "pad_token_id": run["fields"].get("pad_token_id")}
    for name, i in ids.items():
        theirs = "the vocabulary has no such token" if i is None else f"the rows are made with the vocabulary's {i}"
        said = f"config field {name!r} is {asked.get(name)}, but {theirs}: leave it out"
        require(asked.get(name) in (None, i), said)
    pad = ids.pop("pad_token_id")
    own = _vocabulary(module, len(tokenizer), pad_token_id=pad)
    own |= module.spelled(tokenizer, options_of(module, run["options"])[1]) if hasattr(module, "spelled") else {}
    made = {**own, **run["fields"], **_vocabulary(module, len(tokenizer), **ids)}
    return made | (module.fitted(made, run["request"].get("fields", {})) if hasattr(module, "fitted") else {})


def _check_data(directory: Path, run: Run, made: list[data.Rows]) -> None:
    """The instances must be those of the run's first start, or its bits can't be continued."""
    digest = hashlib.sha256()
    for field in itertools.chain.from_iterable(part.fields() for part in made):
        digest.update(field.reshape(-1))
    digest = digest.hexdigest()
    if "instances_sha256" not in run:
        run["instances_sha256"] = digest
        runs.record(directory, run)
    require(run["instances_sha256"] == digest, f"the data now made for {directory} differ from those the run began "
            f"with; it was begun with {run['made_by']}: resume with these versions, or start a new run")


def carries(module: ModuleType, own: Any = None) -> bool:
    """Whether a family reads a stream of segments, in the order of the text. own: options, which may want no memory."""
    return bool(getattr(module, "CARRIED", ())) and getattr(own, "memory", 1) > 0


def _chosen(model: Any, instances: data.Rows, plan: training.Plan, step: int) -> training.Batch:
    """The rows of a step; where the family says whose turn it is, those, without labels that are not asked then."""
    module = model.module
    turn = module.turn(instances.recipe.options, step, plan.steps) if hasattr(module, "turn") else None
    if turn is None:
        return instances[training.order(step, plan.batch_size, len(instances), plan.seed)]
    rows = instances.where(turn.field, turn.value)
    longer = "give longer documents, or shorter rows (seq_length)"
    require(len(rows) > 0, f"the text gives no rows of {turn.name}: {longer}")
    chosen = instances[rows[training.order(step, plan.batch_size, len(rows), plan.seed)]]
    terms, term = module.terms(model.config), turn.term
    if term is None:
        return chosen
    others = {name for other in terms.values() for name in objective.asking(other)} - {*objective.asking(terms[term])}
    return {name: array for name, array in chosen.items() if name not in others}


def _batches(
    model: Any, instances: data.Rows, plan: training.Plan, step: int, dropout: bool,
    carried: list[training.Batch] | None = None, since: int = 0,
) -> list[training.Batch]:  # fmt: skip
    """The micro-batches of a step, with all that is drawn for it: a function of the seed, the step and the model, and
    of what the step before has carried on, where there is such: then of the next rows of the text, which is begun at
    the step `since`.
    """
    if carried is None:
        chosen = _chosen(model, instances, plan, step)
    else:
        places, on = training.streamed(step - since, plan.batch_size, len(instances))
        chosen, carried = instances[places], carried if on else None

    def corrupted(part: training.Batch, i: int) -> training.Batch:
        dynamic = instances.recipe.masking == "dynamic"
        rng = training.draws(plan.seed, "corruption", step, i)
        return instances.recipe.corrupted(part, rng) if dynamic else part

    return training.micro_batches(model, chosen, plan, step, dropout, corrupted, carried)


def _cost(model: Any, instances: data.Rows, plan: training.Plan) -> int:
    """The multiplications of a step's rows together, forward."""
    one = replace(plan, accumulate=1)
    with ranks.within(ranks.ALONE):
        (part,) = _batches(model, instances, one, 0, False, [{}] if carries(model.module) else None)
    return lengths.multiplications(lambda: model.loss(part))


def _report(model: Any, rows: data.Rows, held_out: data.Rows, threads: int, seed: int) -> dict[str, Any]:
    """The held-out figures beside what they have to be compared with; said and returned."""
    instances = held_out[np.arange(len(held_out))]
    measured = _measured(model, instances, held_out, threads, seed)
    unigram = {} if model.tokenizer is None else _unigram(model, rows, held_out)
    text = "that text" if "cross_entropy" in unigram else "what is written"
    terms = {} if hasattr(model.module, "loss") else model.module.terms(model.config)
    for term, head in objective.heads(model.module, model.config).items():
        loss, count, share = (measured[of].get(term) for of in ("terms", "targets", "accuracies"))
        if not count:
            runs.say("held out", f"{term.replace('_', ' ')}: no targets")
            continue
        if head.BASELINE == "constant":
            guesses = head.constants(instances, **terms[term].constants)
            measured.setdefault("constants", {})[term] = guesses
            least = min(guesses, key=guesses.get)
            below, others = guesses[least] - loss, (f"{name} {guess:.3f}" for name, guess in guesses.items())
            runs.say("held out", f"{term.replace('_', ' ')} loss {loss:.3f}, {abs(below):.3f} "
                     f"{'below' if below > 0 else 'ABOVE'} the best guess that is the same everywhere, its {least}: "
                     f"{', '.join(others)}; {count:,.0f} targets")
            continue
        if head.BASELINE == "none":
            runs.say("held out", f"{term.replace('_', ' ')} loss {loss:.3f}")
            continue
        if head.BASELINE == "unigram":
            below, known = unigram["entropy"] - loss, f"{share:.1%} right"
            if getattr(head, "PERPLEXITY", False):
                measured.setdefault("perplexities", {})[term] = perplexity = _perplexity(loss)
                unigram["perplexity"] = _perplexity(unigram["entropy"])
                known = f"perplexity {perplexity:.1f}, the unigram's {unigram['perplexity']:.1f}; {known}"
                if not hasattr(head, "asked"):  # the text's own tokens
                    whole = model.tokenizer.decode(ids := instances["input_ids"].reshape(-1).tolist())
                    bits = loss / math.log(2) * len(ids) / max(1, len(whole))
                    measured.setdefault("bits_per_character", {})[term] = bits
                    by_words = _perplexity(loss * len(ids) / max(1, len(whole.split())))
                    measured.setdefault("perplexities_per_word", {})[term] = by_words
                    known = f"{bits:.3f} bits a character, perplexity of words {by_words:,.0f}; {known}"
            runs.say("held out", f"{term.replace('_', ' ')} loss {loss:.3f} nats, {abs(below):.3f} "
                 f"{'below' if below > 0 else 'ABOVE'} the unigram entropy of {text}, {unigram['entropy']:.3f}; "
                 f"{known}")
            continue
        majority = measured["majority"][term]
        measured.setdefault("lower_bound", {})[term] = lower = training.wilson_lower(share, count)
        apart = "" if count <= len(held_out) else " (were tokens of a row independent)"
        if head.BASELINE == "given":
            runs.say("held out", f"{term.replace('_', ' ')} accuracy {share:.1%} of {count:,.0f}; as given "
                     f"{majority:.1%}; 99 % lower bound {lower:.1%}{apart}; loss {loss:.3f}")
            continue
        classes = measured["classes"][term]
        guess = head.guess(classes) if hasattr(head, "guess") else sum(-q * math.log(q) for q in classes if q)
        runs.say("held out", f"{term.replace('_', ' ')} accuracy {share:.1%} of {count:,.0f}; majority class "
             f"{majority:.1%}; 99 % lower bound {lower:.1%}{apart}; loss {loss:.3f}, of the constant guess {guess:.3f}")
    return {**measured, **({"unigram": unigram} if unigram else {})}


def _unigram(model: Any, rows: data.Rows, held_out: data.Rows) -> dict[str, float]:
    """The entropy of the held-out text's tokens and their cross-entropy under the training text's; of what a decoder
    has to write, which is not the text alone, the entropy of that.
    """
    asked = [head.asked for head in objective.heads(model.module, model.config).values() if hasattr(head, "asked")]
    if not asked:
        return corpus.unigram_entropy(rows.counts(), held_out.counts())._asdict()
    counts = np.bincount(asked[0](held_out[np.arange(len(held_out))]), minlength=len(model.tokenizer))
    return {"entropy": corpus.unigram_entropy(counts, counts).entropy}


def _perplexity(loss: float) -> float:
    """e^loss: as many equally likely tokens would be as hard to guess; infinite where no float64 holds it."""
    return math.exp(loss) if loss < math.log(sys.float_info.max) else math.inf
