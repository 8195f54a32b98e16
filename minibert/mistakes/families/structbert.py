"""Mistakes of StructBERT: shuffled runs, and pairs of three classes."""

from collections.abc import Callable
from typing import Any

import numpy as np

from minibert.golden.subject import Subject
from minibert.heads import masked_lm
from minibert.mistakes.catalogue import GRADIENTS, batch, entry, swap
from minibert.mistakes.ops.losses import counted, having
from minibert.mistakes.swap import Replacement, Site, graded, zeros


def classes(what: str, order: list[int]) -> Callable:
    """Pairs whose label is order[the right one]."""
    labels = "sentence_structure_labels"
    return having(labels, batch(what, lambda b, _: {labels: np.array(order)[b[labels]]}))


def _standing(b: dict, _: Any) -> dict:
    return {"shuffled_ids": np.take_along_axis(b["input_ids"], b["shuffled_positions"], 1)}


def _one_mean(subject: Subject, site: Site) -> Replacement:
    """Either sum divided by the number of masked and shuffled targets together."""
    b = subject.batches[0]
    total = float(b["masked_lm_weights"].sum() + b["shuffled_weights"].sum())
    return counted(lambda *_: {"denominator": total})


entry(
    "structbert-01", "shuffled tokens labelled by what stands there", "the token that stood there before",
    "own knowledge", "loss", "SB-WORD-2", families=("structbert",),
    mutants=[batch("labels are the shuffled tokens themselves", _standing)],
)  # fmt: skip
entry(
    "structbert-02", "one mean over masked and shuffled tokens", "a mean for each, of weight 1: else 3 : 1",
    "own knowledge", "loss", "SB-LOSS-1", families=("structbert",),
    mutants=[having("shuffled_weights", lambda subject, at: swap(
        "one common mean", "cross_entropy", _one_mean, r"(masked_lm|shuffled_words)\.loss")(subject, at)[:1])],
)  # fmt: skip
entry(
    "structbert-03", "classes of pairs numbered otherwise", "0 = elsewhere, 1 = next, 2 = previous, or declared",
    "own knowledge: descriptions differ", "loss", "SB-SENT-1", families=("structbert",), variant=True,
    mutants=[
        classes("0 = next, 1 = previous, 2 = elsewhere", [2, 0, 1]),
        classes("next and previous change places", [0, 2, 1]),
        classes("0 = next, 1 = elsewhere, 2 = previous", [1, 0, 2]),
    ],
)  # fmt: skip
entry(
    "structbert-04", "the previous segment taken for a swapped, or a wrong, pair", "a class of its own",
    "own knowledge", "loss", "SB-DATA-3", families=("structbert",),
    mutants=[
        classes("previous counts as elsewhere", [0, 1, 0]),
        classes("previous counts as next", [0, 1, 1]),
    ],
)  # fmt: skip
entry(
    "structbert-05", "the head learns from masked tokens alone", "from masked and shuffled ones, the sum",
    "own knowledge", "gradient", "SB-WORD-1", families=("structbert",),
    mutants=[having("shuffled_weights", swap(
        "no gradient from shuffled tokens", "mlm_head",
        graded(masked_lm.mlm_head, lambda g, dy, c: (g[0], zeros(g[1]), 0 * g[2])),
        r"shuffled_words\.head", section=GRADIENTS))],
)  # fmt: skip
entry(
    "structbert-06", "masked tokens shuffled, or runs across a separator", "tokens neither masked nor special",
    "own knowledge", "data", "SB-DATA-1", families=("structbert",),
    reason="no case has unmasked rows; the tests of the rule see it: the two sets are disjoint",
)  # fmt: skip
