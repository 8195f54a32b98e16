"""BART's noises: what stands in the encoder is a noised text, what the decoder has to write is the text.

Lewis et al. 2019, arXiv 1910.13461, section 2.2 (the five), section 5.1 (what the large model was trained with).
Released code: facebookresearch/fairseq `data/denoising_dataset.py`, `tasks/denoising.py`.

    masking           ceil(rate * tokens) tokens, each now a mask
    deletion          the same, each gone
    infilling         spans of words, each now ONE mask, of lengths from Poisson's law, until
                      ceil(rate * words) words are in spans; a span of no words is a mask more,
                      where nothing was hidden
    permutation       ceil(permute * sentences) sentences, in any order among themselves
    rotation          a share `rotate` of the texts begins at any of its tokens
    sentence-masking  ceil(rate * sentences) sentences, each now one mask; none of the five
    insertion         ceil(rate * tokens) masks more, where nothing was hidden; none of the five, the release's --insert

A noise is a function `noise(text, rng, vocabulary, options) -> Text` of one text without its <s> and </s>; `noised`
puts several after one another. All are pure; what is drawn comes from `rng.random` alone.

The released recipe is the default. The authors' command (fairseq issue 1899) has `--mask 0.3 --mask-random 0.1
--mask-length span-poisson --replace-length 1 --permute-sentences 1 --rotate 0 --insert 0`, all of it also here: whole
words are hidden, a tenth of the masks is a random token instead. It has `--poisson-lambda 3.5` where the paper and the
flag's default have 3, the default here. What is kept of the release, and what is not:
- the order: sentences are permuted, then spans are hidden, so that a span may go over the end of a moved sentence;
- spans begin at different words but may overlap: one that begins within another is part of it, so that fewer words
  than were drawn for may be hidden. None goes on past the end of the text;
- lengths have Poisson's law cut off where it falls under 1e-7 (`poisson`); the last span is cut to what is left;
- of n masks that it puts in the release makes ceil(n / 10) random tokens, one alone always; here each is one in
  ten times, as all others are;
- the release takes a word's start from its piece, so that the first word of a text, which has no blank before it, is
  never hidden; and a sentence's end from the piece "." of GPT-2's vocabulary (with any other, nothing is permuted,
  issue 4695). Here the first token starts a word, and sentences are those of the corpus;
- rotation: the paper's, to a token drawn uniformly. The release's offset is the whole text for two of its draws.
"""

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from minibert import options
from minibert.config import nearest, require, shown
from minibert.corruption import sequences
from minibert.corruption.masking import Vocabulary
from minibert.options import option

Array = np.ndarray
Rng = np.random.Generator
Batch = dict[str, Array]

IGNORED = -100  # a label that is not asked for
LEAST = 1e-7  # the probability at which the release cuts Poisson's law off


class Text(NamedTuple):
    """A text of n tokens, noised or not: ids (n,), and bool (n,), where words and where sentences start.

    place: (m,) for each of the m tokens that the text had before any noise, where it is now, or the mask that stands
    for it; -1: nowhere.
    """

    ids: Array
    words: Array
    sentences: Array
    place: Array


@dataclass(frozen=True)
class Denoised(options.Corrupted):
    """What `rows` and `corrupt` ask for."""

    masking: str = option("dynamic", "noise a row once, or anew each time that it is served",
                          among=("static", "dynamic"))  # fmt: skip
    rate: float = option(0.3, "hide this share of the words (tokens, sentences)")
    noise: str = option("permutation+infilling", "the noises, one after the other, with + between them")
    poisson: float = option(3.0, "hide spans of so many words, on average", least=0.1, most=30)
    random: float = option(0.1, "put a random token in place of this share of the masks", least=0, most=1)
    permute: float = option(1.0, "permute this share of the sentences", least=0, most=1)
    rotate: float = option(1.0, "rotate this share of the texts", least=0, most=1)

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in self.noises:
            known = f"noise is {shown(self.noise)}{nearest(name, NOISES)}; there are: {', '.join(NOISES)}"
            require(name in NOISES, known)

    @property
    def noises(self) -> list[str]:
        """Their names, in order."""
        return self.noise.split("+")


# ---- A family's data functions ---------------------------------------------------------------------------------------
def rows(
    documents: list, rng: Rng, vocabulary: Vocabulary, data: Denoised, marked: Any = None
) -> Batch:
    """Rows <s> x </s> of whole sentences of a document (`sequences.document_rows`), nothing noised yet.

        text            (N, T) int32   the ids, padded at the end; T: data.seq_length
        attention_mask  (N, T) int32   0 at padding
        sentences       (N, T) bool    where a sentence starts; specials and padding do
    """
    begins = [[[i == 0 for i, _ in enumerate(sentence)] for sentence in document] for document in documents]
    made = sequences.document_rows(documents, rng, vocabulary, data.seq_length, data.duplicates, begins)
    return {"text": made["input_ids"], "attention_mask": made["input_mask"], "sentences": made["starts"]}


