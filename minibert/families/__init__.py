"""One file, one network. A family is found by its file: `family("bert")` is the module `minibert.families.bert`; one
from elsewhere, once it is told of: `register(module)`.

What a family's file offers, in this order (bert.py is the model):

    KIN                     optional: the family whose are all parts below that this file does not have, by
                            `__getattr__ = inherited(KIN)`
    Config PRESETS PROBE    its configuration, the published sizes, a small one with every field off its default
    shapes(config)          the tree of shapes of the network: norms are called "norm", leaves "weight" and "bias", what
                            attends "query key value output", what feeds forward "in out"; stacks are lists
    initial(path, shape, config, rng)       optional: a parameter's first values; else they are `model.create`'s
    example(rng, config, dims)              a small batch of every kind of trouble, dropout masks drawn; dims: sizes by
                            letter that differ from its own
    inputs(config) outputs(config) SPELLINGS                what `encode` takes and gives: {name: spec}; an input may be
                            absent where the spec begins with "?" (see `signatures`); other names of the inputs
    FIELDS ACTS CAUSAL      optional: {what BERT calls a config field: what this family does}; {what its config calls an
                            activation: which one it is}; True where no token attends to later ones
    KEEP                    optional: what a run keeps of the layers for the backward (`layers.stack`), where it is not
                            "caches"
    CARRIED                 optional: the inputs that `encode` gives as outputs, too, for the segment that follows: its
                            rows stand in the order of the text, and each step of a run goes on from the one before
    lengths(config)         {letter: (input, most)}: along which dimensions rows differ in length, the input whose sum
                            along it is how long a row is, and how long it may be; None: as long as one likes
    dropouts(config, dims)  layers.Dropouts of every keep-mask, by published module; dims: size of each letter
    OPTIONAL                the parts of the tree that published files may lack: {part: the output that is then absent}
    KEPT                    optional: parts without an output of their own that published files may lack and tasks read
    encode(p, config, inputs, *, keep) encode_backward(dout, cache)
    maps(config, inputs, out)               optional: who attends to whom in the first row, {path: (H, T, T)}, where its
                            attention runs over pieces of the text
    start(p, config, inputs) -> state       optional, with step: what goes on from token to token (see `generation`).
                            The state that has read these inputs, {} of {}: a tree of arrays with rows in front, which
                            nobody writes to, so that rows can be taken from it
    step(p, config, ids, state) -> (logits, state)          reads further ids (N, n): the logits (N, V) of what follows
                            the last of them, as `encode` of all of them gives, and the state that has read them
    terms(config)           what it is trained for: {name: objective.Term}. A family whose loss terms over one `encode`
                            cannot say has loss, loss_backward, labels, heads, needs, counts, right, predict of its own,
                            as `objective` has them, and `terms` gives their names
    undecayed(config)       optional: paths of parameters without weight decay, besides biases and norms
    frozen(config)          optional: paths of parameters that are data: their gradient is 0, whatever their slope
    documents(files, data) COUNTED          optional, where TOKENIZER is None: what files that hold no text are, or what
                            there is without files: a list for each document, of what stands where a text has sentences;
                            what a run calls documents, sentences and tokens. `rows` gets them as they are
    PERCEIVES perceived(row, config, beside, most) gathered(arrays)         optional, where TOKENIZER is None: what a
                            task's row names a file of, a key of `rows.tasks.FILES`; what the model reads of that file,
                            an array, at most so long; the inputs of several
    TOKENIZER Data DEFAULTS WIDTH NARROW QUICK              for `pretrain`: the kind of tokenizer; the options of its
                            data functions (see `options`); options with other defaults; the config field that is its
                            width; config fields of small models, the second without dropout
    SPECIALS ADDED GLUE     optional: {role: token} of a vocabulary that is learnt, where they aren't the kind's own (or
                            `specials` of its Data, where options decide them); tokens behind its pieces that are kept
                            whole; what stands before every sentence of a document but the first, as the tokenizer
                            reads it
    START                   optional: the role of the token with which a decoder begins to write
    writing(ids, present, end)              optional, of an encoder with a masked head: the inputs of rows (N, T) that
                            it writes on by filling masks (`filling`); end: the id of what ends a text
    ASKED asked(model, line, where, part, **settings)       optional: the parts of a text; one of them as the model
                            writes it, given the others as a line of JSON; where: what errors call the line
    BESIDE begun(model, data, studied)      optional: names of files of its own in a directory, texts that its model
                            keeps (`Model.beside`); what a run's new model begins with besides what is drawn, those too
    read(encodings, pad)    the inputs of encoded texts; pad: None where the vocabulary has no token for it
    fields(data, given)     the config fields for rows that such options make
    fitted(fields, asked)   optional: those that a vocabulary smaller than planned changes; asked: by the user
    PREDICTED               optional: inputs that say where pre-training predicts, which tasks have none of
    STATES                  optional: the output with the states of a text's tokens, where it isn't last_hidden_state
    POOLING                 optional: the ways of `inference.POOLINGS` that make a text's vector, where it isn't the
                            mean; "pooler" is the output pooler_output
    COMMAND                 optional: of the command line, that shows what it has learnt, where it isn't its head's
    spelled(tokenizer)      optional: the config fields that the words of a vocabulary decide
    study mark rows corrupt                                 from documents to batches: see `data.Recipe`
    handed(tokenizer, data, part) turn(data, step, steps)   optional: rows of files handed in (see `data.Recipe`); which
                            rows a step of a run reads (`corruption.courses.Turn`), None: any
    SUMMED touched(config)  optional: True where each target is a step of its own: a run's step then takes the sum over
                            them, not the mean; the tables of which a batch reads rows alone, and the fields that say
                            which (see `minibert.touched`)
    STUDIED_ROWS            optional: True where `rows` read what `study` has found
    word_vectors(p, config, words, ids)     optional: the vectors of words with these ids, where the table of words is
                            not theirs (see `minibert.vectors`)
    sample(rng, p, config, batch)           optional: more fields, drawn from the model (ELECTRA), or told by the batch
    begin(p, studied)       optional: writes into the parameters of a run that begins what `study` has made of the text
    stage(p, config, step, steps)           optional: the top-level parts that a step of a run leaves as they are; may
                            write to p, as a function of p and the step
    MODEL_TYPE PREFIX VARIANTS architectures(config) names(config) aliases(config) unused(config)
                            its published names: see `checkpoint.names`, `checkpoint.directory`; these may stand in
                            `minibert.published`, in a file of the family's name
    activations(config)     what golden cases hold: rows (published module, path in the cache, kind, place), see
                            `bert.activations`; place: "embeddings", "layer 3", "head", of several stacks or networks
                            with its name before it: "decoder layer 3", "generator head"
"""

