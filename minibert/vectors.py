"""Vectors of words: of a model's table, or of a file of vectors; the nearest of them, and what is to c as b is to a.

Mikolov, Yih, Zweig 2013, "Linguistic Regularities in Continuous Space Word Representations": cosine, the words asked
with left out; each vector of a question counts with length 1 (gensim's `most_similar`).
"""

import os
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from minibert import model as models
from minibert import tree
from minibert.checkpoint import vectors as files
from minibert.config import nearest as likely
from minibert.config import require, shown, whole


class Vectors(NamedTuple):
    """words, and a row for each; index: the row of each word."""

    words: list[str]
    rows: np.ndarray
    index: dict[str, int]


def load(path: str | os.PathLike) -> Vectors:
    """Those of a directory with a model and its vocabulary, or of a file of vectors. InputError where it has none."""
    if not os.path.isdir(path):
        words, rows = files.read(path)
        return Vectors(words, rows, {word: i for i, word in enumerate(words)})
    return of(models.load(path), f"{path}")


def of(model: models.Model, name: str = "the model") -> Vectors:
    """A model's, without those of special tokens: its family's `word_vectors`, else its table of words."""
    require(model.tokenizer is not None, f"{name} has no vocabulary")
    own = getattr(model.module, "word_vectors", None)
    flat = tree.flatten(model.params)
    there = own is not None or "embeddings.word.weight" in flat
    require(there, f"{name} is {model.family}, which has no table of words")
    table = own(model.params, model.config) if own else flat["embeddings.word.weight"]
    special = model.tokenizer.special_ids
    kept = [i for i, word in enumerate(model.tokenizer.tokens[: len(table)]) if i not in special and word]
    words = [model.tokenizer.tokens[i] for i in kept]
    return Vectors(words, np.asarray(table[kept], np.float32), {word: i for i, word in enumerate(words)})


def unit(rows: np.ndarray) -> np.ndarray:
    """Each row with length 1; 0 stays 0."""
    return rows / np.maximum(np.linalg.norm(rows, axis=-1, keepdims=True), np.finfo(rows.dtype).tiny)


def nearest(
    held: Vectors, plus: Sequence[str], minus: Sequence[str] = (), count: int = 10
) -> list[tuple[str, float]]:
    """The `count` words whose vectors have the largest cosine with Σ plus - Σ minus, each of length 1, and that cosine;
    none of those asked with. InputError for a word that is not there.
    """
    whole("count", count, 1)
    asked = [*_known(held, plus), *_known(held, minus)]
    signs = np.array([1.0] * len(plus) + [-1.0] * len(minus), held.rows.dtype)
    cosine = unit(held.rows) @ unit(signs @ unit(held.rows[asked]))
    cosine[asked] = -np.inf
    best = np.argsort(-cosine, kind="stable")[: min(count, len(held.words) - len({*asked}))]
    return [(held.words[i], float(cosine[i])) for i in best]


def _known(held: Vectors, words: Iterable[str]) -> list[int]:
    for word in words:
        require(word in held.index, f"there is no vector of {shown(word)}{likely(word, held.words[:20_000])}")
    return [held.index[word] for word in words]
