"""One file, one family. A family is found by its file: `family("bert")` is the module `minibert.families.bert`.

What a family's file offers, in this order (bert.py is the model):

    Config PRESETS PROBE    its configuration, the published sizes, a small one with every field off its default
    shapes(config)          the tree of shapes: norms are called "norm", leaves "weight" and "bias"
    example(rng, config, rows=3, length=7, targets=3)       a small batch of every kind of trouble, dropout masks drawn
    dropout_places(config, rows, length)                    layers.Places of every keep-mask, by published module
    INPUTS OUTPUTS SPELLINGS longest(config)                what `encode` takes and gives, and the longest row
    encode(p, config, inputs, *, keep) encode_backward(dout, cache)
    masked_logits(p, config, inputs, positions)             for fill-mask, where the family has such a head
    LABELS TERMS HEADS      what `loss` takes, its terms, the parts of the tree that it needs and `create` makes
    loss(p, config, batch, *, denominators, keep, dense) loss_backward(cache)
    counts(batch)           {term: targets}; correct(cache): {term: (right, counted, of class 1 or None for tokens)}, of
                            the terms that predict
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
    MODEL_TYPE … names(config) aliases(config) unused(config) activations(config)
                            its published names: see checkpoint.directory and golden.subject

LABELS, TERMS, HEADS and ARCHITECTURES may be functions of the config, where that decides which networks there are:
read them with `declared`. A family whose equations are another's imports what it shares by name.
"""

import pkgutil
from importlib import import_module
from types import ModuleType
from typing import Any

from minibert.config import nearest, shown
from minibert.errors import InputError

ALIASES = {"wwm": "bert_wwm", "wwm_ext": "bert_wwm_ext"}


def names() -> list[str]:
    """The families there are."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


def declared(module: ModuleType, table: str, config: Any) -> Any:
    """A family's LABELS, TERMS or the like for this config."""
    value = getattr(module, table)
    return value(config) if callable(value) else value


def optional(module: ModuleType, config: Any) -> set[str]:
    """The parts of the tree that a published directory may lack: the heads of the classes in ARCHITECTURES."""
    return {head for heads in declared(module, "ARCHITECTURES", config).values() for head in heads}


def trained(module: ModuleType, config: Any) -> dict[str, Any]:
    """The shapes without the heads that the loss does not need: what `create` makes."""
    spare = optional(module, config) - {*declared(module, "HEADS", config)}
    return {part: shapes for part, shapes in module.shapes(config).items() if part not in spare}


def family(name: str) -> ModuleType:
    """The family's module, also by its spelling with dashes; InputError for an unknown name."""
    spelled = name.replace("-", "_") if isinstance(name, str) else ""
    spelled = ALIASES.get(spelled, spelled)
    if spelled not in names():
        raise InputError(f"unknown family {shown(name)}{nearest(spelled, names())}; there are: {', '.join(names())}")
    return import_module(f"{__name__}.{spelled}")
