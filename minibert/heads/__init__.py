"""One file, one head: what reads an output of a network and gives a term of its loss, and a guess.

A head knows no family; a family says in its `terms` which heads read which of its outputs (see `objective.Term`). All
offer the same:

    LABELS                  what the batch must hold for it: {name: spec} (see `signatures`)
    BASELINE                what its loss is compared with: "unigram" (tokens, by how frequent they are), "majority"
                            (classes), "given" (classes, one of which the network is given as the answer, by and large:
                            `right` counts how often), "constant" (numbers, by the best guesses that are the same
                            everywhere: `constants(labels, **constants)` is what the loss is of each, by name) or
                            "none"; COMMAND: of the command line, that shows what it predicts, if any does
    SHORT PERPLEXITY        optional: its name in a line of progress; True where e^loss is to be reported, too
    AHEAD                   optional: how many places behind a token the label stands that it is asked for
    shapes(**sizes)         the tree of its parameters; sizes are the term's
    draw(rng, dims, lengths, **sizes)       labels of an example of so many rows: dims by letter, lengths of its rows by
                            letter
    loss(h, p, labels, *, table, total, dense, **constants) -> (loss, c)        and what else it reads, by INPUTS' names
                            and as seen
                            the plain mean over the targets of what h says. table: the (V, E) matrix of logits, where
                            the term names one. total: what the sum is divided by instead, so that micro-batches add up.
                            dense: slots that nothing is asked of are computed, too, with weight 0, as in published
                            modules: the same numbers, for traces. c["loss"] is the cache of the op that gives the loss
    loss_backward(dloss, c) -> (dh, g, dtable)
    count(labels)           how many targets there are
    asked(labels)           optional: the targets, where they are not the text's own tokens alone ("unigram")
    parted(constants)       optional: whether it has several softmaxes, each over a part of the vocabulary
    right(c)                `layers.Right` of its predictions; None where none is ever right
    predict(h, p, *, table, **constants)
                            optional: logits for h as it is, where they can be told from it alone

What a model is used for (see `tasks`) has more:

    TASKS                   the tasks that it serves: {name: settings that it has unless others are given}
    Settings                what can be chosen for one, a frozen dataclass with `sizes()` and `constants()` for the
                            functions above. Fields called classes, labels, problem_type, dropout stand in published
                            configs as num_labels, id2label, problem_type, classifier_dropout. pooling, size: how what
                            stands for a row is made of its states (`pooling.POOLINGS`), "" as the family says
    labels(**sizes)         optional: the specs of the labels, where they depend on the sizes
    READS                   "states": of every token; "text": what stands for a row; "choice": for each of a row's
                            texts; "pair": for each of its two texts; "own": nothing, the family's own term is the task:
                            then there are TASKS, READS, Settings, fits(module) and NEEDS alone, what is lacked where a
                            family does not fit, and TERM, where it is not all terms of the family
    INPUTS                  optional: {input that the network takes for it: spec}, drawn by `draw`, too
    SEEN                    optional: True where it reads which tokens there are
    PUBLISHED               how a published class ends, behind the family's name and "For"
    NAMED DROPPED           of what reads states: published names of its layer and of the module that drops before it
    answers(z)              optional: what `predict` gave, by published names; else it is "logits"
    SILENT                  optional: {law: why it cannot be asked}
    TRACED                  optional: {call in its cache: which of its modules that is}, for golden cases; {"head": ""}
    ROWS                    optional: the task whose rows it learns from, where that is called otherwise
    initial(path, shape, rng)       optional: the first value of a parameter, by its path in the head's part; None: as
                            the family has it
    decode(z, p, asked)     optional: the classes that what `predict` gave comes to, where they are not the largest of
                            each by itself
    KIN                     optional: the head whose are all parts above that this file does not have, by
                            `__getattr__ = inherited(KIN)`, and whose rows become batches alike (`uses`)
"""

from collections.abc import Callable
from importlib import import_module
from typing import Any


def inherited(kin: str) -> Callable[[str], Any]:
    """A head's `__getattr__`: what its file does not say is its kin's."""

    def get(name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(import_module(f"{__name__}.{kin}"), name)

    return get
