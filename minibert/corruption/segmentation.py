"""Words and entities of running text: segmenters, and the alignment of what they find to the tokens.

A segmenter is a function text -> its words. Chinese is tokenised character by character; a segmentation alone says
which characters make a word, as data: nothing of it reaches the model (BERT-wwm, arXiv 1906.08101).
"""

from collections.abc import Callable, Collection, Iterable, Sequence

import numpy as np
import regex

from minibert import reading
from minibert.corruption import units
from minibert.errors import InputError
from minibert.tokenizers.prefixes import Prefixes

Ids = tuple[int, ...]
Segmenter = Callable[[str], Iterable[str]]

_WORD = regex.compile(r"\p{Han}{2,}")


def segmenter(source: str) -> Segmenter:
    """jieba (an extra), or the words of a UTF-8 file: one a line, or text whose words stand apart.

    Of a list every word that occurs in a text is found, so that the alignment takes the longest. InputError: jieba is
    not installed, the file cannot be read, or holds no word of two or more Chinese characters.
    """
    if source == "jieba":
        try:
            import jieba
        except ModuleNotFoundError:
            advice = "install it (pip install minibert[chinese]), or give a file of words"
            raise InputError(f"segmenter 'jieba' is not installed: {advice}") from None
        jieba.setLogLevel("ERROR")
        return jieba.lcut
    return listed(word for line in lines(source) for word in line.split())


def listed(words: Iterable[str]) -> Segmenter:
    """The segmenter of a list that has words of two or more Chinese characters."""
    known = {word for word in words if _WORD.fullmatch(word)}
    if not known:
        raise InputError("the segmenter's list has no word of two or more Chinese characters; put white space between")
    return occurring(known)


def occurring(words: Iterable[str]) -> Segmenter:
    """The segmenter by which the words of a text are those of these words that occur in it."""
    prefixes = Prefixes(words)

    def found(text: str) -> set[str]:
        indices: set[int] = set()
        for at in range(len(text)):
            i = prefixes.longest(text, at)
            while i >= 0 and i not in indices:  # with a word all are found that it begins with
                indices.add(i)
                i = prefixes.inner[i]
        return {prefixes.strings[i] for i in indices}

    return found


def lines(path: str) -> list[str]:
    """The lines of a UTF-8 file that are not blank; one InputError line where it cannot be read."""
    return [line.strip() for line in reading.text(path).splitlines() if line.strip()]


def starts(
    documents: Sequence[Sequence[Sequence[int]]],
    texts: Sequence[Sequence[str]],
    tokens: Sequence[str],
    words: Segmenter,
) -> list[list[list[int]]]:
    """For each token of documents[d][s], the ids of texts[d][s], 1 where a word starts (`units.segmentation`)."""
    return [
        [
            units.segmentation([tokens[i] for i in sentence], words(text))
            for sentence, text in zip(document, document_texts, strict=True)
        ]
        for document, document_texts in zip(documents, texts, strict=True)
    ]


def entities(ids: np.ndarray, known: Collection[Ids], continues: np.ndarray | None = None) -> np.ndarray:
    """Units handed in, (N, T) int32: in each row the leftmost, longest entities, none over another; -1 outside.

    known: entities as tuples of ids. continues (V,): pieces before which no entity ends ("art" is none in "art ##ist").
    A unit's number is the place where it begins.
    """
    lengths: dict[int, set[int]] = {}
    for entity in known:
        lengths.setdefault(entity[0], set()).add(len(entity))
    longest_first = {first: sorted(found, reverse=True) for first, found in lengths.items()}
    known, width = set(known), ids.shape[1]
    found = np.full(ids.shape, -1, np.int32)
    for row, at in zip(*(places.tolist() for places in np.nonzero(np.isin(ids, list(lengths)))), strict=True):
        if found[row, at] >= 0:
            continue
        rest = ids[row, at:].tolist()
        for n in longest_first[rest[0]]:
            whole = continues is None or at + n >= width or not continues[rest[n]]
            if whole and tuple(rest[:n]) in known:
                found[row, at : at + n] = at
                break
    return found