def corrupt(rows: Batch, rng: Rng, vocabulary: Vocabulary, data: Denoised, studied: Any = None) -> Batch:
    """What a model learns from, of such rows freshly noised.

        input_ids               (N, T) int32   <s>, the noised text and </s>; what has no room is cut off
        attention_mask          (N, T) int32   0 at padding
        labels                  (N, T) int32   the whole row as it was, -100 at padding
        decoder_attention_mask  (N, T) int32   0 at padding

    What the decoder reads, the labels shifted to the right behind its start, is the family's to make.
    """
    vocabulary.need("cls", "sep", "mask", "pad")
    width = rows["text"].shape[1]
    present = rows["attention_mask"] != 0
    ids = np.full_like(rows["text"], vocabulary.pad)
    for b, length in enumerate(present.sum(1).tolist()):
        inner = slice(1, length - 1)
        made = noised(text(rows["text"][b, inner], vocabulary, rows["sentences"][b, inner]), rng, vocabulary, data)
        row = [vocabulary.cls, *made.ids[: width - 2].tolist(), vocabulary.sep]
        ids[b, : len(row)] = row
        present[b] = np.arange(width) < len(row)
    asked = rows["attention_mask"]
    labels = np.where(asked != 0, rows["text"], IGNORED).astype(np.int32)
    return {"input_ids": ids, "attention_mask": present.astype(np.int32), "labels": labels,
            "decoder_attention_mask": asked}  # fmt: skip


def text(ids: Array, vocabulary: Vocabulary, sentences: Array) -> Text:
    """The Text of ids (n,) and of where their sentences start, (n,) bool; the first token starts a word and a sentence.

    Where the vocabulary does not say what continues a word (`continues`), each token is one.
    """
    first = np.arange(len(ids)) == 0
    words = np.ones(len(ids), bool) if vocabulary.continues is None else ~vocabulary.continues[ids]
    return Text(ids, words | first, sentences | first, np.arange(len(ids)))


def noised(text: Text, rng: Rng, vocabulary: Vocabulary, data: Denoised) -> Text:
    """The text after all noises of the options, in their order."""
    for name in data.noises:
        text = NOISES[name](text, rng, vocabulary, data)
    return text


# ---- The noises ------------------------------------------------------------------------------------------------------
def masking(text: Text, rng: Rng, vocabulary: Vocabulary, data: Denoised) -> Text:
    """Tokens drawn without replacement are masked."""
    n = len(text.ids)
    chosen = _drawn(n, _count(data.rate, n), rng)
    ids = text.ids.copy()
    ids[chosen] = _masks(len(chosen), rng, vocabulary, data.random)
    return text._replace(ids=ids)


def deletion(text: Text, rng: Rng, vocabulary: Vocabulary, data: Denoised) -> Text:
    """The same, but they are gone: the decoder has to find out where."""
    n = len(text.ids)
    keep = np.ones(n, bool)
    keep[_drawn(n, _count(data.rate, n), rng)] = False
    return _kept(text, keep, np.full(n, -1))


def infilling(text: Text, rng: Rng, vocabulary: Vocabulary, data: Denoised) -> Text:
    """Spans of words become one mask each, and spans of none are put in where any token stands, or behind the last."""
    words = np.flatnonzero(text.words)
    lengths = spans(_count(data.rate, len(words)), rng, poisson(data.poisson))
    own = lengths[lengths > 0]
    begin = _drawn(len(words), len(own), rng)
    bounds = np.append(words, len(text.ids))
    hidden = list(zip(bounds[begin].tolist(), bounds[np.minimum(begin + own, len(words))].tolist(), strict=True))
    return _with_masks(_hidden(text, hidden, rng, vocabulary, data), len(lengths) - len(own), rng, vocabulary, data)


def permutation(text: Text, rng: Rng, vocabulary: Vocabulary, data: Denoised) -> Text:
    """Sentences change places among themselves; any order may come out, also the one that was."""
    starts = np.flatnonzero(text.sentences)
    order = np.arange(len(starts))
    chosen = _drawn(len(starts), _count(data.permute, len(starts)), rng)
    order[chosen] = chosen[_order(len(chosen), rng)]
    parts = np.split(np.arange(len(text.ids)), starts[1:])
    return _reordered(text, np.concatenate([parts[i] for i in order]) if len(starts) else np.arange(0))


def rotation(text: Text, rng: Rng, vocabulary: Vocabulary, data: Denoised) -> Text:
    """The text begins with a token drawn uniformly; what stood before it comes in the end."""
    n = len(text.ids)
    if rng.random() >= data.rotate:
        return text
    return _reordered(text, np.roll(np.arange(n), -int(rng.random() * n)))


def sentence_masking(text: Text, rng: Rng, vocabulary: Vocabulary, data: Denoised) -> Text:
    """Whole sentences become one mask each."""
    bounds = np.append(np.flatnonzero(text.sentences), len(text.ids))
    chosen = _drawn(len(bounds) - 1, _count(data.rate, len(bounds) - 1), rng)
    return _hidden(text, [(bounds[i], bounds[i + 1]) for i in chosen], rng, vocabulary, data)


