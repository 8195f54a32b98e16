"""`minibert pretrain`: from text to a trained model that `minibert.load` reads, in one directory.

    corpus -> split by documents -> vocabulary -> instances -> training -> held-out evaluation -> model

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
import dataclasses
import errno
import hashlib
import itertools
import json
import math
import os
import platform
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

import minibert
from minibert import config as configs
from minibert import corpus, data, families, kernels, layers, memory, objective, reading, tokenizers, training, tree
from minibert.checkpoint import atomic, lock, strictjson
from minibert.checkpoint import directory as directories
from minibert.config import require
from minibert.errors import InputError, WriteError, printable
from minibert.processes import require_number

RECORD, DATA, LOG, REPORT, FORMAT = "run.json", "data", "log.jsonl", "report.json", "minibert-run/1"
Run = dict[str, Any]

# The most that may be asked for: what exceeds it would not fail but keep a machine busy, or drive it out of memory.
LONGEST = 8192  # tokens of a row
DUPLICATES = 1000
VOCABULARY = 1 << 20  # pieces
BATCH = 1 << 22  # tokens of a micro-batch
PARAMETERS = 1 << 33


@dataclass(frozen=True)
class Options:
    """What decides a run's bits, beside the corpus and the model's configuration."""

    steps: int = 3000
    batch_size: int = 16  # pairs an update
    accumulate: int = 2  # micro-batches an update: computed side by side where there are cores
    seq_length: int = 64
    vocab_size: int = 4000
    duplicates: int = 8  # passes over the corpus, each with new pairs and masks
    masking: str = "static"  # masks drawn once for all passes; dynamic: anew each time that a row is served
    rate: float = 0.15  # of the tokens are predicted (arXiv 1810.04805, section 3.1)
    max_predictions: int = 0  # targets a row; 0: the rate's share of seq_length
    format: str = ""  # how text becomes rows, where the family knows several
    units: str = ""  # what is masked together, where the family knows several: pieces, words, ngrams, …
    segmenter: str = ""  # words of unspaced text: jieba, or a file of words
    similar: str = ""  # a JSON file of similar words
    entities: str = ""  # a file of entities, one a line
    dropout_steps: int = 0  # from this step on no dropout; 0: always with it
    short_rate: float = 0.1  # share of documents cut to shorter pairs (short_seq_prob)
    held_out: float = 0.1  # share of the text; from 1 on a number of documents
    learning_rate: float = 2e-3
    warmup: float = 0.1  # share of the steps; from 1 on a number of steps
    optimizer: str = "bert_adam"
    schedule: str = "bert"
    weight_decay: float = 0.1
    clip_norm: float = 1.0
    seed: int = 0
    dtype: str = "float32"
    lowercase: bool = True

    def __post_init__(self):
        for name, least, most in (("seq_length", 8, LONGEST), ("duplicates", 1, DUPLICATES),
                                  ("vocab_size", 1, VOCABULARY), ("max_predictions", 0, self.seq_length),
                                  ("dropout_steps", 0, training.LIMITS["steps"])):
            value = getattr(self, name)
            require(least <= value <= most, f"{name} is {value}; it must be from {least} to {most:,}")
        require(0 <= self.short_rate <= 1, f"short_rate is {self.short_rate}; it must be a share")
        require(self.dtype in ("float32", "float64"), f"dtype is {self.dtype!r}; it must be float32 or float64")
        require(self.masking in ("static", "dynamic"), f"masking is {self.masking!r}; it must be static or dynamic")
        require(0 < self.rate < 1, f"rate is {self.rate}; it must lie between 0 and 1")
        require(self.held_out > 0, f"held_out is {self.held_out}; it must be positive")
        require(self.warmup >= 0, f"warmup is {self.warmup}; it must not be negative")
        tokens = self.plan(1, 1).batch_size // self.accumulate * self.seq_length
        require(tokens <= BATCH, f"batch_size {self.batch_size} makes micro-batches of {tokens:,} tokens, {BATCH:,} at "
                f"most: lower it, or raise accumulate, {self.accumulate}")

    @property
    def slots(self) -> int:
        """The targets that a row has room for."""
        return self.max_predictions or max(1, round(self.rate * self.seq_length))

    def plan(self, threads: int, checkpoint_every: int) -> training.Plan:
        """The training loop's part of the options."""
        own = {name: getattr(self, name) for name in training.Plan.__dataclass_fields__ if hasattr(self, name)}
        steps = min(self.steps, training.LIMITS["steps"])  # more are refused below
        own["warmup"] = int(self.warmup * steps if self.warmup < 1 else self.warmup)
        return training.Plan(**{**own, "threads": threads, "checkpoint_every": checkpoint_every})


