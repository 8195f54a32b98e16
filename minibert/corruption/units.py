"""Candidate units: which positions fall together. A unit is a number within its row; -1: no candidate."""

from collections.abc import Iterable, Sequence

import numpy as np
import regex

from minibert.corruption.masking import Vocabulary
from minibert.errors import InputError

_HAN = regex.compile(r"\p{Han}{2,}")


def units(candidates: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """(B, T) index of each candidate's unit within its row, -1 elsewhere, from bool (B, T) candidates and starts.

    A candidate that starts no unit joins the unit before it, even across positions that are no candidates: in BERT's
    release a "##" piece behind [SEP] joins the last word of the first segment. A row's first candidate always
    starts one. Single pieces: starts = candidates; whole words: `word_starts`.
    """
    first = candidates & (np.cumsum(candidates, axis=-1) == 1)
    index = np.cumsum(candidates & (starts | first), axis=-1) - 1
    return np.where(candidates, index, -1)


def word_starts(ids: np.ndarray, vocabulary: Vocabulary, starts: np.ndarray | None = None) -> np.ndarray:
    """Bool (B, T), True where a word starts: as handed in (a segmentation), else where no piece continues one."""
    if starts is not None:
        return np.asarray(starts, bool)
    if vocabulary.continues is None:
        raise InputError("words need to know where they start: give vocabulary.continues, or starts")
    return ~vocabulary.continues[ids]


def places(units: np.ndarray) -> np.ndarray:
    """(B, T) the place of each position in its unit, from 0; units numbered 0, 1, … in order, as `units` makes them."""
    before = np.pad(np.maximum.accumulate(units, axis=-1), ((0, 0), (1, 0)), constant_values=-1)[:, :-1]
    rank = np.cumsum(units >= 0, axis=-1) - 1
    return rank - np.maximum.accumulate(np.where(units > before, rank, 0), axis=-1)


def entities(words: np.ndarray, handed_in: np.ndarray) -> np.ndarray:
    """Units handed in, (B, T) with -1 for none, over others: each takes its positions from the words (B, T) beneath.

    A unit's number becomes its first position, so the result is ordered but not dense. Positions that are no
    candidates (-1 in words) stay so. InputError: a number of T or more.
    """
    rows, width = words.shape
    handed_in = np.where(words >= 0, handed_in, -1)
    if handed_in.max(initial=-1) >= width:
        raise InputError(f"unit {handed_in.max()} in rows of {width} tokens: number the units of a row from 0")
    label = np.where(handed_in >= 0, handed_in + width, words)
    first = np.full((rows, 2 * width), width)
    row, column = np.nonzero(words >= 0)
    np.minimum.at(first, (row, label[row, column]), column)
    found = np.full_like(words, -1)
    found[row, column] = first[row, label[row, column]]
    return found


def segmentation(pieces: Sequence[str], words: Iterable[str]) -> list[int]:
    """1 where a word starts, else 0, for each piece of a text, from the words of its segmentation.

    BERT-wwm's alignment (arXiv 1906.08101, and the released run_chinese_ref recipe): at each Chinese character the
    longest word of two or more that matches and is Chinese throughout; everything else groups by its "##" pieces. So
    the words are a set: where two of them overlap, the foremost wins, which need not be the segmenter's choice.
    """
    known: dict = {}  # a trie, "" where a word ends
    for word in words:
        if _HAN.fullmatch(word):
            node = known
            for char in word:
                node = node.setdefault(char, {})
            node[""] = word
    starts = [0 if piece.startswith("##") else 1 for piece in pieces]
    at = 0
    while at < len(pieces):
        length = _matching(pieces, at, known)
        if length > 1 and all(len(piece) == 1 for piece in pieces[at : at + length]):
            starts[at + 1 : at + length] = [0] * (length - 1)
        else:
            length = 1
        at += length
    return starts


def _matching(pieces: Sequence[str], at: int, known: dict) -> int:
    """How many pieces from here make up the longest word of the trie; 0 for none."""
    length, node = 0, known
    for n in range(1, len(pieces) - at + 1):
        for char in pieces[at + n - 1]:
            node = node.get(char, {})
        if not node:
            break
        if "" in node:
            length = n
    return length
