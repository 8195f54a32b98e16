"""A network with tasks: what a family's file says, with heads of tasks in the place of those of pre-training.

    task = tasks.made("classify", {"classes": 3})
    network = tasks.network(bert, (task,))          as `objective`, `batches`, `training` take a family's module

A task is a head of `heads` that has TASKS, and its settings; any task goes with any family, and there is no code for a
pair of them. What a family has to say of its own, it says as data: what stands for a row and what published classes
call it (`summaries`), and what of it is used where it has several networks (`used`). Several tasks may stand over one
network: then each label is called TASK_LABEL in a batch. Multiple choice has rows of several texts and stands alone.
"""

import functools
import pkgutil
import re
from collections.abc import Mapping
from importlib import import_module
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

from minibert import config as configs
from minibert import families, generation, heads, layers, objective, pooling, signatures, summaries, teaching, tree
from minibert.config import one_of, require, shown
from minibert.errors import InputError
from minibert.heads import target_token
from minibert.summaries import Summary

Array = np.ndarray
Tree = dict[str, Any]

SUMMARY = "summary"  # the part of the tree, and the output
SEVERAL = {"choice": None, "pair": 2}  # what a head reads of rows of several texts: how many, None: any
_SEVERAL = re.compile(r"\[\w+\],")  # in the spec of what a family reads one or several of a row: a task has one
OWN = "own"  # what a head reads that is none: the family's own term is the task


class Task(NamedTuple):
    """What a model is used for: name, a key of its head's TASKS; settings: of the head."""

    name: str
    head: ModuleType
    settings: Any


# ---- Tasks -----------------------------------------------------------------------------------------------------------
@functools.cache
def served() -> dict[str, ModuleType]:
    """The head that serves each task."""
    modules = (import_module(f"{heads.__name__}.{file.name}") for file in pkgutil.iter_modules(heads.__path__))
    return {name: module for module in modules for name in getattr(module, "TASKS", ())}


def names() -> list[str]:
    """The tasks there are."""
    return sorted(served())


def defaults(name: str) -> Tree:
    """The settings that a task has unless others are given."""
    return served()[one_of("task", name, names())].TASKS[name]


def rows_of(name: str, module: Any = None) -> str:
    """The task whose rows this one learns from: itself, as a rule; of a family that reads no text "classify picture",
    as its file says what its rows name.
    """
    own = getattr(served()[one_of("task", name, names())], "ROWS", name)
    return f"{own} {module.PERCEIVES}" if hasattr(module, "PERCEIVES") else own


def made(name: str, settings: Mapping[str, Any]) -> Task:
    """The task with these settings over its own, as many classes as labels; InputError for what does not fit."""
    head = served()[one_of("task", name, names())]
    require(isinstance(settings, Mapping), f"task {name!r} {shown(settings)}: expected a dict of its settings")
    given = dict(settings)
    if "labels" in given and "classes" not in given and isinstance(given["labels"], list | tuple):
        given["classes"] = len(given["labels"])
    known = head.TASKS[name]
    try:
        task = Task(name, head, configs.from_fields(head.Settings, {**known, **given}))
    except InputError as error:
        raise InputError(f"task {name!r}: {error}") from None
    said = getattr(task.settings, "labels", ())
    fits = not said or len(said) == len({*said}) == task.settings.classes
    require(fits, f"task {name!r}: {len({*said})} labels of {getattr(task.settings, 'classes', 0)} classes")
    return task


def several(given: Any) -> tuple[Task, ...]:
    """The tasks of {name: settings}."""
    fits = isinstance(given, Mapping)
    require(fits, f'tasks {shown(given)}: expected a dict, as {{"classify": {{"classes": 3}}}}')
    return together(tuple(made(name, settings) for name, settings in given.items()))


def together(tasks: tuple[Task, ...]) -> tuple[Task, ...]:
    """The tasks, if they can stand over one network."""
    known = {task.name for task in tasks if task.head.READS == OWN}
    require(not known or len(tasks) == 1, f"task {''.join(sorted(known)[:1])!r} is the family's own: it stands alone")
    alone = [task.name for task in tasks if task.head.READS in SEVERAL]
    require(not alone or len(tasks) == 1, f"task {''.join(alone[:1])!r} has rows of several texts: it stands alone")
    ways = {getattr(task.settings, "pooling", "") for task in tasks if task.head.READS != "states"}
    require(len(ways) < 2, f"tasks that pool a row's states in several ways: {', '.join(sorted(map(repr, ways)))}")
    return tasks


