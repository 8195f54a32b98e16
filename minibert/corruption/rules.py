"""The published rules of corruption by name: what is chosen, and what stands there afterwards.

    rule(ids, present, rng, vocabulary, *, rate=0.15, cap=…, starts=None, units=None, …) -> Corruption

    ids (B, T) int, present (B, T): 0 at padding. rate: the share to predict. cap: most positions a row (the target
    slots), None for no such limit. starts (B, T): where words start, a segmentation handed in; else they follow from
    vocabulary.continues. units (B, T): units handed in (entities), numbered from 0 in each row, -1 for none.

All rules take these, so that they can be called alike; one that has no use for words or entities leaves them aside.
Every rule is a few lines of units x budget x selection x replacement, and so is a new one: add it to RULES.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from minibert.corruption import masking
from minibert.corruption import replacement as replacements
from minibert.corruption import selection as selections
from minibert.corruption import units as unit
from minibert.corruption.masking import Vocabulary

Array = np.ndarray
Rng = np.random.Generator

ALBERT_LENGTHS = (1 / 1, 1 / 2, 1 / 3)  # p(n) proportional to 1/n; reversed it favours the longer
MACBERT_LENGTHS = (0.4, 0.3, 0.2, 0.1)
SPAN_LENGTHS = tuple(0.2 * 0.8**n for n in range(10))  # geometric, p = 0.2, cut off at 10 words: mean 3.797


class Corruption(NamedTuple):
    """What a rule makes: ids (B, T) corrupted; chosen (B, T) bool; groups (B, T) int32, -1 where not chosen.

    groups: the number of the chosen run (word, n-gram, span) within its row. positions (B, M) int32 and weights
    (B, M) float32: the draws of a rule that draws slots, duplicates included; else None.
    """

    ids: Array
    chosen: Array
    groups: Array
    positions: Array | None = None
    weights: Array | None = None


def _corruption(
    ids: Array, groups: Array, rng: Rng, vocabulary: Vocabulary, shared: bool = False, **given: object
) -> Corruption:
    """The chosen positions replaced: with one draw a position, or one shared by a group."""
    chosen = groups >= 0
    own = None
    if shared:
        own = (np.arange(len(ids))[:, None] * ids.shape[1] + groups)[chosen]
    corrupted = ids.copy()
    corrupted[chosen] = replacements.replacement(ids[chosen], rng, vocabulary, groups=own, **given)
    return Corruption(corrupted, chosen, groups)


def _cap(cap: int | None, ids: Array) -> int:
    return ids.shape[1] if cap is None else cap


# ---- BERT and its words ----------------------------------------------------------------------------------------------
def bert(
    ids: Array,
    present: Array,
    rng: Rng,
    vocabulary: Vocabulary,
    *,
    rate: float = 0.15,
    cap: int | None = 20,
    starts: Array | None = None,
    units: Array | None = None,
    exclude: Iterable[int] = (),
) -> Corruption:
    """BERT's rule (Devlin et al., arXiv 1810.04805, section 3.1; the release's create_pretraining_data.py).

    Pieces one by one, exactly min(cap, max(1, round(rate * length))) of them, the length with [CLS] and [SEP], which
    are never chosen; [UNK] may be. 80/10/10 by piece; a random token is any of the vocabulary, special ones included,
    as in the release, but those of `exclude`.
    """
    candidates = masking.candidates(ids, present, vocabulary)
    return _pieces(ids, present, rng, vocabulary, unit.units(candidates, candidates), rate, cap, exclude)


def whole_word(
    ids: Array,
    present: Array,
    rng: Rng,
    vocabulary: Vocabulary,
    *,
    rate: float = 0.15,
    cap: int | None = 20,
    starts: Array | None = None,
    units: Array | None = None,
    exclude: Iterable[int] = (),
) -> Corruption:
    """Whole words (BERT's release of May 2019; BERT-wwm, Cui et al., arXiv 1906.08101): BERT's rule with its units.

    The budget counts pieces; a word that exceeds what is left is passed over. Chosen is the word, but the 80/10/10
    falls by piece, as in the release: one character of a word may be kept beside a masked one. A "##" piece behind
    [SEP] belongs to the word before it, as in the release.
    """
    words = _words(ids, present, vocabulary, starts)
    return _pieces(ids, present, rng, vocabulary, words, rate, cap, exclude)


def entity(
    ids: Array,
    present: Array,
    rng: Rng,
    vocabulary: Vocabulary,
    *,
    rate: float = 0.15,
    cap: int | None = 20,
    starts: Array | None = None,
    units: Array | None = None,
    exclude: Iterable[int] = (),
) -> Corruption:
    """Entities handed in as `units` are chosen whole, as words are; what lies in none falls by word, or by piece.

    By word where words are known (starts, or vocabulary.continues). This is the entity step of ERNIE (Sun et al.,
    arXiv 1904.09223) with BERT's budget and 80/10/10; ERNIE's own data code was not released.
    """
    candidates = masking.candidates(ids, present, vocabulary)
    known = starts is not None or vocabulary.continues is not None
    below = unit.units(candidates, unit.word_starts(ids, vocabulary, starts) if known else candidates)
    named = below if units is None else unit.entities(below, units)
    return _pieces(ids, present, rng, vocabulary, named, rate, cap, exclude)


def _pieces(
    ids: Array,
    present: Array,
    rng: Rng,
    vocabulary: Vocabulary,
    units: Array,
    rate: float,
    cap: int | None,
    exclude: Iterable[int],
) -> Corruption:
    budget = masking.budget(np.asarray(present, bool).sum(axis=-1), rate, _cap(cap, ids))
    groups = selections.selection(units, budget, rng)
    return _corruption(ids, groups, rng, vocabulary, exclude=exclude)


def _words(ids: Array, present: Array, vocabulary: Vocabulary, starts: Array | None) -> Array:
    candidates = masking.candidates(ids, present, vocabulary)
    return unit.units(candidates, unit.word_starts(ids, vocabulary, starts))


# ---- n-grams ---------------------------------------------------------------------------------------------------------
def ngram(
    ids: Array,
    present: Array,
    rng: Rng,
    vocabulary: Vocabulary,
    *,
    rate: float = 0.15,
    cap: int | None = 20,
    starts: Array | None = None,
    units: Array | None = None,
    lengths: Sequence[float] = ALBERT_LENGTHS,
) -> Corruption:
    """ALBERT's n-grams (Lan et al., arXiv 1909.11942, section 4.1; the release's create_pretraining_data.py).

    Runs of 1 to 3 words, p(n) proportional to 1/n (lengths[::-1]: the release's favor_shorter_ngram = False), from
    word starts in random order: shortened while they exceed what is left of BERT's budget of pieces, passed over where
    they would overlap. 80/10/10 by piece, random tokens of the whole vocabulary. Kept of the release: consecutive
    means consecutive candidates, so a run may straddle the [SEP] between A and B; runs at the row's end are cut, not
    drawn again. Left out: its optional permutation of further positions.
    """
    words = _words(ids, present, vocabulary, starts)
    budget = masking.budget(np.asarray(present, bool).sum(axis=-1), rate, _cap(cap, ids))
    return _corruption(ids, selections.selection(words, budget, rng, lengths), rng, vocabulary)


def macbert(
    ids: Array,
    present: Array,
    rng: Rng,
    vocabulary: Vocabulary,
    *,
    rate: float = 0.15,
    cap: int | None = 20,
    starts: Array | None = None,
    units: Array | None = None,
    lengths: Sequence[float] = MACBERT_LENGTHS,
    similar: Mapping | replacements.Thesaurus | None = None,
    replace: float = 0.8,
    keep: float = 0.1,
) -> Corruption:
    """MacBERT's correction (Cui et al., arXiv 2004.13922, section 3): n-grams give way to similar words, never [MASK].

    Runs of 1 to 4 words, 40/30/20/10 %, until max(1, round(rate * words)) words are chosen: 15 % of the words, where
    BERT counts pieces; never more than `cap` pieces. One draw a run: 80 % similar words, looked up word by word; 10 %
    random; 10 % unchanged, targets all the same. similar: a mapping from a word (tuple of ids) to similar ones, or
    better the `replacement.thesaurus` made of it once; only words of as many pieces count. A word without any becomes
    random (as the README says; an author speaks of skipping it elsewhere). A random word is one random ordinary token
    for each piece. No training code was released: selection of runs is ALBERT's, one draw a run our reading.
    """
    words = _words(ids, present, vocabulary, starts)
    total = words.max(axis=-1, initial=-1) + 1
    room = np.full(len(ids), _cap(cap, ids))
    count = masking.budget(total, rate, ids.shape[1])
    groups = selections.selection(words, room, rng, lengths, count)
    chosen = groups >= 0
    offset = np.arange(len(ids))[:, None] * ids.shape[1]
    labels = ids[chosen]
    pool = replacements.ordinary(vocabulary)
    random = pool[rng.integers(0, len(pool), labels.size)]
    if not isinstance(similar, replacements.Thesaurus):
        similar = replacements.thesaurus(similar or {}, vocabulary)
    new = replacements.similar(labels, (offset + words)[chosen], unit.places(words)[chosen], similar, rng)
    draw = replacements.shared(rng, labels.size, (offset + groups)[chosen])
    new = np.where((draw < replace) & (new >= 0), new, random)
    corrupted = ids.copy()
    corrupted[chosen] = np.where((draw >= replace) & (draw < replace + keep), labels, new)
    return Corruption(corrupted, chosen, groups)


# ---- Spans -----------------------------------------------------------------------------------------------------------
def span(
    ids: Array,
    present: Array,
    rng: Rng,
    vocabulary: Vocabulary,
    *,
    rate: float = 0.15,
    cap: int | None = None,
    starts: Array | None = None,
    units: Array | None = None,
    lengths: Sequence[float] = SPAN_LENGTHS,
    pool: Array | None = None,
) -> Corruption:
    """SpanBERT's spans (Joshi et al., arXiv 1907.10529, section 3.1; the release's data/masking.py).

    Exactly ceil(rate * length) positions, the length without special tokens, in spans of 1 to 10 words, geometric with
    p = 0.2 (the paper's; the flag's default is 0.3): see `selection.spans`. One 80/10/10 draw a merged span: all
    masked, all random, or all kept (the paper's and the README command's; the flag's default is by piece). pool: the
    tokens of a corpus, from which random ones are drawn by frequency, as in the release; without it any ordinary
    token. A span never goes over a special token; the release's rows have one segment, so the question is ours.
    """
    candidates = masking.candidates(ids, present, vocabulary)
    begins = unit.word_starts(ids, vocabulary, starts)
    budget = np.minimum(np.ceil(rate * candidates.sum(axis=-1)).astype(np.int64), _cap(cap, ids))
    groups = selections.spans(candidates, begins, budget, rng, lengths)
    pool = replacements.ordinary(vocabulary) if pool is None else pool
    return _corruption(ids, groups, rng, vocabulary, shared=True, pool=pool)


# ---- RoBERTa and ELECTRA ---------------------------------------------------------------------------------------------
def roberta(
    ids: Array,
    present: Array,
    rng: Rng,
    vocabulary: Vocabulary,
    *,
    rate: float = 0.15,
    cap: int | None = None,
    starts: Array | None = None,
    units: Array | None = None,
) -> Corruption:
    """RoBERTa's rule (Liu et al., arXiv 1907.11692, section 4.1; fairseq's data/mask_tokens_dataset.py).

    floor(rate * length + U) positions, U uniform in [0, 1): possibly none. They are drawn without replacement from all
    tokens, <s> and </s> included, as in the release. 80/10/10; a random token is any but the special ones, of which
    the mask itself remains possible, as in the release. Draw afresh for every epoch: the masking is dynamic.
    """
    present = np.asarray(present, bool)
    count = np.floor(rate * present.sum(axis=-1) + rng.random(len(ids))).astype(np.int64)
    count = np.minimum(count, _cap(cap, ids))
    groups = selections.selection(unit.units(present, present), count, rng)
    return _corruption(ids, groups, rng, vocabulary, exclude=vocabulary.special - {vocabulary.mask})


def electra(
    ids: Array,
    present: Array,
    rng: Rng,
    vocabulary: Vocabulary,
    *,
    rate: float = 0.15,
    cap: int | None = None,
    starts: Array | None = None,
    units: Array | None = None,
    mask: float = 0.85,
    distinct: bool = False,
) -> Corruption:
    """ELECTRA's masking (Clark et al., arXiv 2003.10555; the release's pretrain/pretrain_helpers.py).

    max(1, min(M, round(rate * length))) slots of M = floor((rate + 0.005) * T), or cap, at least 1 (the release allows
    0); halves of the length, special tokens included, go to the even neighbour. A slot's position is uniform over the
    candidates, which exclude [MASK] and padding ids too, with replacement: about 7 % of the positions come twice, and
    both copies enter the loss. 85 % of the slots are masked, the others keep their token (the paper masks them all); a
    position is masked if one of its slots says so. distinct: draw without replacement.
    """
    vocabulary.need("mask", "pad")
    slots = max(1, int((rate + 0.005) * ids.shape[1])) if cap is None else cap
    candidates = masking.candidates(ids, present, vocabulary) & ~np.isin(ids, (vocabulary.mask, vocabulary.pad))
    count = masking.budget(np.asarray(present, bool).sum(axis=-1), rate, slots)
    draw = selections.without_replacement if distinct else selections.with_replacement
    positions, weights = draw(candidates, count, slots, rng)
    hidden = (rng.random(positions.shape) < mask) & (weights > 0)
    row, slot = np.nonzero(weights)
    chosen = np.zeros(ids.shape, bool)
    chosen[row, positions[row, slot]] = True
    row, slot = np.nonzero(hidden)
    corrupted = ids.copy()
    corrupted[row, positions[row, slot]] = vocabulary.mask
    groups = np.where(chosen, np.cumsum(chosen, axis=-1) - 1, -1).astype(np.int32)
    return Corruption(corrupted, chosen, groups, positions, weights)


def xlm(
    ids: Array,
    present: Array,
    rng: Rng,
    vocabulary: Vocabulary,
    *,
    rate: float = 0.15,
    cap: int | None = None,
    starts: Array | None = None,
    units: Array | None = None,
) -> Corruption:
    """XLM's rule (Conneau and Lample, arXiv 1901.07291, section 3.2; the release's `mask_out`).

    Each token by itself with the probability `rate`, so that a row may have none; never the first of a row nor
    padding, but </s> within it as any other. 80/10/10, a random token any of the vocabulary, special ones included. Of
    more than `cap` the foremost stay. Left out: fp16's cut to a multiple of 8, and the release's `sample_alpha`, by
    which rare words are drawn more often (0 by default; the paper speaks of it).
    """
    vocabulary.need("mask", "pad")
    candidates = np.asarray(present, bool) & (ids != vocabulary.pad)
    candidates[:, 0] = False
    chosen = candidates & (rng.random(ids.shape) < rate)
    chosen &= np.cumsum(chosen, axis=-1) <= _cap(cap, ids)
    return _corruption(ids, np.where(chosen, np.cumsum(chosen, axis=-1) - 1, -1).astype(np.int32), rng, vocabulary)


RULES: dict[str, Callable[..., Corruption]] = {
    "bert": bert,
    "whole-word": whole_word,
    "entity": entity,
    "ngram": ngram,
    "macbert": macbert,
    "span": span,
    "roberta": roberta,
    "electra": electra,
    "xlm": xlm,
}
