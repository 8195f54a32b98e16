"""Pairs of segments: for next-sentence prediction (BERT), sentence order (ALBERT), both (StructBERT), and of single
sentences (RoBERTa).

Text is flat, so that a pair is five numbers and the tokens are never copied: `sentences` are the offsets of the
S sentences in the stream of tokens (S + 1 of them, none empty), `documents` the offsets of the documents in the
list of sentences. Every function returns (N, 5) int64: start and stop of A, start and stop of B, label; one pass over
all documents, in order. A pair has at most max_tokens tokens (the sequence length less the special ones; at least 2),
both segments at least one.

One choice of the releases is worth knowing: a chunk of a single sentence always gets a random partner, so on short
documents fewer than half of the pairs are real.
"""

from bisect import bisect_left
from collections.abc import Sequence

import numpy as np

# From so many tokens on, how many of them a truncation takes in front is drawn at once: a book without a full stop may
# be the partner of thousands of sentences.
MANY = 10_000
IS_NEXT, RANDOM = 0, 1  # the published polarity of next_sentence_labels
IN_ORDER, SWAPPED = 0, 1  # and of sentence_order_labels
ELSEWHERE, NEXT, PREVIOUS = 0, 1, 2  # of sentence_structure_labels, which nobody published

Segment = tuple[int, int]


def sentence_pairs(
    sentences: Sequence[int],
    documents: Sequence[int],
    rng: np.random.Generator,
    max_tokens: int,
    short_rate: float = 0.1,
) -> np.ndarray:
    """BERT's pairs (the release's create_pretraining_data.py, step by step): B follows A, or is from anywhere.

    short_rate: share of document passes that aim at a random shorter length (short_seq_prob).
    """
    offsets, borders = np.asarray(sentences).tolist(), np.asarray(documents).tolist()
    pairs = []
    for document in range(len(borders) - 1):
        first, last = borders[document], borders[document + 1]
        target = _target(max_tokens, short_rate, rng)
        while first < last:
            stop, middle = _chunk(offsets, first, last, target, rng)
            a, b = (offsets[first], offsets[middle]), (offsets[middle], offsets[stop])
            label = IS_NEXT
            if stop - first == 1 or rng.random() < 0.5:
                label = RANDOM
                b = _random(offsets, borders, document, target - (a[1] - a[0]), rng)
                stop = middle  # the chunk's unused sentences go back
            pairs.append((*_truncation(a, b, max_tokens, rng), label))
            first = stop
    return np.array(pairs, np.int64).reshape(-1, 5)


def ordered_pairs(
    sentences: Sequence[int],
    documents: Sequence[int],
    rng: np.random.Generator,
    max_tokens: int,
    short_rate: float = 0.1,
) -> np.ndarray:
    """ALBERT's pairs for sentence-order prediction (arXiv 1909.11942, section 3.1; its create_pretraining_data.py).

    BERT's chunks, cut in two; with probability 1/2 the two change places, before truncation. A chunk of a single
    sentence cannot be swapped: as in the release it gets a B from anywhere, labelled SWAPPED.
    """
    offsets, borders = np.asarray(sentences).tolist(), np.asarray(documents).tolist()
    pairs = []
    for document in range(len(borders) - 1):
        first, last = borders[document], borders[document + 1]
        target = _target(max_tokens, short_rate, rng)
        while first < last:
            stop, middle = _chunk(offsets, first, last, target, rng)
            a, b = (offsets[first], offsets[middle]), (offsets[middle], offsets[stop])
            label = IN_ORDER
            if stop - first == 1:
                label = SWAPPED
                b = _random(offsets, borders, document, target - (a[1] - a[0]), rng)
            elif rng.random() < 0.5:
                label, a, b = SWAPPED, b, a
            pairs.append((*_truncation(a, b, max_tokens, rng), label))
            first = stop
    return np.array(pairs, np.int64).reshape(-1, 5)


def structured_pairs(
    sentences: Sequence[int],
    documents: Sequence[int],
    rng: np.random.Generator,
    max_tokens: int,
    short_rate: float = 0.1,
) -> np.ndarray:
    """StructBERT's pairs (Wang et al., arXiv 1908.04577, section 2.2): B is next, previous, or from anywhere.

    BERT's chunks, cut in two; one of the three is drawn for each, so that the classes are equal: a chunk of a single
    sentence has no neighbour and is passed over, though it may be a random partner. (No code was published.)
    """
    offsets, borders = np.asarray(sentences).tolist(), np.asarray(documents).tolist()
    pairs = []
    for document in range(len(borders) - 1):
        first, last = borders[document], borders[document + 1]
        target = _target(max_tokens, short_rate, rng)
        while first < last:
            stop, middle = _chunk(offsets, first, last, target, rng)
            if stop - first == 1:
                first = stop
                continue
            a, b = (offsets[first], offsets[middle]), (offsets[middle], offsets[stop])
            label = int(rng.integers(0, 3))
            if label == ELSEWHERE:
                b = _random(offsets, borders, document, target - (a[1] - a[0]), rng)
                stop = middle  # the chunk's unused sentences go back
            elif label == PREVIOUS:
                a, b = b, a
            pairs.append((*_truncation(a, b, max_tokens, rng), label))
            first = stop
    return np.array(pairs, np.int64).reshape(-1, 5)


