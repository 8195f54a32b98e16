"""How often words stand near each other, as GloVe counts them (stanfordnlp/GloVe, `cooccur.c`), in a sparse stream."""

from collections.abc import Iterator, Sequence
from itertools import islice

import numpy as np

Array = np.ndarray
Cells = tuple[Array, Array]  # (keys, counts): of word i with context j at i·V + j, rising

BLOCK = 1 << 18  # words whose pairs are held at a time


def counted(documents: Sequence[Sequence[Sequence[int]]], unread: set[int], words: int, window: int) -> Cells:
    """The cells of a text: each word with those at distance d ≤ window in its sentence counts 1/d, both ways. Words
    unread are passed over, and take no place in a window.
    """
    keys, counts = np.empty(0, np.int64), np.empty(0)
    for flat, number in _blocks(documents, unread):
        found, weights = [keys], [counts]
        for distance in range(1, min(window, len(flat) - 1) + 1):
            there = number[distance:] == number[:-distance]
            left, right = flat[:-distance][there], flat[distance:][there]
            found += [right * words + left, left * words + right]
            weights += [np.full(2 * len(left), 1 / distance)]
        keys, place = np.unique(np.concatenate(found), return_inverse=True)
        counts = np.bincount(place, np.concatenate(weights), len(keys))
    return keys, counts


def _blocks(documents: Sequence[Sequence[Sequence[int]]], unread: set[int]) -> Iterator[tuple[Array, Array]]:
    """(words, the number of each one's sentence) of some whole sentences at a time."""
    sentences = (sentence for document in documents for sentence in document)
    while some := list(islice(sentences, BLOCK // 16)):
        sizes = [len(sentence) for sentence in some]
        flat = np.fromiter((word for sentence in some for word in sentence), np.int64, sum(sizes))
        number = np.repeat(np.arange(len(sizes)), sizes)
        there = ~np.isin(flat, [*unread])
        yield flat[there], number[there]


def shares(keys: Array, counts: Array, total: Cells | None) -> Cells:
    """(each cell's count in the whole text, these counts' share of it); total: None where this is the whole."""
    if total is None:
        return counts, np.ones_like(counts)
    whole = total[1][np.searchsorted(total[0], keys)]
    return whole, counts / whole


def apart(keys: Array, share: float) -> Array:
    """Bits: which cells are held out, by a hash of each, so that every part of a text has the same."""
    mixed = (keys.astype(np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ mixed >> np.uint64(31)) * np.uint64(0xBF58476D1CE4E5B9)
    return (mixed >> np.uint64(11)).astype(np.float64) / 2**53 < share
