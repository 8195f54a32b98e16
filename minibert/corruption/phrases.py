"""Phrases and names that a text itself shows, for whoever hands in none, and where they stand in rows.

    phrases     neighbouring words that come together far more often than chance: Mikolov et al., arXiv 1310.4546,
                section 4, (c(a b) - δ) · N / (c(a) · c(b)) above a threshold, δ = 5, threshold 100
    names       runs of words that begin with a capital, but for the first word of a sentence; so many times at least
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import pairwise

import regex

Texts = Sequence[Sequence[str]]

DISCOUNT, THRESHOLD, OFTEN = 5, 100.0, 3
_WORD = regex.compile(r"\p{L}[\p{L}\p{M}\p{N}'’-]*")
_NAME = regex.compile(r"\p{Lu}[\p{L}\p{M}\p{N}]*(?: \p{Lu}[\p{L}\p{M}\p{N}]*)*")


def words(texts: Texts) -> Counter:
    """How often each word, (a,), and each two words with a blank between them, (a, b), stand in texts, lower-case."""
    found: Counter = Counter()
    for document in texts:
        for sentence in document:
            places = [(match.group().lower(), *match.span()) for match in _WORD.finditer(sentence)]
            found.update((word,) for word, *_ in places)
            found.update((a, b) for (a, _, end), (b, start, _) in pairwise(places) if sentence[end:start] == " ")
    return found


def collocations(counts: Counter, threshold: float = THRESHOLD) -> list[str]:
    """The two-word phrases among what `words` counted, sorted."""
    total = sum(count for key, count in counts.items() if len(key) == 1)
    return sorted(
        " ".join(key)
        for key, count in counts.items()
        if len(key) == 2 and (count - DISCOUNT) * total > threshold * counts[key[:1]] * counts[key[1:]]
    )


def capitalised(texts: Texts) -> Counter:
    """How often each run of capitalised words stands in texts, not at the beginning of a sentence."""
    sentences = (sentence for document in texts for sentence in document)
    return Counter(match.group() for sentence in sentences for match in _NAME.finditer(sentence) if match.start() > 0)


def names(counts: Counter, least: int = OFTEN) -> list[str]:
    """Those that `capitalised` counted so many times, sorted."""
    return sorted(name for name, count in counts.items() if count >= least)


def spelt(texts: Iterable[str], tokenizer: object) -> frozenset[tuple[int, ...]]:
    """What a vocabulary can spell of these, as tuples of ids."""
    found = {tuple(tokenizer.ids(text)) for text in texts} - {()}
    return frozenset(ids for ids in found if tokenizer.unk_id not in ids)
