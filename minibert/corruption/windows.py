"""Windows over running text, as word2vec reads it (tmikolov/word2vec, `TrainModelThread`): rows, words left out because
they are frequent, windows of random width, words drawn against those that stood there, and Huffman's tree.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from minibert.config import require
from minibert.heads.negative_sampling import IGNORED

Array = np.ndarray
Batch = dict[str, Any]


def rows(documents: Sequence[Sequence[Sequence[int]]], unread: Iterable[int], length: int, passes: int) -> Batch:
    """The text end to end in rows of `length` words, without those unread: input_ids, and sentences, the number of the
    sentence of each word, 0 behind the last. A row's end cuts a sentence in two.
    """
    sentences = [sentence for document in documents for sentence in document]
    sizes = np.fromiter((len(sentence) for sentence in sentences), np.int64, len(sentences))
    flat = np.fromiter((word for sentence in sentences for word in sentence), np.int32, int(sizes.sum()))
    number = np.repeat(np.arange(1, len(sizes) + 1, dtype=np.int32), sizes)
    there = ~np.isin(flat, [*unread])
    flat, number = (np.tile(array[there], passes) for array in (flat, number))
    require(len(flat) > 0, "no word of the vocabulary stands in the text: give more text")
    count = -(-len(flat) // length)
    pad = count * length - len(flat)
    return {name: np.pad(array, (0, pad)).reshape(count, length)
            for name, array in (("input_ids", flat), ("sentences", number))}  # fmt: skip


def kept_share(counts: Array, sample: float) -> Array:
    """min(1, sqrt(t/f) + t/f), f = count/Σ: how often a word stays; the paper has sqrt(t/f). 0 leaves out nothing."""
    f = counts / max(1, counts.sum())
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.sqrt(sample / f) + sample / f
    return np.where((f > 0) & (sample > 0), np.minimum(1, share), 1.0)


def thinned(batch: Batch, share: Array, rng: np.random.Generator) -> Batch:
    """Rows without words left out, before any window is cut: what stood behind them moves up. Of a row at least its
    first word stays.
    """
    ids, number = batch["input_ids"], batch["sentences"]
    gone = (rng.random(ids.shape) >= share[ids]) | (number == 0)
    gone[gone.all(1), 0] = False
    order = np.argsort(gone, 1, kind="stable")
    there = np.arange(ids.shape[1]) < (~gone).sum(1)[:, None]
    return {name: np.take_along_axis(array, order, 1) * there for name, array in batch.items()}


def reaches(sentences: Array, window: int, rng: np.random.Generator) -> tuple[Array, Array]:
    """(before, after) (B, T): how many words stand in each word's window, of a half width uniform in 1 … window, within
    its sentence.
    """
    place = np.arange(sentences.shape[1])
    new = np.diff(sentences, axis=1, prepend=-1) != 0
    first = np.maximum.accumulate(np.where(new, place, 0), 1)
    end = np.concatenate([new[:, 1:], np.ones_like(new[:, :1])], 1)
    last = np.minimum.accumulate(np.where(end, place, place[-1])[:, ::-1], 1)[:, ::-1]
    half = rng.integers(1, window + 1, sentences.shape) * (sentences > 0)
    return np.minimum(half, place - first), np.minimum(half, last - place)


def skip_grams(before: Array, after: Array, window: int) -> Array:
    """targets (B, 2·window, T): the words in whose window each word stands, which it is asked for; IGNORED fills up.

    The release feeds the word of the window and asks for the one in its middle, where the paper asks for the words of
    the window; over a text these are the same pairs.
    """
    place, length = np.arange(before.shape[1]), before.shape[1]
    targets = np.full((len(before), 2 * window, length), IGNORED, np.int32)
    for distance in range(1, min(window, length - 1) + 1):
        for slot, offset, reach in ((2 * distance - 2, distance, before), (2 * distance - 1, -distance, after)):
            at = place[max(0, -offset) : length - max(0, offset)]
            there = reach[:, at + offset] >= distance
            targets[:, slot, at] = np.where(there, at + offset, IGNORED)
    return targets


def middles(before: Array, after: Array) -> Array:
    """targets (B, 1, T): each word that has a window, of that window's mean (CBOW)."""
    return np.where(before + after > 0, np.arange(before.shape[1]), IGNORED)[:, None].astype(np.int32)


def within(before: Array, after: Array, there: Array | None = None) -> Array:
    """Bits (B, T, T): which words (last) stand in the window of each; there: bits (B, T), of padding 0."""
    place = np.arange(before.shape[1])
    distance = place - place[:, None]
    inside = (distance >= -before[..., None]) & (distance <= after[..., None]) & (distance != 0)
    return inside if there is None else inside & (there[:, None] != 0) & (there[..., None] != 0)


def table(counts: Array, power: float) -> Array:
    """Ends in [0, 1] of the words' shares of count^power, from which words are drawn; a count of 0 is never drawn."""
    shares = np.where(counts > 0, counts.astype(np.float64) ** power, 0)
    return np.cumsum(shares) / shares.sum()


def drawn(ends: Array, shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    """Words from a `table`."""
    return np.minimum(np.searchsorted(ends, rng.random(shape), "right"), len(ends) - 1).astype(np.int32)


def huffman(counts: Array) -> tuple[Array, Array]:
    """(nodes, codes) (V, L) of word2vec's tree: the way from the root to each word, IGNORED behind its end.

    By falling count, of equals the lower id first; two queues, of equal counts the inner node is taken first. Node n is
    the one that was made as the n-th; the second of two that are joined has code 1. Words without a count have no way.
    """
    order = np.argsort(-counts, kind="stable")[: np.count_nonzero(counts)]
    size = len(order)
    count = [*counts[order].tolist(), *[0] * (size - 1)]
    parent, code, leaf, inner = [0] * (2 * size - 1), [0] * (2 * size - 1), size - 1, size
    for node in range(size, 2 * size - 1):
        pair = []
        for _ in range(2):
            if leaf >= 0 and (inner >= node or count[leaf] < count[inner]):
                pair.append(leaf)
                leaf -= 1
            else:
                pair.append(inner)
                inner += 1
        count[node] = count[pair[0]] + count[pair[1]]
        parent[pair[0]] = parent[pair[1]] = node
        code[pair[1]] = 1
    ways = []
    for word in range(size):
        way, at = [], word
        while at != 2 * size - 2:
            way.append((parent[at] - size, code[at]))
            at = parent[at]
        ways.append(way[::-1])
    length = max(map(len, ways), default=0)
    nodes = np.full((len(counts), max(1, length)), IGNORED, np.int32)
    codes = np.zeros_like(nodes)
    for word, way in zip(order.tolist(), ways, strict=True):
        for j, (node, turn) in enumerate(way):
            nodes[word, j], codes[word, j] = node, turn
    return nodes, codes
