"""One file, one network. A family is found by its file: `family("bert")` is the module `minibert.families.bert`.

What a family's file offers, in this order (bert.py is the model):

    KIN                     optional: the family whose are all parts below that this file does not have
    Config PRESETS PROBE    its configuration, the published sizes, a small one with every field off its default
    shapes(config)          the tree of shapes of the network: norms are called "norm", leaves "weight" and "bias"
    example(rng, config, rows=3, length=7, targets=3)       a small batch of every kind of trouble, dropout masks drawn
    inputs(config) outputs(config) SPELLINGS                what `encode` takes: {name: spec}, which may be absent where
                            the spec begins with "?"; the names of what it gives; other names of the inputs
    dropouts(config, dims)  layers.Places of every keep-mask, by published module; dims: size of each letter
    longest(config)         the tokens that a row may have
    OPTIONAL                the parts of the tree that published files may lack: {part: the output that is then absent}
    encode(p, config, inputs, *, keep) encode_backward(dout, cache)
    terms(config)           what it is trained for: {name: objective.Term}. A family whose loss terms over one `encode`
                            cannot say has loss, loss_backward, labels, needs, counts, right, predict of its own, as
                            `objective` has them, and `terms` gives their names
    undecayed(config)       optional: paths of parameters without weight decay, besides biases and norms
    TOKENIZER PRETRAINING   the kind of tokenizer; "options" and config "fields" of `pretrain` that differ from its
                            defaults, in "formats" the fields that the rows of a format need ("" where there is one),
                            in "files" those of pretraining.FILES that it reads
    FORMATS UNITS           optional: what options.format may name, the default first; what options.units may
    learnt(tokenizer, options, counted)                     optional: what `corrupted` must know of the training text,
                                                            which is never held: counted(f) is the sum of the Counters
                                                            f(tokenizer, options, texts) of its shards (see `data`)
    prepared(tokenizer, options, texts, documents)          optional: what `sequences` must know of a shard's text
    sequences(documents, rng, vocabulary, options, given)   unmasked instances of a shard's tokenised documents; given:
                                                            `prepared`
    corrupted(rows, rng, vocabulary, options, learnt)       a batch of them, from any shards, with its targets
    sampled(rng, p, config, batch)                          optional: more fields, drawn from the model (ELECTRA)
    stage(p, config, step, steps)                           optional: the top-level parts that a step of a run leaves as
                                                            they are; may write to p, as a function of p and the step
    MODEL_TYPE … architectures(config) names(config) aliases(config) unused(config)
                            its published names: see checkpoint.directory
    activations(config)     what golden cases hold: rows (published module, path in the cache, kind, place), see
                            `bert.activations`; place: "embeddings", "layer 3", "head", of several stacks or networks
                            with its name before it: "decoder layer 3", "generator head"
"""

import pkgutil
from functools import partial
from importlib import import_module
from types import ModuleType
from typing import Any

from minibert.config import nearest, shown
from minibert.errors import InputError

ALIASES = {"wwm": "bert_wwm", "wwm_ext": "bert_wwm_ext"}


def names() -> list[str]:
    """The families there are."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


def optional(module: ModuleType, config: Any) -> set[str]:
    """The parts of the tree that a published directory may lack."""
    return {part for parts in module.architectures(config).values() for part in parts}


def undecayed(module: ModuleType, config: Any) -> tuple[str, ...]:
    """The paths of parameters that the family keeps from weight decay, besides biases and norms (`optim.decays`)."""
    return getattr(module, "undecayed", lambda _: ())(config)


def equations(name: str) -> str:
    """The family whose network and terms these are: its own, or its kin's where it differs in the data alone."""
    module = family(name)
    kin = vars(module).get("KIN")
    return name if kin is None or "terms" in vars(module) else equations(kin)


def family(name: str) -> ModuleType:
    """The family's module, also by its spelling with dashes; InputError for an unknown name."""
    spelled = name.replace("-", "_") if isinstance(name, str) else ""
    spelled = ALIASES.get(spelled, spelled)
    if spelled not in names():
        raise InputError(f"unknown family {shown(name)}{nearest(spelled, names())}; there are: {', '.join(names())}")
    module = import_module(f"{__name__}.{spelled}")
    if kin := vars(module).get("KIN"):
        vars(module).setdefault("__getattr__", partial(getattr, family(kin)))
    return module
