"""Mistakes of fastText: what a word is made of, and what is seen in its characters."""

from typing import Any

import numpy as np

from minibert import ops, vision
from minibert.families import fasttext
from minibert.mistakes.catalogue import batch, entry, only, swap
from minibert.mistakes.swap import Replacement, edited

FAMILY = ("fasttext",)
RELEASE = "facebookresearch/fastText, dictionary.cc"
NOTHING = fasttext.pieces.IGNORED
OF_DATA = "cases begin with rows of n-grams; the tests of the hash and of the n-grams see it"


def _one_word(b: dict, config: Any) -> dict:
    """Each word's first n-gram alone."""
    first = np.arange(b["pieces"].shape[1])[:, None] == 0
    return {"pieces": np.where(first, b["pieces"], NOTHING)}


def _last(given: dict) -> dict:
    """Images read as if the fonts of a pixel stood beside each other."""
    image = given["p"]["image"]["weight"]
    turned = image.reshape(len(image), -1, given["fonts"]).swapaxes(1, 2).reshape(image.shape)
    return {"p": {**given["p"], "image": {"weight": turned}}}


def _hashed(b: dict, config: Any) -> dict:
    """Rows of images as a hash would give them."""
    return {"pieces": np.where(b["pieces"] == NOTHING, NOTHING, b["pieces"] % config.bucket)}


entry(
    "fasttext-01", "the n-grams without the word's own row", "the word's row, too, where it is in the vocabulary",
    RELEASE, "loss", "FT-WORD-1", families=FAMILY,
    mutants=[lambda subject, at: swap("n-grams alone", "spelt", edited(
        fasttext.spelt, lambda given: {"parts": given["parts"], "unknown": int(given["ids"][0, 0])}, faithful=False),
    )(subject, at)[:1]],
)  # fmt: skip
entry(
    "fasttext-02", "an unknown word has a row", "its n-grams alone", RELEASE, "loss", "FT-WORD-2", families=FAMILY,
    mutants=[lambda subject, at: swap("the row of [UNK]", "spelt", edited(
        fasttext.spelt, lambda _: {"unknown": None}))(subject, at)[:1]],
)  # fmt: skip
entry(
    "fasttext-03", "the word alone, or one n-gram of it", "all its n-grams", "own knowledge", "loss", "FT-WORD-1",
    families=FAMILY,
    mutants=[batch("no n-grams", lambda b, _: {"pieces": np.full_like(b["pieces"], NOTHING)}),
             batch("the first n-gram alone", _one_word)],
)  # fmt: skip
entry(
    "fasttext-04", "bytes hashed without a sign", "each byte as a signed number: other rows for all but ASCII",
    RELEASE, "data", "FT-HASH-1", families=FAMILY, reason=OF_DATA,
)  # fmt: skip
entry(
    "fasttext-05", "n-grams of bytes", "of characters, over <word>",
    RELEASE, "data", "FT-GRAM-1", families=FAMILY, reason=OF_DATA,
)  # fmt: skip
entry(
    "fasttext-06", "< or > by itself is an n-gram", "it is none",
    RELEASE, "data", "FT-GRAM-1", families=FAMILY, reason=OF_DATA,
)  # fmt: skip
entry(
    "fasttext-07", "words drawn from their counts^0.75", "from counts^0.5",
    RELEASE, "data", "FT-DATA-1", families=FAMILY, reason=OF_DATA,
)  # fmt: skip
entry(
    "fasttext-08", "the mean of what a filter sees in an image", "the largest of all windows", "own knowledge",
    "loss", "FT-IMG-1", families=FAMILY,
    mutants=[only("fasttext", swap("the mean of all windows", "max_over_time",
                                   Replacement(ops.mean_over_time, ops.mean_over_time_backward)))],
)  # fmt: skip
entry(
    "fasttext-09", "the fonts of a pixel beside each other", "an image font by font, each row by row", "own knowledge",
    "loss", "FT-IMG-2", families=FAMILY,
    mutants=[swap("pixel by pixel", "image_vectors", edited(vision.image_vectors, _last, faithful=False))],
)  # fmt: skip
entry(
    "fasttext-10", "the row of an image modulo `bucket`, as of an n-gram", "images have rows behind all n-grams",
    "own knowledge", "loss", "FT-IMG-3", families=FAMILY,
    mutants=[batch("rows as hashes", _hashed)],
)  # fmt: skip
