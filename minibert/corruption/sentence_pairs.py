"""BERT's sentence pairs for next-sentence prediction (the release's create_pretraining_data.py, step by step).

Text is flat, so that a pair is five numbers and the tokens are never copied: `sentences` are the offsets of the
S sentences in the stream of tokens (S + 1 of them, none empty), `documents` the offsets of the documents in the
list of sentences.

One choice of the release is worth knowing: a chunk of a single sentence always gets a random partner, so on
short documents fewer than half of the pairs are real.
"""

from bisect import bisect_left
from collections.abc import Sequence

import numpy as np

IS_NEXT, RANDOM = 0, 1  # the published polarity of next_sentence_labels


def sentence_pairs(
    sentences: Sequence[int],
    documents: Sequence[int],
    rng: np.random.Generator,
    max_tokens: int,
    short_rate: float = 0.1,
) -> np.ndarray:
    """(N, 5) int64: start and stop of A, start and stop of B, label; one pass over all documents, in order.

    A pair has at most max_tokens tokens (the sequence length less [CLS] and two [SEP]; at least 2), both segments
    at least one. short_rate: share of document passes that aim at a random shorter length (short_seq_prob).
    """
    offsets, borders = np.asarray(sentences).tolist(), np.asarray(documents).tolist()
    pairs = []
    for document in range(len(borders) - 1):
        first, last = borders[document], borders[document + 1]
        target = max_tokens
        if rng.random() < short_rate:
            target = int(rng.integers(2, max_tokens, endpoint=True))
        while first < last:
            stop = _reach(offsets, first, last, target)
            middle = first + 1
            if stop - first >= 2:
                middle = first + int(rng.integers(1, stop - first - 1, endpoint=True))
            a, b = (offsets[first], offsets[middle]), (offsets[middle], offsets[stop])
            label = IS_NEXT
            if stop - first == 1 or rng.random() < 0.5:
                label = RANDOM
                other = _other(document, len(borders) - 1, rng)
                start = int(rng.integers(borders[other], borders[other + 1]))
                end = _reach(offsets, start, borders[other + 1], target - (a[1] - a[0]))
                b = offsets[start], offsets[end]
                stop = middle  # the chunk's unused sentences go back
            pairs.append((*_truncation(a, b, max_tokens, rng), label))
            first = stop
    return np.array(pairs, np.int64).reshape(-1, 5)


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


def _truncation(
    a: tuple[int, int], b: tuple[int, int], max_tokens: int, rng: np.random.Generator
) -> tuple[int, int, int, int]:
    """Both segments cut to max_tokens in all: token by token, from the longer (B on a tie), front or back."""
    (a_start, a_stop), (b_start, b_stop) = a, b
    excess = (a_stop - a_start) + (b_stop - b_start) - max_tokens
    for front in (rng.random(max(excess, 0)) < 0.5).tolist():
        if a_stop - a_start > b_stop - b_start:
            a_start, a_stop = a_start + front, a_stop - (not front)
        else:
            b_start, b_stop = b_start + front, b_stop - (not front)
    return a_start, a_stop, b_start, b_stop
