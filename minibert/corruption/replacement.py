"""Replacement: what stands at chosen positions afterwards."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from minibert.corruption.masking import Vocabulary
from minibert.errors import InputError

Word = tuple[int, ...]


def replacement(
    labels: np.ndarray,
    rng: np.random.Generator,
    vocabulary: Vocabulary,
    mask: float = 0.8,
    keep: float = 0.1,
    exclude: Iterable[int] = (),
    groups: np.ndarray | None = None,
    pool: np.ndarray | None = None,
) -> np.ndarray:
    """(n,) what stands in place of the chosen tokens `labels` (n,): mask, the token itself, or a random token.

    One draw a position decides among the three, also inside a word; with groups (n,) one draw for all positions of
    the same number. A random token is uniform over the whole vocabulary, special tokens and the original included, as
    in BERT's release; `exclude` lists ids never drawn. pool: the ids to draw from instead, as often as they stand in
    it (a corpus: by frequency).
    """
    vocabulary.need("mask")
    if pool is None and exclude:
        pool = _without(vocabulary.size, exclude)
    draw = shared(rng, labels.size, groups)
    random = rng.integers(0, vocabulary.size if pool is None else len(pool), labels.size)
    random = random if pool is None else pool[random]
    return np.where(draw < mask, vocabulary.mask, np.where(draw < mask + keep, labels, random)).astype(labels.dtype)


def shared(rng: np.random.Generator, count: int, groups: np.ndarray | None) -> np.ndarray:
    """(count,) uniform numbers: one a position, or one a group."""
    if groups is None:
        return rng.random(count)
    found, member = np.unique(groups, return_inverse=True)
    return rng.random(found.size)[member]


def ordinary(vocabulary: Vocabulary) -> np.ndarray:
    """The ids that are no special token: neither cls, sep, mask, pad nor one of the specials."""
    return _without(vocabulary.size, vocabulary.special)


def _without(size: int, exclude: Iterable[int]) -> np.ndarray:
    """The ids below `size` but these."""
    return np.flatnonzero(np.isin(np.arange(size), tuple(exclude), invert=True))  # 50 times faster than setdiff1d


# ---- Similar words ---------------------------------------------------------------------------------------------------
class Thesaurus(NamedTuple):
    """Similar words as arrays: a trie of the known words, and for each of them the words of its own length.

    edges: sorted node * size + id, where node 0 is the root and edge e leads to node e + 1; start, count: for each
    node its words in `words` (W, N), padded with -1.
    """

    size: int
    edges: np.ndarray
    start: np.ndarray
    count: np.ndarray
    words: np.ndarray


def thesaurus(similar: Mapping[Word, Sequence[Word]], vocabulary: Vocabulary) -> Thesaurus:
    """From a mapping word -> similar words, each a tuple of ids; make it once, it serves every batch.

    Only words of the same number of pieces count: the targets stand position by position, and every published example
    keeps their number. (The paper doesn't say what becomes of others.) InputError: an id outside the vocabulary.
    """
    kept = {tuple(word): [tuple(s) for s in found if len(s) == len(word)] for word, found in similar.items() if word}
    for word in (*kept, *(word for found in kept.values() for word in found)):
        if min(word) < 0 or max(word) >= vocabulary.size:
            raise InputError(f"similar word {word}: ids lie outside the vocabulary of {vocabulary.size}")
    kept = {word: found for word, found in kept.items() if found}
    known, edges, n = list(kept), [], 0
    node, longer = [0] * len(known), range(len(known))  # where each word has come to
    while longer := [i for i in longer if len(known[i]) > n]:  # a level deeper: nodes rise, so the edges are sorted
        keys = [node[i] * vocabulary.size + known[i][n] for i in longer]
        number = {key: e for e, key in enumerate(sorted(set(keys)), len(edges) + 1)}
        edges += number
        for i, key in zip(longer, keys, strict=True):
            node[i] = number[key]
        n += 1
    flat, count = [], np.zeros(len(edges) + 1, np.int64)
    for i in sorted(range(len(known)), key=node.__getitem__):
        flat += kept[known[i]]
        count[node[i]] = len(kept[known[i]])
    words = np.full((len(flat), max(map(len, flat), default=1)), -1, np.int64)
    for row, word in zip(words, flat, strict=True):
        row[: len(word)] = word
    return Thesaurus(vocabulary.size, np.array(edges, np.int64), np.cumsum(count) - count, count, words)


def similar(
    labels: np.ndarray, words: np.ndarray, place: np.ndarray, known: Thesaurus, rng: np.random.Generator
) -> np.ndarray:
    """(n,) the pieces of a similar word, drawn uniformly, or -1 where the word has none.

    labels (n,): the original pieces; words (n,): the number of each piece's word; place (n,): the piece's place in it.
    The pieces of a word must stand side by side, in order.
    """
    if not labels.size or not known.edges.size:
        return np.full(labels.shape, -1)
    _, member, length = np.unique(words, return_inverse=True, return_counts=True)
    longest = known.words.shape[1]
    state = np.where(length <= longest, 0, -1)
    for n in range(min(longest, int(length.max()))):  # down the trie, all words at once
        at = place == n
        row = member[at]
        key = np.where(state[row] >= 0, state[row] * known.size + labels[at], -1)
        edge = np.searchsorted(known.edges, key)
        found = known.edges[np.minimum(edge, known.edges.size - 1)] == key
        state[row] = np.where(found, edge + 1, -1)
    count = np.where(state >= 0, known.count[state], 0)
    pick = known.start[state] + (rng.random(count.size) * count).astype(np.int64)
    has = (count > 0)[member]
    at = np.where(has, pick[member], 0)
    return np.where(has, known.words[at, np.where(has, place, 0)], -1)