def swapped_pairs(
    sentences: Sequence[int],
    documents: Sequence[int],
    rng: np.random.Generator,
    max_tokens: int,
    short_rate: float = 0.1,
) -> np.ndarray:
    """Megatron-LM's pairs (the release's dataset_utils.py): as `ordered_pairs`, but every chunk has two sentences or
    more, and none is left alone at a document's end; a document of one sentence is passed over. So every pair is of
    consecutive segments.
    """
    offsets, borders = np.asarray(sentences).tolist(), np.asarray(documents).tolist()
    pairs = []
    for document in range(len(borders) - 1):
        first, last = borders[document], borders[document + 1]
        target = _target(max_tokens, short_rate, rng)
        while last - first > 1:
            stop = max(_reach(offsets, first, last, target), first + 2)
            stop = last if last - stop == 1 else stop
            middle = first + int(rng.integers(1, stop - first - 1, endpoint=True))
            a, b = (offsets[first], offsets[middle]), (offsets[middle], offsets[stop])
            label = int(rng.random() < 0.5)
            a, b = (b, a) if label == SWAPPED else (a, b)
            pairs.append((*_truncation(a, b, max_tokens, rng), label))
            first = stop
    return np.array(pairs, np.int64).reshape(-1, 5)


def single_pairs(
    sentences: Sequence[int], documents: Sequence[int], rng: np.random.Generator, max_tokens: int
) -> np.ndarray:
    """RoBERTa's SENTENCE-PAIR (arXiv 1907.11692, section 4.2): two natural sentences, next or from another document.

    The format was never released; here a sentence goes with the next, both used, or with a random one, which the last
    of a document always gets.
    """
    offsets, borders = np.asarray(sentences).tolist(), np.asarray(documents).tolist()
    pairs = []
    for document in range(len(borders) - 1):
        first, last = borders[document], borders[document + 1]
        while first < last:
            if first + 1 < last and rng.random() < 0.5:
                label, second, step = IS_NEXT, first + 1, 2
            else:
                other = _other(document, len(borders) - 1, rng)
                label, second, step = RANDOM, int(rng.integers(borders[other], borders[other + 1])), 1
            a, b = (offsets[first], offsets[first + 1]), (offsets[second], offsets[second + 1])
            pairs.append((*_truncation(a, b, max_tokens, rng), label))
            first += step
    return np.array(pairs, np.int64).reshape(-1, 5)


def _target(max_tokens: int, short_rate: float, rng: np.random.Generator) -> int:
    """The length that a pass over a document aims at."""
    if rng.random() < short_rate:
        return int(rng.integers(2, max_tokens, endpoint=True))
    return max_tokens


def _chunk(offsets: list[int], first: int, last: int, target: int, rng: np.random.Generator) -> tuple[int, int]:
    """(end of the chunk that begins with sentence `first`, where its second part begins)."""
    stop = _reach(offsets, first, last, target)
    middle = first + 1
    if stop - first >= 2:
        middle = first + int(rng.integers(1, stop - first - 1, endpoint=True))
    return stop, middle


def _random(offsets: list[int], borders: list[int], document: int, length: int, rng: np.random.Generator) -> Segment:
    """A segment from a random sentence on of a random other document."""
    other = _other(document, len(borders) - 1, rng)
    start = int(rng.integers(borders[other], borders[other + 1]))
    return offsets[start], offsets[_reach(offsets, start, borders[other + 1], length)]


def _reach(offsets: list[int], first: int, last: int, length: int) -> int:
    """The end of the shortest run of sentences from `first` with `length` tokens; at least one, at most to `last`."""
    return bisect_left(offsets, offsets[first] + length, first + 1, last)


def _other(document: int, count: int, rng: np.random.Generator) -> int:
    """A random document; ten tries to find another than this one, then it may be the same (still labelled RANDOM)."""
    for _ in range(10):
        other = int(rng.integers(0, count))
        if other != document:
            break
    return other


def _truncation(a: Segment, b: Segment, max_tokens: int, rng: np.random.Generator) -> tuple[int, int, int, int]:
    """Both segments cut to max_tokens in all: token by token, from the longer (B on a tie), front or back."""
    (a_start, a_stop), (b_start, b_stop) = a, b
    excess = (a_stop - a_start) + (b_stop - b_start) - max_tokens
    ahead = (a_stop - a_start) - (b_stop - b_start)
    surely = min(excess, abs(ahead)) - 1  # tokens that the same one loses
    if surely > MANY:
        front, excess = int(rng.binomial(surely, 0.5)), excess - surely
        if ahead > 0:
            a_start, a_stop = a_start + front, a_stop - (surely - front)
        else:
            b_start, b_stop = b_start + front, b_stop - (surely - front)
    for front in (rng.random(max(excess, 0)) < 0.5).tolist():
        if a_stop - a_start > b_stop - b_start:
            a_start, a_stop = a_start + front, a_stop - (not front)
        else:
            b_start, b_stop = b_start + front, b_stop - (not front)
    return a_start, a_stop, b_start, b_stop
