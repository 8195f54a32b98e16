"""Learning the pieces of a unigram model: many candidates, EM, the least useful ones pruned, again and again.

Kudo, arXiv:1804.10959, section 3.2; what the paper leaves open is SentencePiece's (src/unigram_model_trainer.cc):
1. Candidates: every character, and the substrings of 2 to 16 that occur at least twice and are followed by more than
   one thing (the inner nodes of the suffix tree), scored occurrences * length; the best million.
2. Twice: E, expected counts by forward-backward; M, what is expected less than 0.5 times goes, and log p becomes
   digamma(count) - digamma(sum) (Liang and Klein, ACL 2007 tutorial: a sparse prior) instead of log count / sum.
3. Until 1.1 V are left, keep the 75 % whose loss is greatest: the frequency of a piece times what the likelihood of
   a sentence loses when its best other segmentation stands for it. Pieces without another one stay.
4. V: all characters (those lost on the way with the least score + 0.0001 k), then the most probable pieces.
Differences: substrings are counted within words, where a word's end is one more thing that follows; sums are float64;
a piece never holds characters of two scripts, where a script is the first word of a letter's Unicode name; pieces
never end in a digit and a comma, which ALBERT would split again.

All words are segmented at once: an edge is a place of a word where a piece stands, edges are sorted by where they
end, and the sums over the edges that end at one place are `reduceat`s, place after place of all words in step.
"""

import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache

import numpy as np

from minibert.errors import InputError
from minibert.tokenizers.normalization import META, compiled

MAX_PIECE = 16
MAX_SEEDS = 1_000_000
MAX_WORD = 4192  # longer words teach nothing; SentencePiece leaves out longer sentences
SHRINKING = 0.75
SURPLUS = 1.1
SUB_ITERATIONS = 2
LEAST_EXPECTED = 0.5
UNKNOWN_PENALTY = 10.0
FLOOR_STEP = 0.0001
_CODES = 0x110000  # code points


def learnt(
    words: Mapping[str, int],
    size: int,
    character_coverage: float = 0.9995,
    progress: Callable[[int, int], object] | None = None,
) -> list[tuple[str, float]]:
    """`size` pieces (fewer where there are no more) with their scores, float32 values, the most probable first.

    words: each distinct word, \u2581 in front, and how often it occurs. Nothing depends on their order.
    """
    counts = Counter({word: n for word, n in sorted(words.items()) if len(word) <= MAX_WORD})
    characters = _covered(counts, character_coverage)
    if not characters:
        raise InputError("no words to learn a vocabulary from: the texts are empty")
    if size < len(characters):
        raise InputError(
            f"vocab_size has room for {size} pieces, less than the {len(characters)} characters: raise it, "
            "or lower character_coverage"
        )
    parts = _parts(counts, set(characters))
    pieces, scores = _seeds(parts)
    wanted = max(size, int(SURPLUS * size))
    lattice = _Lattice(list(parts), np.array(list(parts.values()), float), pieces)
    while True:
        for _ in range(SUB_ITERATIONS):
            expected = lattice.expected(scores)
            kept = expected >= LEAST_EXPECTED
            pieces = [piece for piece, stays in zip(pieces, kept, strict=True) if stays]
            scores = _digamma(expected[kept]) - _digamma(expected[kept].sum())
            lattice.keep(kept)
        if progress:
            progress(len(pieces), size)
        if len(pieces) <= wanted:
            break
        kept = _useful(lattice, pieces, scores, max(wanted, int(SHRINKING * len(pieces))))
        pieces = [piece for piece, stays in zip(pieces, kept, strict=True) if stays]
        scores = scores[kept]
        lattice.keep(kept)
    found = dict(zip(pieces, scores.tolist(), strict=True))
    lost = (min(found.values()) + FLOOR_STEP * k for k in range(len(characters)))
    final = {char: found[char] if char in found else next(lost) for char in characters}
    for piece in sorted(found, key=lambda piece: (-found[piece], piece)):
        if len(final) < size:
            final.setdefault(piece, found[piece])
    return sorted(((p, float(np.float32(s))) for p, s in final.items()), key=lambda item: (-item[1], item[0]))


def _covered(words: Counter[str], coverage: float) -> list[str]:
    """The most frequent characters that together make up this share of the text, the most frequent first."""
    frequency: Counter[str] = Counter()
    for word, n in words.items():
        for char in word:
            frequency[char] += n
    total, seen, out = sum(frequency.values()), 0, []
    for char in sorted(frequency, key=lambda char: (-frequency[char], char)):
        if seen >= coverage * total:
            break
        seen += frequency[char]
        out.append(char)
    return out