import functools
import pkgutil
import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from types import ModuleType
from typing import Any

from minibert import adapters, published
from minibert.config import nearest, require, shown
from minibert.errors import InputError

ALIASES = {"wwm": "bert_wwm", "wwm_ext": "bert_wwm_ext", "glycebert": "chinesebert"}
_registered: dict[str, ModuleType] = {}


def names() -> list[str]:
    """The families there are."""
    return sorted({*_files(), *_registered})


@functools.cache
def _files() -> tuple[str, ...]:
    return tuple(module.name for module in pkgutil.iter_modules(__path__))


@functools.cache
def _beside() -> frozenset[str]:
    """The families whose published names are in a file of their own."""
    return frozenset(module.name for module in pkgutil.iter_modules(published.__path__))


def register(module: ModuleType) -> ModuleType:
    """Makes a module a family under the last part of its name, for this process; InputError where there is one."""
    require(isinstance(module, ModuleType), f"{shown(module)} is no module")
    name = named(module)
    taken = (name in names() or name in ALIASES) and _registered.get(name) is not module
    require(not taken, f"there is a family {name!r}: give the module another name")
    needed = [*NETWORK, *(TRAINED_ON_TEXT if hasattr(module, "Data") else ())]
    missing = [part for part in needed if not hasattr(module, part)]
    missing += [f"Data.{name}" for name in OPTIONS if hasattr(module, "Data") and not hasattr(module.Data, name)]
    require(not missing, f"{module.__name__} is no family: it lacks {', '.join(missing)}")
    _registered[name] = module
    return module


