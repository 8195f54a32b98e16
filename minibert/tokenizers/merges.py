"""Learning pieces by merging the most frequent adjacent pair, again and again.

Sennrich et al., arXiv:1508.07909, algorithm 1, with counts kept up to date incrementally: a merge touches only the
words that hold the pair, and a heap of possibly outdated counts yields the next one.
"""

import heapq
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from itertools import pairwise

from minibert.tokenizers.encoding import checked_text

Pair = tuple[int, int]


def counted(
    texts: Iterable[str], chunks: Callable[[str], Iterable[str]], words: Callable[[str], Iterable[str]]
) -> Counter[str]:
    """Word -> how often it occurs; a text is cut into chunks, and each distinct one once into words."""
    occurring: Counter[str] = Counter()
    for text in texts:
        occurring.update(chunks(checked_text(text)))
    counts: Counter[str] = Counter()
    for chunk, n in occurring.items():
        for word in words(chunk):
            counts[word] += n
    return counts


def grown(
    words: list[list[int]],
    counts: list[int],
    pieces: list[str],
    size: int,
    join: Callable[[str, str], str],
    min_frequency: int,
    progress: Callable[[int, int], object] | None = None,
) -> list[str]:
    """`pieces` and the merged ones after them, up to `size` in all: what `learned` lists, without the pairs."""
    return learned(words, counts, pieces, size, join, min_frequency, progress)[0]


def learned(
    words: list[list[int]],
    counts: list[int],
    pieces: list[str],
    size: int,
    join: Callable[[str, str], str],
    min_frequency: int,
    progress: Callable[[int, int], object] | None = None,
) -> tuple[list[str], list[Pair]]:
    """`pieces` and the merged ones after them, up to `size` in all, and the merged pairs in their order.

    words: each distinct word as indices of pieces, counts: how often it occurs. The pair with the highest count is
    merged next; of equal counts the one with the smaller left index, then the smaller right one. It ends early when
    no pair occurs `min_frequency` times. Two pairs may give one piece ("a" + "bc", "ab" + "c"): it is listed once.
    """
    words, pieces, pairs = [list(word) for word in words], list(pieces), []
    index = {piece: i for i, piece in enumerate(pieces)}
    totals: dict[Pair, int] = defaultdict(int)
    holders: dict[Pair, set[int]] = defaultdict(set)
    for number, word in enumerate(words):
        for pair in pairwise(word):
            totals[pair] += counts[number]
            holders[pair].add(number)
    heap = [(-total, pair) for pair, total in totals.items()]
    heapq.heapify(heap)
    while heap and len(pieces) < size:
        total, pair = -heap[0][0], heap[0][1]
        if totals[pair] < total:  # outdated; a count that has risen since was pushed when it rose
            heapq.heapreplace(heap, (-totals[pair], pair))
            continue
        if total < max(min_frequency, 1):
            break
        heapq.heappop(heap)
        pairs.append(pair)
        piece = join(pieces[pair[0]], pieces[pair[1]])
        merged = index.setdefault(piece, len(pieces))
        if merged == len(pieces):
            pieces.append(piece)
            if progress:
                progress(len(pieces), size)
        risen = set()
        for number in holders.pop(pair):
            word, count = words[number], counts[number]
            for old in pairwise(word):
                totals[old] -= count
            words[number] = word = _merged(word, pair, merged)
            for new in pairwise(word):
                totals[new] += count
                if merged in new:
                    holders[new].add(number)
                    risen.add(new)
        for new in risen:
            heapq.heappush(heap, (-totals[new], new))
    return pieces, pairs


def _merged(word: list[int], pair: Pair, merged: int) -> list[int]:
    """The word with each occurrence of the pair, from the left, replaced."""
    out, i = [], 0
    while i < len(word):
        if word[i] == pair[0] and i + 1 < len(word) and word[i + 1] == pair[1]:
            out.append(merged)
            i += 2
        else:
            out.append(word[i])
            i += 1
    return out