def called(module: ModuleType, head: ModuleType) -> str:
    """How a family's published class with that head ends, behind "For": as the head says, or as the family does."""
    return getattr(module, "CLASSES", {}).get(head.PUBLISHED, head.PUBLISHED)


def class_names(task: Task) -> tuple[str, ...]:
    """What its classes are called; () of a task without."""
    count = getattr(task.settings, "classes", 0)
    return getattr(task.settings, "labels", ()) or tuple(f"LABEL_{i}" for i in range(count))


def _letters(specs: Mapping[str, str]) -> set[str]:
    """The dimensions of arrays, and what their numbers lie below."""
    return {one for text in specs.values() for one in re.findall(r"\w+", text)}


# ---- The network -----------------------------------------------------------------------------------------------------
# what a family has for pre-training, and for going on from token to token with a head of it
OF_PRETRAINING = ("loss", "loss_backward", "labels", "heads", "needs", "counts", "right", "predict", "sample", "stage",
                  "start", "step")  # fmt: skip


@functools.lru_cache(maxsize=64)
def network(module: ModuleType, tasks: tuple[Task, ...]) -> "Network":
    """The family's network with these tasks; the same for the same. The family's file itself, or one of its terms
    alone, where that is the task; InputError for a family without it.
    """
    for task in tasks:
        if task.head.READS == OWN:
            require(task.head.fits(module), f"{families.named(module)} cannot {task.name}: {task.head.NEEDS}")
            return Alone(module, task.head.TERM) if hasattr(task.head, "TERM") else module
    return Network(module, tasks)


class Alone:
    """A family's module with one of its terms alone."""

    def __init__(self, module: ModuleType, term: str) -> None:
        self.module, self.term, self.__name__ = module, term, module.__name__

    def __getattr__(self, name: str) -> Any:
        if name == "sample":  # which makes what other terms ask for
            raise AttributeError(name)
        return getattr(self.module, name)

    def terms(self, config: Any) -> dict[str, objective.Term]:
        """The one."""
        known = self.module.terms(config)
        fits = self.term in known
        require(fits, f"this {families.named(self.module)} is trained for {', '.join(known)}, not for {self.term}")
        return {self.term: known[self.term]}

    def names(self, config: Any) -> list[tuple[str, str, str]]:
        """The module's, without those of other terms' heads."""
        kept = objective.trained(self, config).keys()
        return [row for row in self.module.names(config) if row[0].partition(".")[0] in kept]

    def aliases(self, config: Any) -> dict[str, str]:
        """The module's, of the tensors that are here."""
        here = {name for _, name, _ in self.names(config)}
        return {alias: name for alias, name in self.module.aliases(config).items() if name in here}

    def shapes(self, config: Any) -> Tree:
        """The module's, without what the term does not read."""
        read = self.terms(config)[self.term].reads
        spare = {part for part, output in getattr(self.module, "OPTIONAL", {}).items() if output != read}
        return {part: held for part, held in self.module.shapes(config).items() if part not in spare}

    def example(self, rng: np.random.Generator, config: Any, dims: dict[str, int] | None = None) -> Tree:
        """The module's, without labels of other terms."""
        kept = {*self.module.inputs(config), *objective.labels(self, config), "dropout"}
        batch = objective.spelled(self.module, self.module.example(rng, config, dims))
        return {name: array for name, array in batch.items() if name in kept}


def used(module: ModuleType, config: Any, params: Tree) -> tuple[Any, Tree]:
    """(config, parameters) of what is used of a model, without its heads: of several networks the family says which."""
    if hasattr(module, "used"):
        config, params = module.used(config, params)
    own = Network(module, ()).shapes(config)
    return config, {part: held for part, held in params.items() if part in own}