NETWORK = ("Config", "PRESETS", "PROBE", "shapes", "example", "inputs", "outputs", "lengths", "dropouts", "encode",
           "encode_backward", "terms", "TOKENIZER", "MODEL_TYPE", "PREFIX", "VARIANTS", "architectures", "names",
           "aliases", "activations")  # fmt: skip
OPTIONS = ("vocab_size", "lowercase", "seq_length", "duplicates")  # of Data: what every run on text asks
TRAINED_ON_TEXT = ("DEFAULTS", "WIDTH", "NARROW", "QUICK", "fields", "rows")


def field(module: ModuleType, name: str) -> str:
    """What a family calls a config field that is `name` in BERT's."""
    return getattr(module, "FIELDS", {}).get(name, name)


def heads(module: ModuleType, config: Any) -> int | None:
    """How many heads of attention a layer has; None where the config does not say it by BERT's field."""
    return getattr(config, field(module, "num_attention_heads"), None)


def own(module: ModuleType, fields: Mapping[str, Any]) -> dict[str, Any]:
    """These config fields, by BERT's names, under those of a family, as far as it has them."""
    given = {field(module, name): value for name, value in fields.items()}
    return {name: value for name, value in given.items() if name in module.Config.__dataclass_fields__}


def named(module: ModuleType) -> str:
    """The name of a family's module."""
    return module.__name__.rpartition(".")[2]


def optional(module: ModuleType, config: Any) -> set[str]:
    """The parts of the tree that a published directory may lack."""
    return {part for parts in module.architectures(config).values() for part in parts}


def undecayed(module: ModuleType, config: Any) -> tuple[str, ...]:
    """The paths of parameters that the family keeps from weight decay, besides biases and norms (`optim.decays`)."""
    return getattr(module, "undecayed", lambda _: ())(config)


def frozen(module: ModuleType, config: Any) -> tuple[str, ...]:
    """The paths of parameters whose gradient is 0 by decree: they are data."""
    return getattr(module, "frozen", lambda _: ())(config)


def lineage(name: str) -> list[str]:
    """The family and its kin, the nearest first."""
    kin = vars(family(name)).get("KIN")
    return [name, *(lineage(kin) if kin else ())]


def equations(name: str) -> str:
    """The family whose network and terms these are: its own, or its kin's where it differs in the data alone."""
    module = family(name)
    kin = vars(module).get("KIN")
    return name if kin is None or "terms" in vars(module) else equations(kin)


def family(name: str) -> ModuleType:
    """The family's module, also by its spelling with dashes; of "bert+classify" its network with that task. InputError
    for an unknown name.
    """
    spelled = name.replace("-", "_") if isinstance(name, str) else ""
    if "+" in spelled:  # a network for a task, as golden cases have it; by its name, as tasks know families
        return import_module("minibert.tasks").spelled(spelled)
    if "@" in spelled:  # with sub-trees that it does not know, as golden cases have it
        name, _, said = spelled.partition("@")
        return adapters.grown(family(name), said)
    spelled = ALIASES.get(spelled, spelled)
    if spelled not in _files() and spelled not in _registered:
        raise InputError(f"unknown family {shown(name)}{nearest(spelled, names())}; there are: {', '.join(names())}")
    return _registered.get(spelled) or import_module(f"{__name__}.{spelled}")


def inherited(kin: str | None = None) -> Callable[[str], Any]:
    """A module's `__getattr__`: what the file does not say is in `minibert.published`, in the file of its name, or its
    kin's; but `start` and `step` are those of the kin's own `encode`, so that a family with another one needs its own.
    """
    own = sys._getframe(1).f_globals

    def get(name: str) -> Any:
        if name.startswith("__") or (name in ("start", "step") and "encode" in own):
            raise AttributeError(name)
        beside = own["__name__"].replace("families", "published")
        if beside.startswith("minibert.published.") and beside.rpartition(".")[2] in _beside():
            held = vars(import_module(beside))
            if name in held:
                return held[name]
        if kin is None:
            raise AttributeError(name)
        return getattr(family(kin), name)

    return get
