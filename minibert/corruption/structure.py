"""Rows whose labels a text gives by itself: words in their document, segments out of order, how far apart two are.

ERNIE 2.0's tasks from plain text (Sun et al., arXiv 1907.12412, sections 4.2.1 and 4.2.2). documents[d][s]: ids of a
sentence. A passage is consecutive whole sentences of a document that fit; a sentence that is too long is cut.
"""

import itertools
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from minibert.corruption.masking import Vocabulary

Ids = list[int]
Rng = np.random.Generator

IGNORED = -100
ADJACENT, SAME_DOCUMENT, ELSEWHERE = 0, 1, 2  # classes of sentence distance


class Row(NamedTuple):
    """[CLS] part [SEP] … of a task: label, of the row, or tags, one for each token of its one part; typed: the parts
    are segments 0, 1, …, else all are 0.
    """

    task: int
    parts: list[Ids]
    label: int = IGNORED
    tags: Ids | None = None
    typed: bool = False


# ---- Orders ----------------------------------------------------------------------------------------------------------
def classes(most: int) -> int:
    """Σ n! for n = 1 … most: the orders of up to so many segments."""
    return sum(math.factorial(n) for n in range(1, most + 1))


def order_class(order: Sequence[int]) -> int:
    """The class of an order of n segments: those of fewer segments come before, those of as many as in a dictionary."""
    n = len(order)
    rank = sum(sum(later < at for later in order[i + 1 :]) * math.factorial(n - 1 - i) for i, at in enumerate(order))
    return classes(n - 1) + rank


def order_of(label: int) -> tuple[int, ...]:
    """The order of a class: `order_class` inverted."""
    n = next(n for n in itertools.count(1) if label < classes(n))
    rank, left, order = label - classes(n - 1), [*range(n)], []
    for i in range(n):
        at, rank = divmod(rank, math.factorial(n - 1 - i))
        order.append(left.pop(at))
    return tuple(order)


# ---- Passages --------------------------------------------------------------------------------------------------------
def runs(document: Sequence[Ids], limit: int) -> Iterator[tuple[int, int]]:
    """(first, end) of the sentences of each passage of at most `limit` tokens."""
    first = 0
    while first < len(document):
        end, size = first + 1, len(document[first])
        while end < len(document) and size + len(document[end]) <= limit:
            size, end = size + len(document[end]), end + 1
        yield first, end
        first = end


def joined(sentences: Sequence[Ids], limit: int) -> Ids:
    return list(itertools.chain.from_iterable(sentences))[:limit]


def about(passages: Sequence[Ids], n: int, reach: int) -> Sequence[Ids]:
    """A passage and `reach` others about it: half before it and half behind, at an end of the text all on one side."""
    first = max(0, min(n - reach // 2, len(passages) - reach - 1))
    return passages[first : first + reach + 1]


def elsewhere(text: Sequence[Ids], passage: Ids) -> Ids:
    """1 for each token of a passage that stands in the rest of a text that holds it, too, else 0."""
    whole, here = Counter(itertools.chain.from_iterable(text)), Counter(passage)
    return [int(whole[token] > here[token]) for token in passage]


def reordered(passage: Ids, starts: Sequence[int], rng: Rng, most: int) -> tuple[list[Ids], int]:
    """(a passage's segments as they stand now, the class of their order): 1 to `most` segments, as many as drawn or as
    there are words, cut where words start (`starts`, places), in an order that is drawn, the right one included.
    order[i]: which segment of the text stands at place i.
    """
    inner = [at for at in starts if at > 0]
    n = min(int(rng.integers(1, most, endpoint=True)), len(inner) + 1)
    borders = sorted(inner[i] for i in rng.random(len(inner)).argsort()[: n - 1].tolist())
    segments = [passage[a:b] for a, b in itertools.pairwise((0, *borders, len(passage)))]
    order = rng.random(n).argsort().tolist()
    return [segments[i] for i in order], order_class(order)


def distances(documents: Sequence[Sequence[Ids]], rng: Rng, limit: int) -> Iterator[tuple[list[Ids], int]]:
    """([A, B], class): half passages A, each with a B drawn from one of the three classes, which are equal: the next
    one, one of the same document that is no neighbour, one of another. A is passed over where any of them is missing.
    """
    halves = [[joined(document[a:b], limit) for a, b in runs(document, limit)] for document in documents]
    halves = [found for found in halves if found]
    for d, own in enumerate(halves):
        for i, a in enumerate(own[:-1]):
            far = [j for j in range(len(own)) if abs(i - j) > 1]
            if not far or len(halves) < 2:
                continue
            label, other = int(rng.integers(0, 3)), int(rng.integers(0, len(halves) - 1))
            theirs = halves[other + (other >= d)]
            b = [own[i + 1], own[far[int(rng.integers(0, len(far)))]], theirs[int(rng.integers(0, len(theirs)))]][label]
            yield [a, b], label


# ---- Arrays ----------------------------------------------------------------------------------------------------------
def assembled(rows: Sequence[Row], vocabulary: Vocabulary, width: int) -> dict[str, np.ndarray]:
    """input_ids, input_mask, segment_ids (N, width), task_type_ids (N, width) int8 of the rows' tasks, "label" (N,) and
    "tags" (N, width) int8, IGNORED where nothing is asked. Rows too long lose the ends of their longest parts.
    """
    ids = np.full((len(rows), width), vocabulary.pad, np.int32)
    mask, types = np.zeros_like(ids), np.zeros_like(ids)
    tags = np.full(ids.shape, IGNORED, np.int8)
    for n, row in enumerate(rows):
        parts = [list(part) for part in row.parts]
        while (excess := sum(map(len, parts)) + 1 + len(parts) - width) > 0:
            longest = max(parts, key=len)
            del longest[max(1, len(longest) - excess) :]
        at = 1
        ids[n, 0] = vocabulary.cls
        for segment, part in enumerate(parts):
            ids[n, at : at + len(part) + 1] = [*part, vocabulary.sep]
            types[n, at : at + len(part) + 1] = segment * row.typed
            at += len(part) + 1
        mask[n, :at] = 1
        if row.tags is not None:
            tags[n, 1 : 1 + len(parts[0])] = row.tags[: len(parts[0])]
    tasks = np.array([row.task for row in rows], np.int8)
    return {
        "input_ids": ids, "input_mask": mask, "segment_ids": types,
        "task_type_ids": np.repeat(tasks[:, None], width, 1),
        "label": np.array([row.label for row in rows], np.int32), "tags": tags,
    }  # fmt: skip
