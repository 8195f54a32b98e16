"""Mistakes of GloVe: the weighted squares, the biases, the counts."""

from collections.abc import Callable
from typing import Any

import numpy as np

from minibert import ops
from minibert.golden.subject import Subject
from minibert.mistakes.catalogue import batch, config, entry, only, swap
from minibert.mistakes.swap import Replacement, Site, edited

FAMILY = ("glove",)
RELEASE = "stanfordnlp/GloVe, glove.c"
OF_DATA = "cases begin with cells; the tests of the counts and of what is kept see it"
LOSS = r"co_occurrence\.loss"


def squares(what: str, edit: Callable[[Subject, dict[str, Any]], dict[str, Any]]) -> Callable:
    """The weighted squares on other arguments."""

    def replacement(subject: Subject, site: Site) -> Replacement:
        return edited(ops.mean_squared_error, lambda given: edit(subject, given))

    return lambda subject, at: swap(what, "mean_squared_error", replacement, LOSS)(subject, at)[:1]


def _without(what: str, path: str) -> Callable:
    forward, backward = ops.embedding.__wrapped__, ops.embedding_backward.__wrapped__
    nothing = Replacement(lambda weight, **given: forward(0 * weight, **given), lambda dy, c: backward(0 * dy, c))
    return lambda subject, at: swap(what, "embedding", nothing, rf"co_occurrence\.{path}")(subject, at)[:1]


entry(
    "glove-01", "the logarithm of 1 + X", "of X", "own knowledge", "loss", "GLV-LOSS-1", families=FAMILY,
    mutants=[squares("ln(1 + X)", lambda _, given: {"target": np.log1p(np.exp(given["target"]))})],
)  # fmt: skip
entry(
    "glove-02", "the paper's cost in the place of the release's half of it", "½ Σ, or declared",
    RELEASE, "loss", "GLV-LOSS-3", families=FAMILY, variant=True,
    mutants=[squares("without the half", lambda _, given: {"weights": 2 * given["weights"]})],
)  # fmt: skip
entry(
    "glove-03", "every cell weighs the same", "f(X) = (X/x_max)^α below x_max", "own knowledge", "loss", "GLV-LOSS-2",
    families=FAMILY, mutants=[only("glove", config("f = 1", alpha=0.0))],
)  # fmt: skip
entry(
    "glove-04", "f goes on rising behind x_max", "1 from x_max on", "own knowledge", "loss", "GLV-LOSS-2",
    families=FAMILY,
    mutants=[squares("f is not cut", lambda s, given: {"weights": given["weights"] * np.maximum(
        1, np.exp(given["target"]) / s.config.x_max) ** s.config.alpha})],
)  # fmt: skip
entry(
    "glove-05", "one bias a word, or none", "b of the word and b̃ of the context", "own knowledge", "loss",
    "GLV-LOSS-1", families=FAMILY,
    mutants=[_without("no bias of the word", "bias"), _without("no bias of the context", "context_bias")],
)  # fmt: skip
entry(
    "glove-06", "word and context exchanged", "w and b by the first of a cell, w̃ and b̃ by the second",
    "own knowledge", "loss", "GLV-LOSS-1", families=FAMILY,
    mutants=[batch("cells turned round", lambda b, _: {
        "input_ids": np.where(b["contexts"] < 0, b["input_ids"], b["contexts"]),
        "contexts": np.where(b["contexts"] < 0, b["contexts"], b["input_ids"])})],
)  # fmt: skip
entry(
    "glove-07", "windows that go on in the next line", "within a sentence",
    RELEASE, "data", "GLV-DATA-1", families=FAMILY, reason=OF_DATA,
)  # fmt: skip
entry(
    "glove-08", "every word of a window counts 1", "1/d at distance d",
    RELEASE, "data", "GLV-DATA-1", families=FAMILY, reason=OF_DATA,
)  # fmt: skip
entry(
    "glove-09", "an unknown word takes a place in a window", "it is passed over",
    RELEASE, "data", "GLV-DATA-2", families=FAMILY, reason=OF_DATA,
)  # fmt: skip
entry(
    "glove-10", "w alone is kept", "w + w̃",
    RELEASE, "data", "GLV-OUT-1", families=FAMILY, reason=OF_DATA,
)  # fmt: skip