def _parts(words: Counter[str], characters: set[str]) -> Counter[str]:
    """The words, cut where a character isn't covered: whatever it is, what stands around it is independent of it."""
    parts: Counter[str] = Counter()
    for word, n in words.items():
        for part in "".join(char if char in characters else "\0" for char in word).split("\0"):
            if part:
                parts[part] += n
    return parts


@lru_cache(1 << 16)
def _script(char: str) -> str:
    """What may stand together in a piece: the script of a letter or mark, or "" for digits, signs and symbols."""
    if unicodedata.category(char)[0] not in "LM":
        return ""
    name = unicodedata.name(char, "").partition(" ")[0]
    return "CJK" if name in ("HIRAGANA", "KATAKANA", "KATAKANA-HIRAGANA") else name


def _valid(piece: str) -> bool:
    """Of one script, \u2581 at most in front, no digit and comma at the end."""
    inner = piece.removeprefix(META)
    if META in inner or (len(inner) > 1 and inner[-1] == "," and inner[-2].isdigit()):
        return False
    return len(set(map(_script, inner))) == 1


def _seeds(words: Counter[str]) -> tuple[list[str], np.ndarray]:
    """The candidates and the logarithms of their shares."""
    text = "\0".join(words) + "\0" * MAX_PIECE
    codes = np.unique(np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4"), return_inverse=True)[1]
    sizes = np.array([len(word) + 1 for word in words])
    weights = np.repeat(np.array(list(words.values())), sizes)
    places = np.flatnonzero(codes[: len(weights)])  # 0 is the code of the separator
    ranks, totals = codes[places], np.bincount(codes[places], weights[places])
    pieces = [text[places[i]] for i in np.unique(ranks, return_index=True)[1]]
    shares = totals[totals > 0].tolist()
    found: list[tuple[float, str]] = []
    for n in range(2, MAX_PIECE + 2):  # ranks: which substring of length n - 1 begins at the places
        old, old_totals = ranks, totals
        following = codes[places + n - 1]
        _, first, ranks = np.unique(old * (codes.max() + 1) + following, return_index=True, return_inverse=True)
        totals = np.bincount(ranks, weights[places])
        if n > 2:  # of length n - 1: those not always followed by the same character
            longest = np.zeros(len(old_totals))
            inside = following[first] > 0
            np.maximum.at(longest, old[first[inside]], totals[inside])
            begins = np.zeros(len(old_totals), int)
            begins[old] = places
            for i in np.flatnonzero((old_totals >= 2) & (longest < old_totals)).tolist():
                piece = text[begins[i] : begins[i] + n - 1]
                if _valid(piece):
                    found.append((-old_totals[i] * (n - 1), piece))
        kept = (following > 0) & (totals[ranks] >= 2)
        places = places[kept]
        used, ranks = np.unique(ranks[kept], return_inverse=True)
        totals = totals[used]
        if not len(places):
            break
    found.sort()
    for share, piece in found[:MAX_SEEDS]:
        pieces.append(piece)
        shares.append(-share)
    return pieces, np.log(np.array(shares)) - np.log(sum(shares))


def _spelt(texts: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """(the code points of the texts, a 0 behind each; how many that are for each text)."""
    codes = np.frombuffer("".join(f"{text}\0" for text in texts).encode("utf-32-le", "surrogatepass"), "<u4")
    return codes.astype(np.int64), np.array([len(text) + 1 for text in texts])


def _standing(pieces: list[str], text: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray, int]]:
    """(places of the text where a piece of n characters stands, which, n) for n = 1, 2, …; -1: an unknown character.

    Down the trie of the pieces, level after level, at all places at once.
    """
    codes, sizes = _spelt(pieces)
    first, index = np.cumsum(sizes) - sizes, np.arange(len(pieces))
    node, place, state = np.zeros_like(index), np.flatnonzero(text), np.zeros_like(text[text > 0])
    for n in range(1, sizes.max()):
        edges, node = np.unique(node * _CODES + codes[first[index] + n - 1], return_inverse=True)
        ends = sizes[index] == n + 1
        known = np.full(len(edges), -1)
        known[node[ends]] = index[ends]
        index, node = index[~ends], node[~ends]
        key = state * _CODES + text[place + n - 1]
        edge = np.minimum(np.searchsorted(edges, key), len(edges) - 1)
        hit = edges[edge] == key
        found = np.where(hit, known[edge], -1)
        there = (found >= 0) | (n == 1)
        yield place[there], found[there], n
        place, state = place[hit], edge[hit]


class _Lattice:
    """All places of all words where a piece stands.

    words: the texts; weights: how often each occurs. Edge e says that piece `piece[e]` stands from node `start[e]` to
    node `end[e]`; -1 is an unknown character. A word of n characters has n + 1 nodes. Edges come in the order of
    `step` (how far into its word an edge ends), then of `end`, then of `start`.
    """

    def __init__(self, words: list[str], weights: np.ndarray, pieces: list[str], whole: bool = True) -> None:
        self.pieces = len(pieces)
        text, sizes = _spelt(words)
        self.nodes, self.weights = len(text), weights
        self.first = np.cumsum(sizes) - sizes
        self.last = np.cumsum(sizes) - 1
        self.word = np.repeat(np.arange(len(words)), sizes)
        found = list(_standing(pieces, text))
        start = np.concatenate([place for place, _, _ in found])
        piece = np.concatenate([index for _, index, _ in found])
        end = start + np.concatenate([np.full(len(place), n) for place, _, n in found])
        there = whole | (end - start < sizes[self.word[start]] - 1)
        start, end, piece = start[there], end[there], piece[there]
        step = end - self.first[self.word[start]]
        order = np.lexsort((start, end, step))
        self.start, self.end, self.piece, self.step = start[order], end[order], piece[order], step[order]

    def keep(self, kept: np.ndarray) -> None:
        """Leave out the pieces that aren't kept, numbering the others anew; a character that goes is unknown."""
        new = np.append(np.where(kept, np.cumsum(kept) - 1, -2), -1)
        piece = new[self.piece]
        piece[(piece == -2) & (self.end - self.start == 1)] = -1
        there = piece > -2
        self.start, self.end, self.piece, self.step = (
            x[there] for x in (self.start, self.end, piece, self.step)
        )  # fmt: skip
        self.pieces = int(kept.sum())

    def _scores(self, scores: np.ndarray) -> np.ndarray:
        return np.append(scores, scores.min() - UNKNOWN_PENALTY)[self.piece]

    def expected(self, scores: np.ndarray) -> np.ndarray:
        """How often each piece is expected over all segmentations of all words."""
        edge = self._scores(scores)
        forward = _summed(self.start, self.end, self.step, edge, self.nodes, self.first)
        length = self.last[self.word[self.end]] - self.start  # the same backwards
        order = np.lexsort((self.end, self.start, length))
        backward = _summed(
            self.end[order], self.start[order], length[order], edge[order], self.nodes, self.last
        )  # fmt: skip
        word = self.word[self.end]
        share = np.exp(forward[self.start] + edge + backward[self.end] - forward[self.last][word])
        known = self.piece >= 0
        return np.bincount(self.piece[known], (share * self.weights[word])[known], self.pieces)

    def best(self, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(the edges of each word's most probable segmentation, their score per word, -inf without any)."""
        edge = self._scores(scores)
        total = np.full(self.nodes, -np.inf)
        total[self.first] = 0.0
        back = np.full(self.nodes, -1)
        for a, b in _steps(self.step):
            ends, heads = np.unique(self.end[a:b], return_index=True)
            value = total[self.start[a:b]] + edge[a:b]
            total[ends] = np.maximum.reduceat(value, heads)
            hit = np.flatnonzero(value == np.repeat(total[ends], np.diff(np.append(heads, b - a))))
            at, where = np.unique(self.end[a + hit], return_index=True)  # of equals the one that begins first
            back[at] = a + hit[where]
        path, node = [], self.last[np.isfinite(total[self.last])]
        while len(node):
            node = node[back[node] >= 0]
            path.append(back[node])
            node = self.start[path[-1]]
        return np.concatenate(path) if path else np.zeros(0, int), total[self.last]


def _steps(step: np.ndarray) -> list[tuple[int, int]]:
    heads = np.flatnonzero(np.diff(step, prepend=-1))
    return list(zip(heads.tolist(), np.append(heads[1:], len(step)).tolist(), strict=True))


def _summed(
    start: np.ndarray, end: np.ndarray, step: np.ndarray, edge: np.ndarray, nodes: int, roots: np.ndarray
) -> np.ndarray:
    """For each node the logarithm of the sum over all ways from its word's root of exp(score)."""
    out = np.full(nodes, -np.inf)
    out[roots] = 0.0
    for a, b in _steps(step):
        heads = np.flatnonzero(np.diff(end[a:b], prepend=-1))
        value = out[start[a:b]] + edge[a:b]
        top = np.maximum.reduceat(value, heads)
        sizes = np.diff(np.append(heads, b - a))
        out[end[a:b][heads]] = top + np.log(np.add.reduceat(np.exp(value - np.repeat(top, sizes)), heads))
    return out


def _useful(lattice: _Lattice, pieces: list[str], scores: np.ndarray, size: int) -> np.ndarray:
    """(pieces,) which to keep: `size` of them, less those that no best segmentation has."""
    edges, _ = lattice.best(scores)
    known = lattice.piece[edges] >= 0
    ids, weight = lattice.piece[edges][known], lattice.weights[lattice.word[lattice.end[edges]]][known]
    frequency = np.bincount(ids, weight, len(pieces))
    total, sentences = frequency.sum(), lattice.weights.sum()
    long = np.array([i for i, piece in enumerate(pieces) if len(piece) > 1], int)
    kept = frequency > 0
    if not len(long):
        return kept
    others = _Lattice([pieces[i] for i in long], np.ones(len(long)), pieces, whole=False)
    path, other = others.best(scores)
    split = others.piece[path], long[others.word[others.end[path]]]  # (piece of the other segmentation, of which piece)
    kept[long[other > scores[long]]] = False
    parts = np.bincount(split[1], minlength=len(pieces))
    judged = np.flatnonzero(kept & (parts > 0))
    more = frequency[split[1]] + np.where(split[0] >= 0, frequency[split[0]], 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        instead = np.bincount(split[1], np.log(more), len(pieces))[judged]
        instead -= parts[judged] * np.log(total + frequency[judged] * (parts[judged] - 1))
        loss = frequency[judged] / sentences * (np.log(frequency[judged] / total) - instead)
    room = max(size - int(kept.sum()) + len(judged), 0)
    kept[judged[np.argsort(-loss, kind="stable")[room:]]] = False
    return kept


def _digamma(x: np.ndarray | float) -> np.ndarray:
    """The derivative of log Gamma: recurrence up to 7, then the asymptotic series in 1 / (x - 1/2)."""
    x, out = np.array(x, float), np.zeros(np.shape(x))
    while (small := x < 7).any():
        out -= np.where(small, 1 / x, 0)
        x += small
    y = 1 / (x - 0.5) ** 2
    return out + np.log(x - 0.5) + y * (1 / 24 - y * (7 / 960 - y * (31 / 8064 - y * 127 / 30720)))


# What SentencePiece's NMT rules turn into a blank and remove; U+FF5E, a wave dash, stays as it is.
_BLANKS = [0x09, 0x0A, 0x0C, 0x0D, 0x1680, 0x200B, 0x200C, 0x200E, 0x200F, 0x2028, 0x2029, 0x2581, 0xFEFF, 0xFFFD]
_REMOVED = [*range(0x01, 0x09), 0x0B, *range(0x0E, 0x20), 0x7F, 0x8F, 0x9F]
_LAST = 0x1D7FF  # of what Unicode 3.2 gave a compatibility decomposition beyond the basic plane, but CJK
_COMPOSED = (0xC0, 0x2FFF)


@lru_cache(1)
def charsmap() -> bytes:
    """The rules of a tokenizer trained here: NFKC, as of Unicode 3.2 whatever Python's is, with the NMT changes."""
    old = unicodedata.ucd_3_2_0
    rules = dict.fromkeys(map(chr, _BLANKS), " ") | dict.fromkeys(map(chr, _REMOVED), "")
    for code in [*range(0xA0, 0xD800), *range(0xF900, 0xFFFF), *range(0x1D15E, _LAST + 1), *range(0x2F800, 0x2FA1E)]:
        char = chr(code)
        whole = old.normalize("NFKC", char)
        if whole != char and char not in rules and code != 0xFF5E:
            rules[char] = whole
        parts = old.normalize("NFD", char)
        if len(parts) > 1 and whole == char and not 0xAC00 <= code < 0xD7A4:
            rules[parts] = char  # a letter and its marks, for text that keeps its accents
    return compiled(rules)
