"""Mistakes of skip-thought: what a decoder reads and begins with, one output for both, what is summed."""

from collections.abc import Callable
from typing import Any

import numpy as np

from minibert import ops
from minibert.families import skip_thought
from minibert.heads import written_token
from minibert.mistakes.catalogue import batch, config, entry, only, swap
from minibert.mistakes.swap import Replacement, edited, graded, turned, zeros

Array = np.ndarray
Tree = dict[str, Any]
FAMILY = ("skip_thought",)
BEFORE, CONDITIONED = skip_thought.words_before, skip_thought.conditioned_gru


def own(what: str, name: str, replacement: Any, paths: str = ".*", **fields: Any) -> Callable:
    return only("skip_thought", swap(what, name, replacement, paths, **fields))


def _a_word_first(p: Tree, *, labels: Array) -> tuple[Array, Tree]:
    """At step 0 the word of id 0 is read."""
    x, c = BEFORE.__wrapped__(p, labels=labels)
    c["there"][:, 0] = 1
    x[:, 0] = p["weight"][0]
    return x, c


def _of_one(side: str) -> Callable:
    """The output learns nothing from this decoder."""
    less = graded(ops.linear, lambda g, dy, c: (g[0], zeros(g[1])))
    return lambda subject, site: less if site.path == f"{side}.head" else None


entry(
    "skip_thought-01", "a decoder that reads what it is to write", "the words before", "own knowledge: not shifted",
    "output", "ST-DEC-1", families=FAMILY,
    mutants=[own("from the second place on its own word", "words_before",
                 edited(BEFORE, lambda a: {"labels": np.roll(a["labels"], -1, 1)}))],
)  # fmt: skip
entry(
    "skip_thought-02", "a word at a decoder's first step", "a vector of zeros",
    "src skip-thoughts training/layers.py, model.py (tensor.zeros_like, then shifted)", "output", "ST-DEC-1",
    families=FAMILY,
    mutants=[own("the word of id 0", "words_before",
                 Replacement(_a_word_first, skip_thought.words_before_backward.__wrapped__))],
)  # fmt: skip
entry(
    "skip_thought-03", "decoders that do not know the sentence", "the vector at the beginning, or in every gate",
    "arXiv 1506.06726 eq. 5-8; src training/model.py (init_state=ctx)", "output", "ST-COND-1", families=FAMILY,
    mutants=[own("a vector of zeros", "conditioned_gru", turned(CONDITIONED, s=(np.zeros_like, np.zeros_like)))],
)  # fmt: skip
entry(
    "skip_thought-04", "the sentences beside it in each other's place", "decoder_b writes that before, decoder_f that "
    "behind", "own knowledge", "loss", "ST-DEC-2", families=FAMILY,
    mutants=[only("skip_thought", batch("exchanged", lambda b, _: {
        "previous_labels": b["next_labels"], "next_labels": b["previous_labels"]}))],
)  # fmt: skip
entry(
    "skip_thought-05", "the shared output learns from one decoder", "the sum of both gradients",
    "src training/model.py (ff_logit of both)", "gradient", "ST-LOGIT-1", families=FAMILY,
    mutants=[own(f"none of {side}", "linear", _of_one(side), section="gradients") for side in skip_thought.SIDES],
)  # fmt: skip
entry(
    "skip_thought-06", "the encoder learns from one decoder, or from none", "the sum of both gradients",
    "own knowledge: detached", "gradient", "ST-COND-1", families=FAMILY,
    mutants=[own("none of what writes", "conditioned_gru", graded(
        CONDITIONED, lambda g, dy, c: (g[0], zeros(g[1]), g[2])), section="gradients")],
)  # fmt: skip
entry(
    "skip_thought-07", "no floor under the probabilities", "-log(p + 1e-8)", "src training/model.py", "loss",
    "ST-LOSS-1", families=FAMILY, variant=True, mutants=[only("skip_thought", config("-log p", floor=0.0))],
)  # fmt: skip
entry(
    "skip_thought-08", "the loss summed", "each decoder's mean; the release sums, so that a rate depends on the batch",
    "src training/model.py (cost.sum)", "loss", "ST-LOSS-2", families=FAMILY, variant=True,
    mutants=[own("the sum over words and rows", "floored_cross_entropy", edited(
        written_token.floored_cross_entropy, lambda _: {"denominator": 1.0}))],
)  # fmt: skip