KNOWN = Options.__dataclass_fields__
FILES = ("segmenter", "similar", "entities")  # options that name what is handed in

# Named starting points: changes to Options, and fields of the model's configuration. The release's initializer_range,
# 0.02, leaves the attention of a narrow model flat for thousands of updates; 0.1 doesn't. "long" learns to tell the
# next sentence: it takes some 2500 updates of 32 pairs before that begins. Without short pairs the two classes are
# nearly equal, and with 0.3 of the text held out there are over 2000 pairs to judge by.
NARROW = {"num_hidden_layers": 2, "hidden_size": 64, "num_attention_heads": 4, "intermediate_size": 256,
          "initializer_range": 0.1}
PRESETS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "quick": ({}, {**NARROW, "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}),
    "long": ({"steps": 8000, "batch_size": 32, "duplicates": 20, "short_rate": 0.0, "held_out": 0.3}, NARROW),
}


def _preset(name: str, module: ModuleType) -> tuple[dict[str, Any], dict[str, Any]]:
    """(options, configuration fields) of a preset, or of a size that the family names: tiny, mini, …; with what the
    family's PRETRAINING has of its own: "options", "fields".

    Those sizes get the learning rate of the presets scaled by width, where the family has none of its own, and the gain
    that 0.02 has in BERT-base.
    """
    sizes = module.PRESETS
    require(name in PRESETS or name in sizes, f"unknown preset {name!r}{configs.nearest(name, [*PRESETS, *sizes])}; "
            f"there are: {', '.join([*PRESETS, *sizes])}")
    own = module.PRETRAINING
    options, fields = own.get("options", {}), own.get("fields", {})
    if name in PRESETS:
        return {**options, **PRESETS[name][0]}, {**PRESETS[name][1], **fields}
    width = sizes[name]["hidden_size"]
    spread = {"initializer_range": 0.02 * (768 / width) ** 0.5}
    return {"learning_rate": 0.128 / width, **options}, {**sizes[name], **spread}


def pretrain(family: str = "bert", corpus_files: Iterable[str | os.PathLike] = (),
             out: str | os.PathLike | None = None, resume: bool = False, preset: str | None = None,
             config: str | os.PathLike | None = None, fields: dict[str, Any] | None = None,
             vocabulary: str | os.PathLike | None = None, threads: int | None = None,
             checkpoint_every: int | None = None, processes: int = 1, **options: Any) -> Path:
    """Trains a model, prints what came of it and returns the directory that holds it.

    corpus_files: UTF-8 text; without any, the text every Python ships. out: a new directory, by default runs/FAMILY;
    with `resume` the run to continue: its recorded options hold, and those given have to agree. preset, config (a
    config.json) and fields (by published name) make the model's configuration, the later the stronger. vocabulary:
    a published directory or file with one, instead of learning it. threads: cores to use; processes: that make the
    data (see `processes.mapped`); no bit depends on either. options: fields of Options; None is not given. Raises
    InputError for whatever cannot be used; Ctrl-C writes a checkpoint, says how to go on and raises KeyboardInterrupt.
    """
    for name in options:
        require(name in KNOWN, f"unknown option {name!r}{configs.nearest(name, KNOWN)}")
    cores = kernels.THREADS if threads is None else threads
    every = 100 if checkpoint_every is None else checkpoint_every
    require_number(processes)
    Options().plan(cores, every)
    files = [name for name in FILES if options.get(name) and options[name] != "jieba"]
    options |= {name: _place(options[name]) for name in files}
    request = {"family": family, "corpus_files": [_place(file) for file in corpus_files] or None,
               "preset": preset, "config": config and _place(config), "fields": fields or None,
               "vocabulary": vocabulary and _place(vocabulary), **options}
    request = {name: value for name, value in request.items() if value is not None}
    directory = _directory(family, out, resume)
    with _going_on(family, directory):
        if resume:
            require(reading.present(directory / RECORD), f"{directory} holds no run to resume")
            with lock.held(directory):
                _trained(directory, *_resumed(directory, request), cores, processes, every)
        else:
            run, documents, survey = _planned(directory, request)
            with _new(directory):
                _record(directory, run)
                _trained(directory, run, documents, survey, cores, processes, every)
    return directory


@contextlib.contextmanager
def _going_on(family: str, directory: Path) -> Iterator[None]:
    """Whoever is stopped, by Ctrl-C or for want of room on a disk or in memory, is told how to go on."""
    try:
        yield
    except KeyboardInterrupt as stop:
        said = f"{stop}" or "stopped while preparing or evaluating"
        raise KeyboardInterrupt(_told(said, family, directory)) from None
    except WriteError as error:
        raise WriteError(_told(f"{error}", family, directory)) from None
    except MemoryError as error:
        said = f"not enough memory{f' ({error})' if f'{error}' else ''}"
        raise InputError(f"{said}: start a run with a lower batch_size, more accumulate or a smaller model") from None
    except OSError as error:
        if error.filename is not None:
            raise InputError(_told(f"{error.filename}: {error.strerror}", family, directory)) from None
        raise OSError(error.errno, _told(error.strerror or f"{error}", family, directory)) from None


def _told(what: str, family: str, directory: Path) -> str:
    begun = reading.present(directory / RECORD)
    return printable(what + f"; continue with: minibert pretrain {family} --out {directory} --resume" * begun)


@contextlib.contextmanager
def _new(directory: Path) -> Iterator[None]:
    """A new run's directory, for this process alone.

    A request that proves unusable before training begins takes back what it has made, to be asked for again, corrected.
    """
    with training.written(directory):
        directory.mkdir(parents=True, exist_ok=True)
    try:
        with lock.held(directory):
            _require_free(directory)
            try:
                yield
            except WriteError:  # the request may be right
                raise
            except InputError:
                if not reading.present(directory / LOG):
                    _take_back(directory)
                raise
    finally:
        with contextlib.suppress(OSError):
            directory.rmdir()  # where nothing is in it


def _take_back(directory: Path) -> None:
    data.remove(directory / DATA)
    for name in (RECORD, *tokenizers.FILES):
        with contextlib.suppress(OSError):
            (directory / name).unlink()


# ---- The record of a run ---------------------------------------------------------------------------------------------

def _directory(family: str, out: str | os.PathLike | None, resume: bool) -> Path:
    """The one asked for. By default the last of runs/FAMILY, runs/FAMILY-2, … to resume, else the next of them."""
    if out is not None:
        return Path(out)
    names = (Path("runs", family if n == 1 else f"{family}-{n}") for n in itertools.count(1))
    taken = list(itertools.takewhile(reading.present, names))
    require(taken or not resume, f"there is no run {Path('runs', family)} to resume: name one with --out")
    return taken[-1] if resume else Path("runs", f"{family}-{len(taken) + 1}" if taken else family)


def _require_free(directory: Path) -> None:
    free = not reading.present(directory / RECORD)
    require(free, f"{directory} holds a run: continue it with --resume, or choose another")
    names = reading.names(directory) if reading.present(directory) else []
    require(all(name.startswith(".") for name in names), f"{directory} is not empty: choose a new directory")


def _planned(directory: Path, request: dict[str, Any]) -> tuple[Run, corpus.Documents, corpus.Survey]:
    """Completes a request, before anything is made."""
    _require_free(directory)
    module = families.family(request["family"])
    options, fields = _preset(request.get("preset", "quick"), module)
    known = request.get("vocabulary")
    require(known is None or reading.present(known), f"cannot read {known}: there is no such file or directory")
    if "config" in request:
        given = strictjson.loads(reading.contents(request["config"]), request["config"])
        require(isinstance(given, dict), f"{request['config']} is not a JSON object")
        fields |= directories.mathematical(given, module)
    fields |= request.get("fields", {})
    if "vocab_size" in fields:
        options["vocab_size"] = fields.pop("vocab_size")
    options |= {name: value for name, value in request.items() if name in KNOWN}
    settings, fields = _settled(request["family"], options, fields)
    documents, survey = _surveyed(request)
    run = {"format": FORMAT, "request": request, "options": configs.to_fields(settings), "fields": fields,
           "corpus": {"documents": len(survey.sizes), "sha256": survey.sha256},
           "made_by": {"minibert": minibert.__version__, "numpy": np.__version__,
                       "python": platform.python_version()}}
    return run, documents, survey


def _settled(family: str, options: dict[str, Any], fields: dict[str, Any]) -> tuple[Options, dict[str, Any]]:
    """(the options, the model's fields), complete; InputError for what the family does not know or nobody can train."""
    module, fields = families.family(family), dict(fields)
    settings = configs.from_fields(Options, options)
    known = getattr(module, "FORMATS", ("",))
    settings = dataclasses.replace(settings, format=settings.format or known[0])
    require(settings.format in known, f"format is {settings.format!r}; {family} knows: {', '.join(known)}")
    units = [name for name in getattr(module, "UNITS", ()) if name]
    require(not settings.units or settings.units in units, f"units is {settings.units!r}"
            f"{configs.nearest(settings.units, units)}; {family} knows: {', '.join(units) or 'no others'}")
    for name in FILES:
        require(not getattr(settings, name) or name in module.PRETRAINING.get("files", ()),
                f"{name} is {getattr(settings, name)!r}, but {family} has no use for it: leave it out")
    for name, value in module.PRETRAINING.get("formats", {}).get(settings.format, {}).items():
        require(fields.setdefault(name, value) == value, f"config field {name!r} is {configs.shown(fields[name])}; the "
                f"rows that are made{f' in the format {settings.format}' * bool(settings.format)} need {value}")
    spare = module.Config.max_position_embeddings - module.longest(module.Config())
    fields = {"max_position_embeddings": settings.seq_length + spare, **fields}
    sizes = configs.from_fields(module.Config, {**fields, "vocab_size": settings.vocab_size})
    require(module.longest(sizes) >= settings.seq_length,
            f"seq_length {settings.seq_length} exceeds what max_position_embeddings allows, {module.longest(sizes)}")
    count = sum(math.prod(shape) for _, shape in tree.items(objective.trained(module, sizes)))
    require(count <= PARAMETERS, f"the model would have {count:,} parameters, {PARAMETERS:,} at most: make it smaller")
    return settings, fields


def _resumed(directory: Path, request: dict[str, Any]) -> tuple[Run, corpus.Documents, corpus.Survey]:
    """The recorded run, if what is asked now, and the corpus as it is now, agree with it."""
    path = directory / RECORD
    for name in (RECORD, REPORT, LOG, DATA):
        training.require_plain(directory / name)
    run = strictjson.loads(reading.contents(path), str(path))
    require(isinstance(run, dict) and run.get("format") == FORMAT, f"{path} is not the record of a run ({FORMAT})")
    try:
        _require_record(run)
    except InputError as error:
        raise InputError(f"{path} is damaged: {error}") from None
    recorded = {**run["request"], **run["options"]}
    for name, value in request.items():
        require(recorded.get(name) == value, f"{name} is {value!r}, but {directory} was begun with "
                f"{recorded.get(name)!r}: leave it out to resume, or choose another directory to start a new run")
    documents, survey = _surveyed(run["request"])
    require(survey.sha256 == run["corpus"]["sha256"],
            f"the corpus of {directory} has changed since the run began: restore it, or start a new run")
    return run, documents, survey


def _require_record(run: Run) -> None:
    """That the record has what `_planned` gave it, each of its kind."""
    for name in ("request", "options", "fields", "corpus", "made_by"):
        require(isinstance(run.get(name), dict), f"{name!r} is {configs.shown(run.get(name))}, not an object")
    request, files = run["request"], run["request"].get("corpus_files", [""])
    require(isinstance(files, list) and files, f"'corpus_files' is {configs.shown(files)}, not a list")
    texts = {name: request.get(name, "") for name in ("family", "vocabulary", "config", "preset")}
    texts |= {"sha256": run["corpus"].get("sha256"), "instances_sha256": run.get("instances_sha256", "")}
    for name, text in [*texts.items(), *(("corpus_files", file) for file in files)]:
        require(isinstance(text, str), f"{name!r} is {configs.shown(text)}, not text")
    _settled(request.get("family", ""), run["options"], run["fields"])


def _surveyed(request: dict[str, Any]) -> tuple[corpus.Documents, corpus.Survey]:
    files = request.get("corpus_files")
    documents = corpus.Files(files) if files else corpus.default_documents()
    return documents, corpus.survey(documents)


def _record(directory: Path, run: Run) -> None:
    """As ASCII: names of files need not have UTF-8."""
    atomic.write_bytes(directory / RECORD, json.dumps(run, allow_nan=False, separators=(",", ":")).encode("ascii"))


def _place(path: str | os.PathLike) -> str:
    """The path in full, behind any link."""
    try:
        return str(Path(path).resolve())
    except (OSError, RuntimeError, ValueError, TypeError) as error:  # RuntimeError: links in a circle
        raise InputError(f"{path} is no path of a file: {error}") from None


# ---- The stages ------------------------------------------------------------------------------------------------------

def _trained(directory: Path, run: Run, documents: corpus.Documents, survey: corpus.Survey, threads: int,
             processes: int, checkpoint_every: int) -> None:
    """All stages that are not done yet, each saying what it made."""
    family, options = run["request"]["family"], configs.from_fields(Options, run["options"])
    text, apart = corpus.split(documents, options.held_out, options.seed, survey.sizes)
    _say("corpus", f"{len(survey.sizes):,} documents, {survey.sentences:,} sentences; {len(apart)} documents held out")
    tokenizer = _tokenizer(directory, family, run["request"].get("vocabulary"), text, options)
    recipe = data.Recipe(family, tokenizer, options, data.learnt(family, tokenizer, options, text, processes))
    rows = data.made(recipe, text, "train", directory / DATA, processes)
    held_out = data.made(recipe, apart, "held_out", directory / DATA, processes)
    require(len(rows) and len(held_out), f"the text gives {len(rows)} rows, {len(held_out)} held out: give more text")
    _check_data(directory, run, [rows, held_out])
    _say("data", f"{len(tokenizer):,} pieces; {len(rows):,} training instances of up to "
         f"{options.seq_length} tokens, {options.masking} masking; {len(held_out):,} held out")
    fields = {"pad_token_id": tokenizer.pad_id, **run["fields"], "vocab_size": len(tokenizer)}
    require(fields["pad_token_id"] in (None, tokenizer.pad_id), f"config field 'pad_token_id' is "
            f"{fields['pad_token_id']}, but the rows are padded with the vocabulary's {tokenizer.pad_id}: leave it out")
    model = minibert.create(family, seed=options.seed, dtype=options.dtype, **fields)
    model.tokenizer = tokenizer
    _say("model", f"{model.family}, {sum(p.size for p in tree.leaves(model.params)):,} parameters")
    plan = options.plan(threads, checkpoint_every)
    _require_memory(model, rows, plan)
    with training.sharing(threads, plan.accumulate):
        training.fit(model, plan, directory, lambda step: _batches(model, rows, plan, step))
        report = _report(model, rows, held_out, threads, options.seed)
    try:
        said = strictjson.dumps(report)
    except ValueError:  # JSON has no such numbers
        raise InputError(f"{directory}: its held-out figures are not finite: look for extreme weights") from None
    model.save(directory)
    atomic.write_bytes(directory / REPORT, said)
    data.remove(directory / DATA)  # they can be made again
    _say("saved", f"{directory}; try: minibert fill-mask {directory}")


def _tokenizer(directory: Path, family: str, given: str | None, part: corpus.Part, options: Options) -> Any:
    """The run's vocabulary: made or copied into the directory once, then read from there."""
    kind = families.family(family).TOKENIZER
    if tokenizers.load(directory, kind) is None:
        if given:
            place, of_kind = Path(given), tokenizers.tokenizer(kind)
            made = tokenizers.load(place, kind) if os.path.isdir(place) else of_kind.load(place)
            require(made is not None, f"{given} holds no vocabulary")
        else:
            sentences = itertools.chain.from_iterable(part)
            made = tokenizers.tokenizer(kind).train(sentences, options.vocab_size, lowercase=options.lowercase)
        made.save(directory)
    return tokenizers.load(directory, kind, specials_in_text=False)


def _check_data(directory: Path, run: Run, made: list[data.Rows]) -> None:
    """The instances must be those of the run's first start, or its bits can't be continued."""
    digest = hashlib.sha256()
    for field in itertools.chain.from_iterable(part.fields() for part in made):
        digest.update(field.reshape(-1))
    digest = digest.hexdigest()
    if "instances_sha256" not in run:
        run["instances_sha256"] = digest
        _record(directory, run)
    require(run["instances_sha256"] == digest, f"the data now made for {directory} differ from those the run began "
            f"with; it was begun with {run['made_by']}: resume with these versions, or start a new run")


def _require_memory(model: Any, rows: data.Rows, plan: training.Plan) -> None:
    """That the machine, where the system says what it has, can hold the first step's micro-batches side by side."""
    if "SC_PHYS_PAGES" not in getattr(os, "sysconf_names", ()):
        return
    there = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    chosen = rows[training.order(0, plan.batch_size, len(rows), plan.seed)]
    longest = max(8, int(np.count_nonzero(chosen["input_mask"], axis=1).max()))
    row = sum(held.bytes for held in memory.activations(model, 1, longest))
    needed = row * plan.batch_size // plan.accumulate * min(plan.threads, plan.accumulate)
    require(needed <= there, f"a step would hold some {needed / 2**30:,.1f} GiB, and this machine has "
            f"{there / 2**30:,.1f}: lower batch_size, {plan.batch_size}, or raise accumulate, {plan.accumulate}")


def _batches(model: Any, instances: data.Rows, plan: training.Plan, step: int) -> list[training.Batch]:
    """The micro-batches of a step, with all that is drawn for it: a function of the seed, the step and the model.

    Rows of like length go together, as each micro-batch is cut to its longest: padding is not computed.
    """
    chosen = instances[training.order(step, plan.batch_size, len(instances), plan.seed)]
    by_length = np.argsort(chosen["input_mask"].sum(axis=1), kind="stable")
    options, parts = instances.recipe.options, []
    for i, rows in enumerate(np.split(by_length, plan.accumulate)):
        part = {name: array[rows] for name, array in chosen.items()}
        if options.masking == "dynamic":
            part = instances.recipe.masked(part, training.draws(plan.seed, "corruption", step, i))
        part = training.batch(part, np.arange(len(rows)))
        if step < (options.dropout_steps or plan.steps):
            places = model.module.dropouts(model.config, dict(zip("BT", part["input_ids"].shape, strict=True)))
            part["dropout"] = layers.keep_masks(training.draws(plan.seed, "dropout", step, i), places)
        if hasattr(model.module, "sampled"):
            rng = training.draws(plan.seed, "sampling", step, i)
            part |= model.module.sampled(rng, model.params, model.config, part)
        parts.append(part)
    return parts


def _report(model: Any, rows: data.Rows, held_out: data.Rows, threads: int, seed: int) -> dict[str, Any]:
    """The held-out figures beside what they have to be compared with; said and returned."""
    measured = training.evaluation(model, held_out[np.arange(len(held_out))], threads=threads, seed=seed)
    unigram = corpus.unigram_entropy(rows.counts(), held_out.counts())._asdict()
    for term, share in measured["accuracies"].items():
        loss, count = measured["terms"][term], measured["targets"][term]
        if not count:
            _say("held out", f"{term.replace('_', ' ')}: no targets")
            continue
        if term not in measured["majority"]:
            below = unigram["entropy"] - loss
            _say("held out", f"{term.replace('_', ' ')} loss {loss:.3f} nats, {abs(below):.3f} "
                 f"{'below' if below > 0 else 'ABOVE'} the unigram entropy of that text, {unigram['entropy']:.3f}; "
                 f"{share:.1%} right")
            continue
        majority = measured["majority"][term]
        measured.setdefault("lower_bound", {})[term] = lower = training.wilson_lower(share, count)
        apart = "" if count <= len(held_out) else " (were tokens of a row independent)"
        guess = sum(-q * math.log(q) for q in (majority, 1 - majority) if q)
        _say("held out", f"{term.replace('_', ' ')} accuracy {share:.1%} of {count:,.0f}; majority class "
             f"{majority:.1%}; 99 % lower bound {lower:.1%}{apart}; loss {loss:.3f}, of the constant guess {guess:.3f}")
    return {**measured, "unigram": unigram}


def _say(label: str, text: str) -> None:
    try:
        print(f"{label:<10}{printable(text)}", flush=True)
    except OSError as error:
        if error.errno == errno.EPIPE:  # nobody reads on; the run goes on
            return
        raise OSError(error.errno, f"cannot write to standard output: {error.strerror or error}") from None
