"""Mistakes of word2vec: windows, words drawn against those that stood there, ways through a tree."""

from collections.abc import Callable
from typing import Any

import numpy as np

from minibert import ops
from minibert.families import word2vec
from minibert.golden.subject import Subject
from minibert.heads.negative_sampling import IGNORED
from minibert.mistakes.catalogue import GRADIENTS, Mutant, batch, config, entry, swap
from minibert.mistakes.ops.losses import having
from minibert.mistakes.swap import Replacement, Site, edited

Array = np.ndarray
FAMILY = ("word2vec",)
RELEASE = "tmikolov/word2vec, word2vec.c"
OF_DATA = "cases begin with windows; the tests of the text's rules see it"


def judged(what: str, edit: Callable[[Subject, dict[str, Any], int], dict[str, Any]]) -> Callable:
    """The decisions about drawn words on other arguments; the third: how many columns are of the row's own words."""

    def replacement(subject: Subject, site: Site) -> Replacement:
        return edited(ops.binary_cross_entropy, lambda given: edit(subject, given, given["logits"].shape[1]))

    return having("negatives", lambda subject, at: swap(
        what, "binary_cross_entropy", replacement, r"negative_sampling\.loss")(subject, at)[:1])  # fmt: skip


def _scaled(share: Callable[[Subject], float]) -> Callable:
    """The weights of the drawn words times a share."""

    def edit(subject: Subject, given: dict[str, Any], own: int) -> dict[str, Any]:
        columns = np.where(np.arange(given["weights"].shape[2]) < own, 1, share(subject))
        return {"weights": given["weights"] * columns}

    return edit


def _collided(subject: Subject, given: dict[str, Any], own: int) -> dict[str, Any]:
    pairs, drawn = given["weights"][..., :own], given["weights"].shape[2] - own
    every = np.repeat(pairs.sum(2, keepdims=True) * (subject.config.negative / drawn), drawn, 2)
    return {"weights": np.concatenate([pairs, every], 2)}


def _together(given: dict[str, Any]) -> dict[str, Array]:
    inside = np.asarray(given["inside"], bool)
    return {"inside": inside | (np.eye(inside.shape[1], dtype=bool) & inside.any(-1, keepdims=True))}


def _averaged(subject: Subject, at: list[Site]) -> list[Mutant]:
    """Of a mean alone the two gradients differ."""
    maker = config("the window's gradient undivided", section=GRADIENTS, undivided=lambda c: not c.undivided)
    return maker(subject, at) if subject.config.cbow_mean and not subject.config.sg else []


def _tied(subject: Subject, site: Site) -> Replacement:
    return edited(ops.embedding, lambda _: {"weight": subject.params["embeddings"]["word"]["weight"]}, faithful=False)


def ways(what: str, edit: Callable[[dict], dict]) -> Callable:
    return having("nodes", batch(what, lambda b, _: edit(b)))


entry(
    "word2vec-01", "the window's sum in the place of its mean, or the other way round", "the mean, or as declared",
    RELEASE, "loss", "W2V-CBOW-1", families=FAMILY, variant=True,
    mutants=[lambda subject, at: [] if subject.config.sg else config(
        "sum for mean, mean for sum", cbow_mean=lambda c: not c.cbow_mean)(subject, at)],
)  # fmt: skip
entry(
    "word2vec-02", "each word of a window gets the whole gradient of the mean", "1/|W| of it, or declared: the release",
    f"{RELEASE}; arXiv 2012.15332", "gradient", "W2V-CBOW-2", families=FAMILY, variant=True, mutants=[_averaged],
)  # fmt: skip
entry(
    "word2vec-03", "the word itself stands in its window", "the words around it",
    "own knowledge", "loss", "W2V-CBOW-1", families=FAMILY,
    mutants=[lambda subject, at: swap("the middle among its window", "window_mean",
                                      edited(word2vec.window_mean, _together))(subject, at)[:1]],
)  # fmt: skip
entry(
    "word2vec-04", "a drawn word that is the pair's own counts against it", "it is left out",
    "own knowledge", "loss", "W2V-NS-3", families=FAMILY, mutants=[judged("collisions count", _collided)],
)  # fmt: skip
entry(
    "word2vec-05", "the drawn words' mean, or as many as were drawn", "k words in the mean a pair, whatever was drawn",
    "own knowledge", "loss", "W2V-NS-2", families=FAMILY,
    mutants=[judged("divided by k", _scaled(lambda s: 1 / s.config.negative))],
)  # fmt: skip
entry(
    "word2vec-06", "drawn words taken for words that stood there", "log σ(-z) of a drawn word",
    "own knowledge", "loss", "W2V-NS-1", families=FAMILY,
    mutants=[judged("every word stood there", lambda _, given, __: {"labels": np.ones_like(given["labels"])})],
)  # fmt: skip
entry(
    "word2vec-07", "one table for inputs and outputs", "a table of outputs of its own",
    "own knowledge", "loss", "W2V-NS-1", families=FAMILY,
    mutants=[having("negatives", swap("outputs read from the vectors", "embedding", _tied,
                                      r"negative_sampling\.(stood|drawn)\.word"))],
)  # fmt: skip
entry(
    "word2vec-08", "turns counted the other way", "code 0: σ(z); fastText has it the other way round",
    "facebookresearch/fastText, loss.cc", "loss", "W2V-HS-1", families=FAMILY, variant=True,
    mutants=[ways("code 1 is σ(z)", lambda b: {"codes": 1 - b["codes"]})],
)  # fmt: skip
entry(
    "word2vec-09", "the way begins behind the root, or goes on behind its end", "root to word, and nothing else",
    "own knowledge", "loss", "W2V-HS-2", families=FAMILY,
    mutants=[
        ways("without the root", lambda b: {"nodes": np.where(
            np.arange(b["nodes"].shape[1])[:, None] == 0, IGNORED, b["nodes"])}),
        ways("node 0 where there is none", lambda b: {"nodes": np.maximum(b["nodes"], 0)}),
    ],
)  # fmt: skip
entry(
    "word2vec-10", "the loss divided by decisions, not by pairs", "the mean over the pairs; a step sums them",
    "own knowledge", "loss", "W2V-NS-2", families=FAMILY,
    mutants=[judged("the mean over 1 + k", lambda s, given, _: {
        "denominator": given["denominator"] * (1 + s.config.negative)})],
)  # fmt: skip
entry(
    "word2vec-11", "words kept with the paper's probability sqrt(t/f)", "sqrt(t/f) + t/f, as the release has it",
    RELEASE, "data", "W2V-DATA-2", families=FAMILY, reason=OF_DATA,
)  # fmt: skip
entry(
    "word2vec-12", "windows cut before frequent words are left out", "after: what is left moves up",
    RELEASE, "data", "W2V-DATA-3", families=FAMILY, reason=OF_DATA,
)  # fmt: skip
entry(
    "word2vec-13", "windows of one width", "a half width drawn from 1 … window",
    RELEASE, "data", "W2V-DATA-4", families=FAMILY, reason=OF_DATA,
)  # fmt: skip
entry(
    "word2vec-14", "words drawn from their counts", "from counts^0.75",
    RELEASE, "data", "W2V-DATA-5", families=FAMILY, reason=OF_DATA,
)  # fmt: skip