def insertion(text: Text, rng: Rng, vocabulary: Vocabulary, data: Denoised) -> Text:
    """Masks are put in where any token stands, or behind the last."""
    return _with_masks(text, _count(data.rate, len(text.ids)), rng, vocabulary, data)


NOISES: dict[str, Callable[[Text, Rng, Vocabulary, Denoised], Text]] = {
    "masking": masking,
    "deletion": deletion,
    "infilling": infilling,
    "permutation": permutation,
    "rotation": rotation,
    "sentence-masking": sentence_masking,
    "insertion": insertion,
}


# ---- Lengths of spans ------------------------------------------------------------------------------------------------
@functools.cache
def poisson(mean: float) -> Array:
    """The probabilities of lengths 0, 1, 2, …: e^-mean mean^k / k!, cut off behind the first under 1e-7, at most 128 of
    them; they sum to 1. 18 for a mean of 3, 19 for 3.5.
    """
    law: list[float] = []
    for k in range(128):
        law.append(math.exp(k * math.log(mean) - mean - math.lgamma(k + 1)))
        if law[-1] < LEAST and k > mean:  # below its mean the law still rises
            break
    found = np.array(law) / sum(law)
    found.flags.writeable = False
    return found


def spans(count: int, rng: Rng, law: Array) -> Array:
    """Lengths drawn from the law until they sum to `count` or more, the last one cut to what was left."""
    lengths = np.zeros(0, np.int64)
    steps = np.cumsum(law[:-1])
    while lengths.sum() < count:
        lengths = np.concatenate([lengths, np.searchsorted(steps, rng.random(count), side="right")])
    total = np.cumsum(lengths)
    last = int(np.searchsorted(total, count))
    return np.append(lengths[:last], count - (total[last] - lengths[last])) if count else lengths


# ---- What they are made of -------------------------------------------------------------------------------------------
def _count(rate: float, of: int) -> int:
    """ceil(rate * of), not one more because a product such as 0.07 * 100 is a little too large."""
    return math.ceil(round(rate * of, 9))


def _order(n: int, rng: Rng) -> Array:
    """A permutation of n."""
    return np.argsort(rng.random(n))


def _drawn(n: int, count: int, rng: Rng) -> Array:
    """`count` different numbers below n, in any order."""
    return _order(n, rng)[:count]


def _masks(count: int, rng: Rng, vocabulary: Vocabulary, random: float) -> Array:
    """(count,) masks, of which a share is any token but <s>: the release's randint begins behind it, id 0."""
    drawn = (rng.random(count) * (vocabulary.size - 1)).astype(np.int64)
    drawn += drawn >= vocabulary.cls
    return np.where(rng.random(count) < random, drawn, vocabulary.mask)


def _kept(text: Text, keep: Array, otherwise: Array) -> Text:
    """The tokens of which `keep` (n,) is True; otherwise (n,): for each other the kept one that stands for it or -1."""
    now = np.where(keep, np.cumsum(keep) - 1, -1)
    now = np.where(keep | (otherwise < 0), now, now[otherwise])
    return Text(text.ids[keep], text.words[keep], text.sentences[keep], _followed(text.place, now))


def _hidden(text: Text, ranges: list[tuple[int, int]], rng: Rng, vocabulary: Vocabulary, data: Denoised) -> Text:
    """Each range of tokens, none empty, is one mask now; one that begins within another goes into it."""
    n = len(text.ids)
    within = np.zeros(n, bool)
    heads = np.zeros(n, bool)
    for begin, end in ranges:
        heads[begin] = True
        within[begin + 1 : end] = True
    heads &= ~within
    ids = text.ids.copy()
    ids[heads] = _masks(int(heads.sum()), rng, vocabulary, data.random)
    return _kept(text._replace(ids=ids), ~within, np.maximum.accumulate(np.where(heads, np.arange(n), -1)))


def _reordered(text: Text, order: Array) -> Text:
    """The tokens in this order."""
    return Text(text.ids[order], text.words[order], text.sentences[order], _followed(text.place, np.argsort(order)))


def _with_masks(text: Text, count: int, rng: Rng, vocabulary: Vocabulary, data: Denoised) -> Text:
    """So many masks put in, each set of places as likely as any other; they start words, but no sentences."""
    n = len(text.ids) + count
    put_in = np.zeros(n, bool)
    put_in[_drawn(n, count, rng)] = True
    ids, words, sentences = np.empty(n, text.ids.dtype), np.ones(n, bool), np.zeros(n, bool)
    ids[put_in] = _masks(count, rng, vocabulary, data.random)
    ids[~put_in], words[~put_in], sentences[~put_in] = text.ids, text.words, text.sentences
    return Text(ids, words, sentences, _followed(text.place, np.flatnonzero(~put_in)))


def _followed(place: Array, now: Array) -> Array:
    """Where tokens are that were at `place`, after those of each place went to `now`."""
    return np.where(place >= 0, now[place], -1) if len(now) else np.full_like(place, -1)