def spelled(name: str) -> "Network":
    """The network of "bert+classify", its task with the settings that it has unless others are given, as in
    "bert+similar:by=tensor,slices=2"; of "bert+classify@taught:9" as a teacher of that width teaches it.
    """
    family, _, task = name.partition("+")
    task, _, taught = task.partition("@")
    task, _, said = task.partition(":")
    settings = dict(pair.partition("=")[::2] for pair in said.split(",") if pair)
    settings = {name: int(value) if value.isdecimal() else value for name, value in settings.items()}
    found = network(families.family(family), (made(task, settings),))
    return teaching.example(found, taught) if taught else found


class Network:
    """A family's module with other terms; what is not said here is the module's."""

    def __init__(self, module: ModuleType, tasks: tuple[Task, ...]) -> None:
        self.module, self.tasks = module, tasks
        self.__name__ = "+".join([module.__name__, *(task.name for task in tasks)])
        self.KIN = families.named(module)  # whose mistakes, laws and sizes of golden cases hold here, but no double
        self.golden_double = lambda subject: None
        several = [SEVERAL[task.head.READS] for task in tasks if task.head.READS in SEVERAL]
        self._wide = f"{several[0] or 'C'}" if several else ""  # the dimension of rows of several texts
        own = {name: spec for task in tasks for name, spec in getattr(task.head, "INPUTS", {}).items()}
        self._added = own if len(tasks) == 1 else {name: f"?{spec.removeprefix('?')}" for name, spec in own.items()}
        self._kinds = {task.head.READS for task in tasks} - {"states"}
        self._mixes = any(getattr(task.settings, "pooling", "") == "layers" for task in tasks)

    def __getattr__(self, name: str) -> Any:
        if name in OF_PRETRAINING or name.startswith("__"):
            raise AttributeError(name)
        return getattr(self.module, name)

    def summary(self, config: Any) -> Summary:
        """What stands for a row, of this family: see `summaries`."""
        said = self.module.summaries(config) if hasattr(self.module, "summaries") else {}
        known = self.module.outputs(config)
        kind = "choice" if self._wide else "text"
        for task in self.tasks:
            if getattr(task.settings, "pooling", ""):
                return self._pooled(config, task.settings, said.get(kind, Summary()))
        pooled = Summary("pooler_output") if "pooler_output" in known else None
        if kind in said or pooled:
            return said.get(kind, pooled)
        reads = self._states(config)
        flat = len(signatures.parse(known[reads]).dims) == 2
        place = "last" if getattr(self.module, "CAUSAL", False) else "first"
        return said.get("text", Summary(reads, None if flat else place))

    def _pooled(self, config: Any, settings: Any, own: Summary) -> Summary:
        """What is made of a row's states as a task's settings say; its names and dropout are the family's."""
        how, reads = settings.pooling, self._of_tokens(config)
        width, layers = self._width(config, reads), families.field(self.module, "num_hidden_layers")
        if how == "layers":
            reads, sizes = "hidden_states", {"layers": getattr(config, layers, 0) + 1}
            require(reads in self.module.outputs(config), f"{families.named(self.module)} has no hidden states to mix")
        else:
            way = pooling.POOLINGS[how]
            sizes = {way.size: settings.size or way.usual(width)} if way.size else {}
        heads = getattr(config, families.field(self.module, "num_attention_heads"), 1)
        given = {"width": width // heads if width % heads == 0 else width} if how == "attention" else {}
        first = "pooling.dropout" if pooling.POOLINGS[how].dropped else None
        return Summary(reads, dense="pooling", head=own.head, dropped=(first, own.dropped[1]), pooling=how, sizes=sizes,
                       given=given)  # fmt: skip

    def _row(self, config: Any) -> int:
        """The width of what stands for a row."""
        own = self.summary(config)
        width = getattr(config, own.width) if own.width else self._width(config, own.reads)
        return pooling.POOLINGS[own.pooling].wide(width, *own.sizes.values() or (0,)) if own.pooling else width

    def _states(self, config: Any, head: ModuleType | None = None) -> str:
        """The output with a state for each token, that a head reads where one is given and the family says which."""
        if head is not None and hasattr(self.module, "states"):
            return self.module.states(head.PUBLISHED)
        known = self.module.outputs(config)
        return "last_hidden_state" if "last_hidden_state" in known else next(iter(known))

    def _of_tokens(self, config: Any, head: ModuleType | None = None) -> str:
        """`_states`; InputError where they are fewer than the tokens."""
        reads = self._states(config, head)
        dims = signatures.parse(self.module.outputs(config)[reads]).dims
        fits = len(dims) == 3 and len(dims[1]) == 1
        require(fits, f"{families.named(self.module)} gives no state of each token, which {self._said()} reads")
        return reads

    def _said(self) -> str:
        return "+".join(task.name for task in self.tasks)

    def _width(self, config: Any, output: str) -> int:
        dim = signatures.parse(self.module.outputs(config)[output]).dims[-1]
        return int(dim) if dim.isdigit() else getattr(config, dim)

    def _rate(self, config: Any) -> float:
        """The rate at which heads drop, of a task that has none of its own."""
        rates = (families.field(self.module, name) for name in ("classifier_dropout", "hidden_dropout_prob"))
        return next((getattr(config, name) for name in rates if hasattr(config, name)), 0.0)

    # ---- Shapes, inputs, outputs -------------------------------------------------------------------------------------
    @property
    def OPTIONAL(self) -> Tree:
        """The parts that published files may lack: {part: the output that is then absent}."""
        return {part: output for part, output in getattr(self.module, "OPTIONAL", {}).items() if output}

    def _spare(self, config: Any) -> set[str]:
        """The parts that no task needs."""
        read = {*self.behind(config).values(), *(term.reads for term in self.terms(config).values())}
        return {part for part, output in self.OPTIONAL.items() if output not in read}

    def shapes(self, config: Any) -> Tree:
        """The shape of every parameter but those of the tasks' heads."""
        dropped = families.optional(self.module, config) - self.OPTIONAL.keys() - {*getattr(self.module, "KEPT", ())}
        found = {part: held for part, held in self.module.shapes(config).items() if part not in dropped}
        if self._kinds and (own := self.summary(config)):
            width = self._width(config, own.reads)
            if own.pooling and (learnt := pooling.shapes(own.pooling, width, **own.sizes)):
                found[SUMMARY] = learnt
            elif own.act is not None:
                found[SUMMARY] = {"weight": (self._row(config), width), "bias": (self._row(config),)}
        return found

    def inputs(self, config: Any) -> dict[str, str]:
        """The module's; a decoder reads the text, too; rows of several texts are (B, C, …); what heads take besides."""
        others = {*[*self.module.lengths(config)][1:]}
        asked = {*objective.labels(self.module, config), *getattr(self.module, "PREDICTED", ())}  # of pre-training
        found = {name: spec for name, spec in self.module.inputs(config).items()
                 if name not in asked and others.isdisjoint(signatures.parse(spec).dims)}  # fmt: skip
        if self._wide:  # rows of several texts go on from nothing
            kept = found.keys() - {*getattr(self.module, "CARRIED", ())}
            found = {name: spec for name, spec in found.items()
                     if name in kept and signatures.parse(spec).holds == "array"}  # fmt: skip
        wide = f"(B,{self._wide}" if self._wide else "(B"
        found = {name: _SEVERAL.sub("", spec).replace("(B", wide, 1) for name, spec in found.items()}
        return {**found, **self._added}

    def outputs(self, config: Any) -> dict[str, str]:
        """The module's, and what stands for the rows."""
        row = f"(B,{f'{self._wide},' if self._wide else ''}{self._row(config)})"
        return {**self.module.outputs(config), **({SUMMARY: row} if self._kinds else {})}

    def behind(self, config: Any) -> dict[str, str]:
        """{an output: the module's that it is made of}."""
        return {SUMMARY: self.summary(config).reads} if self._kinds else {}

    def lengths(self, config: Any) -> dict[str, tuple[str, int]]:
        """The module's first letter: a decoder's rows are as long."""
        return dict([*self.module.lengths(config).items()][:1])

    def _flat(self, dims: Mapping[str, int], config: Any) -> dict[str, int]:
        """The dimensions as the module knows them."""
        first, *others = [*self.module.lengths(config)] or [None]
        rows = dims["B"] * self._texts(dims)
        kept = {letter: size for letter, size in dims.items() if letter != self._wide}
        return {**kept, "B": rows, **{letter: dims[first] for letter in others if first in dims}}

    def _texts(self, dims: Mapping[str, int], else_: int = 1) -> int:
        """How many texts a row has."""
        return int(self._wide) if self._wide.isdigit() else dims.get("C", else_)

    def dropouts(self, config: Any, dims: Mapping[str, int]) -> layers.Dropouts:
        """The module's places without those of pre-training's heads, the summary's and the heads'."""
        flat = self._flat(dims, config)
        terms = () if hasattr(self.module, "loss") else self.module.terms(config).values()
        gone = {term.dropout[0] for term in terms if term.dropout}
        places = {name: place for name, place in self.module.dropouts(config, flat).items() if name not in gone}
        if self._kinds and (own := self.summary(config)).dropped[0] and (own.act is not None or own.pooling):
            width = self._width(config, own.reads)
            width = pooling.POOLINGS[own.pooling].dropped(width) if own.pooling else width
            places[own.dropped[0]] = (flat["B"], width), self._dropped(config)
        for term in self.terms(config).values():
            if term.dropout:
                name, rate = term.dropout
                *letters, _ = signatures.parse(self.outputs(config)[term.reads]).dims
                sizes = {**flat, **dims, self._wide: self._texts(dims)}
                places[name] = (*(sizes[dim] for dim in letters), term.sizes["width"]), rate
        return places

    def _dropped(self, config: Any) -> float:
        """The rate of the summary: of the first task that reads it."""
        own = (getattr(task.settings, "dropout", None) for task in self.tasks if task.head.READS != "states")
        return next((rate for rate in own if rate is not None), self._rate(config))

    def example(self, rng: np.random.Generator, config: Any, dims: dict[str, int] | None = None) -> Tree:
        """The module's example without labels; of several texts a row, C of them, 3 unless dims has C."""
        texts = self._texts(dims or {}, 3) if self._wide else 1
        sizes = {**(dims or {}), "B": (dims or {}).get("B", 3) * texts}
        spelled = objective.spelled(self.module, self.module.example(rng, config, sizes))
        specs = {name: signatures.parse(spec) for name, spec in self.module.inputs(config).items()}
        batch = {name: array[:, 0] if specs[name].between and array.ndim > len(specs[name].dims) else array
                 for name, array in spelled.items() if name in self.inputs(config) and name in specs}  # fmt: skip
        if self._kinds and self.summary(config).at == "end":
            batch[generation.PROMPT][:, -1] = config.eos_token_id
        if self._wide:
            batch = tree.map(lambda array: array.reshape(-1, texts, *array.shape[1:]), batch)
        arrays = {name: next(iter(held), None) if isinstance(held, list) else held for name, held in batch.items()}
        shapes = [(signatures.parse(self.inputs(config)[name]).dims, array.shape) for name, array in arrays.items()
                  if isinstance(array, np.ndarray)]  # fmt: skip
        there = {dim: size for given in shapes for dim, size in zip(*given, strict=True)}
        return {**batch, "dropout": layers.keep_masks(rng, self.dropouts(config, there))}

    # ---- Forward and backward ----------------------------------------------------------------------------------------
    def encode(self, p: Tree, config: Any, inputs: Tree, *, keep: Any = "caches") -> tuple[Tree, Tree]:
        """The module's outputs, and what stands for the rows."""
        given = {name: inputs[name] for name in self.inputs(config) if name in inputs and name not in self._added}
        texts = next(iter(given.values())).shape[1] if self._wide else 0
        if self._wide:
            given = {name: array.reshape(-1, *array.shape[2:]) for name, array in given.items()}
        if generation.WRITTEN in self.module.inputs(config):  # of one text into another: it writes the text again
            start = config.decoder_start_token_id, config.pad_token_id
            given[generation.WRITTEN] = target_token.shifted(given[generation.PROMPT], *start)
        masks = inputs.get("dropout") or {}
        c: Tree = {"texts": texts}
        keep = "outputs" if keep == "last" and self._mixes else keep
        out, c["network"] = self.module.encode(p, config, {**given, "dropout": masks}, keep=keep)
        if self._kinds:
            own = self.summary(config)
            mask = layers.by_anybody(next((given.get(name) for name, _ in self.lengths(config).values()), None))
            dropped = {"keep": masks.get(own.dropped[0]), "rate": self._dropped(config)}
            if own.pooling:
                h = np.stack(out[own.reads]) if own.pooling == "layers" else out[own.reads]
                given = {**own.given, **({**dropped, "batch": "dropout" in inputs} if own.dropped[0] else {})}
                s, c[SUMMARY] = pooling.pooled(h, p.get(SUMMARY), how=own.pooling, seen=mask, **given)
            else:
                h = out[own.reads]
                place = summaries.PLACES[own.at] if own.at else lambda *_: None
                at = place(given.get(generation.PROMPT), mask, h.shape[:2], config)
                s, c[SUMMARY] = summaries.summary(h, p.get(SUMMARY), at=at, act=own.act, **dropped)
            c["reads"], out = own.reads, {**out, SUMMARY: s.reshape(-1, texts, s.shape[-1]) if texts else s}
        return out, c

    def encode_backward(self, dout: Tree, c: Tree) -> Tree:
        """The gradient tree of the network and of what stands for the rows."""
        dout, own = dict(dout), {}
        if SUMMARY in c:
            ds = dout.pop(SUMMARY)
            back = pooling.pooled_backward if "pooling" in c[SUMMARY] else summaries.summary_backward
            dh, g = back(ds.reshape(-1, ds.shape[-1]), c[SUMMARY])
            dh = [*dh] if c["reads"] == "hidden_states" else dh
            dout[c["reads"]] = dout[c["reads"]] + dh if c["reads"] in dout else dh
            own = {SUMMARY: pooling.still(g) if c[SUMMARY].get("how") == "ulmfit" else g} if g else {}
        return {**self.module.encode_backward(dout, c["network"]), **own}

    def frozen(self, config: Any) -> tuple[str, ...]:
        """The module's, and what follows the batches."""
        own = (f"{SUMMARY}.{path}" for path, _ in tree.items(self.shapes(config).get(SUMMARY) or {}))
        theirs = families.frozen(self.module, config)
        return (*theirs, *(path for path in own if path.rpartition(".")[2] in pooling.FOLLOWED))

    def undecayed(self, config: Any) -> tuple[str, ...]:
        """The module's, and what is frozen."""
        return (*families.undecayed(self.module, config), *self.frozen(config))

    def followed(self, c: Tree) -> dict[str, Array]:
        """{path of a parameter that no gradient trains: the value that it is to follow}, of a loss cache."""
        own = c["encode"].get(SUMMARY, {})
        found = pooling.followed(own) if "pooling" in own else {}
        return {f"{SUMMARY}.{path}": value for path, value in found.items()}

    def terms(self, config: Any) -> dict[str, objective.Term]:
        """A term for each task; of several those that a batch has labels of."""
        return {task.name: self._term(task, config) for task in self.tasks}

    def _term(self, task: Task, config: Any) -> objective.Term:
        head, alone = task.head, len(self.tasks) == 1
        own = self.summary(config)
        states = head.READS == "states"
        reads = self._of_tokens(config, head) if states else SUMMARY
        asks = _letters(getattr(head, "LABELS", {})) | _letters(getattr(head, "INPUTS", {}))
        fits = "T" not in asks or "T" in _letters(self.module.inputs(config))
        require(fits, f"{families.named(self.module)} reads no tokens, which {task.name} asks about")
        sizes = {"width": self._width(config, reads) if states else self._row(config)}
        sizes |= task.settings.sizes()
        sizes |= {} if states else {"biased": own.biased}
        module = head.DROPPED if states else own.dropped[1]
        rate = getattr(task.settings, "dropout", None)
        rate = self._rate(config) if rate is None else rate
        dropout = (module if alone else f"{task.name}.dropout", rate) if module else None
        seen = next((name for name, _ in self.lengths(config).values()), None)
        inputs = {"seen": seen} if getattr(head, "SEEN", False) and seen else {}
        inputs |= {name: name for name in getattr(head, "INPUTS", {})}
        part = task.name if head.shapes(**sizes) else None
        return objective.Term(
            head, part, reads, sizes, task.settings.constants(), dropout=dropout, optional=not alone,
            prefix="" if alone else f"{task.name}_", inputs=inputs,
        )  # fmt: skip

    def first(self, path: str, shape: tuple[int, ...], rng: np.random.Generator) -> Array | None:
        """The first value of a parameter, where its task's head says one, and of norms behind a pooling."""
        part, _, rest = path.partition(".")
        *_, parent, leaf = ["", *path.split(".")]
        if part == SUMMARY and parent == "norm":
            return np.ones(shape) if leaf in ("weight", "running_var") else np.zeros(shape)
        said = next((getattr(task.head, "initial", None) for task in self.tasks if task.name == part), None)
        return said and said(rest, shape, rng)

    def silent(self, config: Any) -> dict[str, str]:
        """The laws that heads cannot be asked, and why (`laws`); the family's own are its kin's."""
        return {name: why for task in self.tasks for name, why in getattr(task.head, "SILENT", {}).items()}

    def _within(self) -> str:
        """How published names of the network begin in the class for its task."""
        known = getattr(self.module, "WITHIN", {})
        return known.get(self.tasks[0].head.PUBLISHED, "") if len(self.tasks) == 1 else ""

    # ---- Published names ---------------------------------------------------------------------------------------------
    def architectures(self, config: Any) -> dict[str, tuple[str, ...]]:
        """The published class, and the parts that it may have or not."""
        known = self.module.architectures(config)
        bare = [name for name in known if name.endswith("Model")] or [*known, ""]
        first = min(bare, key=len).removesuffix("Model")
        kinds = {f"{first}For{called(self.module, task.head)}": tuple(self._spare(config)) for task in self.tasks[:1]}
        return kinds or {first: tuple(self._spare(config))}

    def names(self, config: Any) -> list[tuple[str, str, str]]:
        """(path in the tree, published name, bijection): the module's, and those of the tasks."""
        kept, own, alone = self.shapes(config), self.summary(config), len(self.tasks) == 1
        rows = [row for row in self.module.names(config) if row[0].partition(".")[0] in kept.keys() - {SUMMARY}]
        modules = {SUMMARY: own.dense if alone else SUMMARY} if SUMMARY in kept else {}
        for task in self.tasks:
            published = task.head.NAMED if task.head.READS == "states" else own.head
            modules[task.name] = published if alone else task.name
        shapes, within = objective.shapes(self, config), self._within()
        rows = [(path, f"{within}{name}", kind) for path, name, kind in rows]
        return rows + [(f"{part}.{leaf}", f"{name}.{leaf}".removeprefix("."), "identity")
                       for part, name in modules.items() for leaf, _ in tree.items(shapes.get(part, {}))]  # fmt: skip

    def activations(self, config: Any) -> list[tuple[str, str, str, str]]:
        """What golden cases hold: the module's without those of pre-training's heads, and the tasks' heads."""
        within = "encode.network."
        rows = [(f"{self._within()}{name}", path.replace("encode.", within, 1), kind, place)
                for name, path, kind, place in self.module.activations(config) if path.startswith("encode.")]
        named = {path.rpartition(".")[0]: name.rpartition(".")[0] for path, name, _ in self.names(config)}
        own = [(named.get(f"{task.name}{leaf and '.'}{leaf}", leaf), f"{task.name}.{call}", "", "head")
               for task in self.tasks for call, leaf in getattr(task.head, "TRACED", {"head": ""}).items()]  # fmt: skip
        if self._kinds and self.summary(config).pooling:
            own = [("pooling", f"encode.{SUMMARY}.pooling", "", "head"), *own]
        elif SUMMARY in named:
            own = [(named[SUMMARY], f"encode.{SUMMARY}.dense", "", "head"), *own]
        return rows + own

    def aliases(self, config: Any) -> dict[str, str]:
        """The module's, of the tensors that are here."""
        here, within = {name for _, name, _ in self.names(config)}, self._within()
        found = {f"{within}{alias}": f"{within}{name}" for alias, name in self.module.aliases(config).items()}
        return {alias: name for alias, name in found.items() if name in here}

    def unused(self, config: Any) -> tuple[str, ...]:
        """None: what pre-training's heads do not read is left with them."""
        return ()
