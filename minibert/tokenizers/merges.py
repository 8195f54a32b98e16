"""Merging pairs, and learning pieces by merging the most frequent adjacent pair, again and again.

Sennrich et al., arXiv:1508.07909, algorithm 1, with counts kept up to date incrementally: all words stand in one row
of linked symbols, a merge touches only the places of the pair, and a heap of possibly outdated counts yields the next
one. As each merge at a place takes a symbol away, n symbols cost n log n steps, however many pieces are learnt and
however long a word is.
"""

import heapq
from array import array
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from itertools import pairwise
from typing import Any

from minibert.config import shown
from minibert.errors import InputError
from minibert.tokenizers.encoding import LONGEST_PIECE, MOST_PIECES, checked_text, streamed

Pair = tuple[int, int]
_GAP, _GONE = -1, -2  # between words; where a symbol was that is merged into the one before it


def merged(symbols: list[int | None], ranks: Mapping[Pair, Pair]) -> tuple[int, ...]:
    """The symbols of one word, merged: again and again the pair of the lowest rank, of equals the leftmost. ranks: pair
    -> (rank, the symbol of the two). The list is written to.

    A heap and a doubly linked list of symbols: n log n steps for n symbols.
    """
    n = len(symbols)
    before, after = list(range(-1, n - 1)), list(range(1, n + 1))
    heap = [ranks[pair][0] * n + i for i, pair in enumerate(pairwise(symbols)) if pair in ranks]
    heapq.heapify(heap)
    while heap:
        rank, i = divmod(heapq.heappop(heap), n)
        j = after[i]
        found = ranks.get((symbols[i], symbols[j])) if j < n else None
        if found is None or found[0] != rank:  # one of the two has been merged since
            continue
        symbols[i], symbols[j] = found[1], None
        after[i] = after[j]
        if after[i] < n:
            before[after[i]] = i
        for left, right in ((before[i], i), (i, after[i])):
            found = ranks.get((symbols[left], symbols[right])) if left >= 0 and right < n else None
            if found is not None:
                heapq.heappush(heap, found[0] * n + left)
    return tuple(symbol for symbol in symbols if symbol is not None)


def joined(symbols: list[str], fixed: set[int], scores: Mapping[str, float]) -> list[str]:
    """SentencePiece's merging: of all neighbours that make a piece together those whose piece scores highest, of equals
    the leftmost, again and again. fixed: places of symbols that stay as they are. The list is written to.
    """
    n = len(symbols)
    before, after = list(range(-1, n - 1)), list(range(1, n + 1))
    heap: list[tuple[float, int, str]] = []

    def offer(left: int, right: int) -> None:
        if left >= 0 and right < n and left not in fixed and right not in fixed:
            piece = symbols[left] + symbols[right]
            if piece in scores:
                heapq.heappush(heap, (-scores[piece], left, piece))

    for i in range(n - 1):
        offer(i, i + 1)
    while heap:
        _, i, piece = heapq.heappop(heap)
        j = after[i]
        if not symbols[i] or j >= n or symbols[i] + symbols[j] != piece:  # one of the two has been merged since
            continue
        symbols[i], symbols[j] = piece, ""
        after[i] = after[j]
        if after[i] < n:
            before[after[i]] = i
        offer(before[i], i)
        offer(i, after[i])
    return [symbol for symbol in symbols if symbol]


def ranked(pairs: list[tuple[str, str]], index: Mapping[str, int]) -> dict[Pair, Pair]:
    """(left id, right id) -> (rank, id of the two merged); all three must be in the vocabulary, no pair twice."""
    if len(pairs) > MOST_PIECES:
        raise InputError(f"{len(pairs)} merges; a vocabulary may have {MOST_PIECES} pieces")
    ranks: dict[Pair, Pair] = {}
    for rank, pair in enumerate(pairs):
        if not isinstance(pair, (tuple, list)) or len(pair) != 2 or not all(isinstance(piece, str) for piece in pair):
            raise InputError(f"merge {rank} is {shown(pair)}, not two pieces")
        left, right = pair
        for piece in (left, right, left + right):
            if piece not in index:
                where = f"merge {rank}, {shown(left)} + {shown(right)}"
                raise InputError(f"{where}: {shown(piece)} is not in the vocabulary")
        if ranks.setdefault((index[left], index[right]), (rank, index[left + right]))[0] != rank:
            raise InputError(f"merge {rank}, {shown(left)} + {shown(right)}, stands twice")
    return ranks


def listed(items: list[Any], where: str) -> list[tuple[str, str]]:
    """The pairs of a file, each item "left right" or [left, right]."""
    pairs = []
    for rank, item in enumerate(items):
        pair = item.split(" ") if isinstance(item, str) else item
        if not (isinstance(pair, list) and len(pair) == 2 and all(isinstance(piece, str) and piece for piece in pair)):
            raise InputError(f"{where}: merge {rank} is {shown(item)}, not two pieces")
        pairs.append((pair[0], pair[1]))
    return pairs


def counted(
    texts: Iterable[str], chunks: Callable[[str], Iterable[str]], words: Callable[[str], Iterable[str]]
) -> Counter[str]:
    """Word -> how often it occurs; a text is cut into chunks, and each distinct one once into words."""
    occurring: Counter[str] = Counter()
    for text in streamed(texts):
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
    merged next; of equal counts the one with the smaller left index, then the smaller right one. One that would make a
    piece longer than a vocabulary may have is passed over. It ends early when no pair occurs `min_frequency` times. Two
    pairs may give one piece ("a" + "bc", "ab" + "c"): it is listed once.
    """
    pieces, pairs = list(pieces), []
    index = {piece: i for i, piece in enumerate(pieces)}
    symbols, weights = array("q", [_GAP]), array("q", [0])
    for word, count in zip(words, counts, strict=True):
        symbols.extend([*word, _GAP])
        weights.extend([count] * (len(word) + 1))
    before, after = array("q", range(-1, len(symbols) - 1)), array("q", range(1, len(symbols) + 1))
    totals: dict[Pair, int] = defaultdict(int)
    places: dict[Pair, list[int]] = defaultdict(list)  # where it stands, and perhaps stood
    for i, pair in enumerate(pairwise(symbols)):
        if _GAP not in pair:
            totals[pair] += weights[i]
            places[pair].append(i)
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
        left, right = pair
        piece = join(pieces[left], pieces[right])
        if len(piece) > LONGEST_PIECE:
            continue
        pairs.append(pair)
        merged = index.setdefault(piece, len(pieces))
        if merged == len(pieces):
            pieces.append(piece)
            if progress:
                progress(len(pieces), size)
        risen = set()
        for i in sorted(places.pop(pair)):  # from the left: of "aaa" the first two are merged
            j = after[i]
            if symbols[i] != left or symbols[j] != right:
                continue
            previous, following, count = before[i], after[j], weights[i]
            totals[pair] -= count
            symbols[i], symbols[j] = merged, _GONE
            after[i], before[following] = following, i
            for at, old, new in (
                (previous, (symbols[previous], left), (symbols[previous], merged)),
                (i, (right, symbols[following]), (merged, symbols[following])),
            ):
                if _GAP not in new:
                    totals[old] -= count
                    totals[new] += count
                    places[new].append(at)
                    risen.add(new)
        for new in risen:
            heapq.heappush(heap, (-totals[new], new))
    return pieces, pairs
