"""One text into another: rows of a source and of what a decoder has to write for it.

    input_ids, attention_mask               (N, T) int32, the source between <s> and </s>, padded
    labels, decoder_attention_mask          (N, T) int32, the target and its end token, -100 where nothing is asked

task "pairs": a document is a source and its translation, the first and second of its sentences; one that has more is
refused, one that lost a sentence to the held-out part left out. task "restore", which any text has: a sentence without
capitals and punctuation, and the sentence as it was.
Rows come in random order; what is longer than a row is left out.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import regex

from minibert import options
from minibert.config import require
from minibert.corruption.masking import Vocabulary
from minibert.options import option

Batch = dict[str, np.ndarray]
IGNORED = -100  # a label that is not asked for
_OTHERS = regex.compile(r"[^\p{L}\p{M}\p{N}]+")


@dataclass(frozen=True)
class Translated(options.Rows):
    """Rows of two texts."""

    task: str = option("restore", "make of each sentence, without capitals and punctuation, itself; or of the first of "
                       "two sentences of a document the second", among=("restore", "pairs"))  # fmt: skip


def plain(text: str) -> str:
    """The text in small letters, with a blank for everything that is no letter and no digit."""
    return _OTHERS.sub(" ", text.lower()).strip()


def sources(tokenizer: Any, data: Translated, texts: Sequence[Sequence[str]], documents: Sequence) -> list | None:
    """What a family's `mark` gives `rows`: the ids of every sentence's source; None for pairs."""
    if data.task == "pairs":
        return None
    return [[tokenizer.ids(plain(sentence)) for sentence in document] for document in texts]


def rows(documents: Sequence, rng: np.random.Generator, vocabulary: Vocabulary, data: Translated, marked: Any) -> Batch:
    """The rows of documents of tokenised sentences; marked: what `sources` gave. InputError for a document that is no
    pair, a vocabulary without these tokens, and where no pair fits.
    """
    vocabulary.need("cls", "sep", "end", "pad")
    if marked is None:
        odd = next((number for number, document in enumerate(documents, 1) if len(document) > 2), None)
        due = "give the source, its target in the next line, and a blank line; or take the task restore"
        require(odd is None, f"document {odd} of the text is no pair: {due}")
        pairs = [(document[0], document[1]) for document in documents if len(document) == 2]  # else one is held out
    else:
        pairs = [pair for two in zip(marked, documents, strict=True) for pair in zip(*two, strict=True)]
    (first, last, end), most = ([[i] for i in (vocabulary.cls, vocabulary.sep, vocabulary.end)]), data.seq_length
    fits = [(first + s + last, t + end) for s, t in pairs if s and t and max(len(s) + 2, len(t) + 1) <= most]
    require(bool(fits), f"none of {len(pairs):,} pairs fits into rows of {data.seq_length} tokens: raise seq_length")
    order = rng.permutation(len(fits))
    shape = len(fits), data.seq_length
    ids, labels = np.full(shape, vocabulary.pad, np.int32), np.full(shape, IGNORED, np.int32)
    for row, number in enumerate(order.tolist()):
        source, target = fits[number]
        ids[row, : len(source)], labels[row, : len(target)] = source, target
    read = np.array([len(fits[number][0]) for number in order])[:, None] > np.arange(data.seq_length)
    return {"input_ids": ids, "attention_mask": read.astype(np.int32), "labels": labels,
            "decoder_attention_mask": (labels != IGNORED).astype(np.int32)}  # fmt: skip
