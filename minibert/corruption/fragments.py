"""MASS: the encoder reads a text without a fragment, the decoder writes the fragment, at its own places.

Song et al. 2019, arXiv 1905.02450, section 3. Released code: microsoft/MASS, three programs that differ:

    release         fragment of n tokens                 where it begins                       the decoder attends to
    unsupervised    round(n * share)                     20 % first, 20 % last, 60 % anywhere  what is no mask
    summarization   int(n * share) of each 64 tokens     anywhere in them                      all tokens
    supervised      round(n * share), at least one       20 % first, 20 % last, 60 % anywhere  all tokens

A text is a row <s> x </s>; <s> is never hidden, </s> may be. Of the fragment 80 % of the tokens are masks for the
encoder, 10 % random tokens, 10 % stay. The decoder reads the token before each of them, at the place where that stands
(u - 1, …, v - 1 for the fragment u, …, v), and nothing else; of what it reads `supervised` makes 10 % masks, 10 %
random tokens.

Halves are rounded to the even, as there. What is not kept of the releases:
- unsupervised takes n from the longest row of a batch, and how much is left of all rows from the first one: here each
  row counts for itself;
- supervised shifts what the encoder reads by one, and hides one token more: the first token of the fragment stays to be
  seen, the two behind it do not. Here the encoder's fragment is the decoder's. It never begins "anywhere" at its last
  place, and fails where there is one place alone;
- summarization fails where one token of 64 is to be hidden; its share is 0.15 unless given, in all others 0.5 is the
  paper's.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from minibert import options
from minibert.config import require
from minibert.corruption import replacement, sequences
from minibert.corruption.masking import Vocabulary
from minibert.options import option

Array = np.ndarray
Rng = np.random.Generator
Batch = dict[str, Array]

IGNORED = -100  # a label that is not asked for
BLOCK = 64
RELEASES = ("unsupervised", "summarization", "supervised")
FIRST, LAST = 0.2, 0.2  # how often a fragment begins at the first place, and at the last


@dataclass(frozen=True)
class Fragments(options.Rows):
    """What `rows` and `corrupt` ask for."""

    masking: str = option("dynamic", "hide a fragment once, or anew each time that a row is served",
                          among=("static", "dynamic"))  # fmt: skip
    fragment: float = option(0.5, "hide this share of a text", least=0, most=1)
    release: str = option("unsupervised", "the rules of this program", among=RELEASES)


# ---- The fragment ----------------------------------------------------------------------------------------------------
def size(length: int, data: Fragments) -> int:
    """How many of so many tokens are hidden; the first of them never is."""
    count = int(length * data.fragment) if data.release == "summarization" else round(length * data.fragment)
    return min(max(count, 1), length - 1)


def begin(first: int, last: int, rng: Rng, data: Fragments) -> int:
    """Where a fragment begins, from the first place to the last."""
    u = 0.0 if data.release == "summarization" else rng.random()
    if u >= 1 - FIRST:
        return first
    return last if u >= 1 - FIRST - LAST else int(rng.integers(first, last, endpoint=True))


def fragment(length: int, rng: Rng, data: Fragments) -> Array:
    """The places of the hidden tokens, sorted, of a row of so many; 0 is never among them."""
    if data.release != "summarization":
        count = size(length, data)
        start = begin(1, length - count, rng, data)
        return np.arange(start, start + count)
    found = []
    for first in range(1, length, BLOCK):
        within = min(BLOCK, length - first)
        count = min(max(int(within * data.fragment), 1), within)
        start = begin(first, first + within - count, rng, data)
        found.append(np.arange(start, start + count))
    return np.concatenate(found)


# ---- A family's data functions ---------------------------------------------------------------------------------------
def rows(documents: list, rng: Rng, vocabulary: Vocabulary, data: Fragments, marked: Any = None) -> Batch:
    """Rows <s> x </s> of whole sentences of a document (`sequences.document_rows`), nothing hidden yet: text and
    attention_mask (N, T) int32.
    """
    made = sequences.document_rows(documents, rng, vocabulary, data.seq_length, data.duplicates)
    return {"text": made["input_ids"], "attention_mask": made["input_mask"]}


def corrupt(rows: Batch, rng: Rng, vocabulary: Vocabulary, data: Fragments, studied: Any = None) -> Batch:
    """What a model learns from, of such rows, a fragment of each freshly hidden.

        input_ids, attention_mask (N, T)            what the encoder reads, 0 at padding
        encoder_attention_mask (N, T)               what of it the decoder attends to
        decoder_input_ids, decoder_position_ids, decoder_attention_mask (N, T)
                                                    the tokens before those of the fragment, and where they stand
        labels (N, T)                               the fragment, -100 at padding

    All int32. InputError for a vocabulary without these tokens.
    """
    vocabulary.need("mask", "pad")
    text, present = rows["text"], rows["attention_mask"]
    require(bool((present.sum(1) > 1).all()), "a row of one token has no fragment to hide")
    read, asked = text.copy(), np.zeros_like(text)
    written = {name: np.zeros_like(text) for name in ("decoder_input_ids", "decoder_position_ids")}
    labels = np.full_like(text, IGNORED)
    for b, length in enumerate(present.sum(1).tolist()):
        at = fragment(length, rng, data)
        read[b, at] = replacement.replacement(text[b, at], rng, vocabulary)
        before = text[b, at - 1]
        if data.release == "supervised":
            before = replacement.replacement(before, rng, vocabulary, mask=0.1, keep=0.8)
        for name, values in {"decoder_input_ids": before, "decoder_position_ids": at - 1}.items():
            written[name][b, : len(at)] = values
        labels[b, : len(at)], asked[b, : len(at)] = text[b, at], 1
    written["decoder_input_ids"] = np.where(asked != 0, written["decoder_input_ids"], vocabulary.pad).astype(np.int32)
    hidden = (read == vocabulary.mask) & (data.release == "unsupervised")
    return {"input_ids": read, "attention_mask": present, **written, "labels": labels, "decoder_attention_mask": asked,
            "encoder_attention_mask": (present * ~hidden).astype(np.int32)}  # fmt: skip
