"""Vectors of words: of a model's table, or of a file of vectors; the nearest of them, and what is to c as b is to a.

Mikolov, Yih, Zweig 2013, "Linguistic Regularities in Continuous Space Word Representations": cosine, the words asked
with left out; each vector of a question counts with length 1 (gensim's `most_similar`).
"""

import os
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from minibert import model as models
from minibert import quantization, tree
from minibert.checkpoint import fasttext
from minibert.checkpoint import vectors as files
from minibert.config import nearest as likely
from minibert.config import require, shown, whole
from minibert.corruption import pieces


class Vectors(NamedTuple):
    """words, and a row for each; index: the row of each word; other: makes the row of any other word, None: nothing."""

    words: list[str]
    rows: np.ndarray
    index: dict[str, int]
    other: Callable[[str], np.ndarray] | None = None


def load(path: str | os.PathLike, components: str | None = None) -> Vectors:
    """Those of a directory with a model and its vocabulary, or of a file of vectors, fastText's .bin among them;
    components: the file of a fastText that was learnt over them. InputError where it has none.
    """
    if not os.path.isdir(path):
        if fasttext.is_one(path):
            return of_fasttext(fasttext.read(path), components)
        words, rows = files.read(path)
        return Vectors(words, rows, {word: i for i, word in enumerate(words)})
    with quantization.opened(path) as model:
        return of(model, f"{path}", components)


def of(model: models.Model, name: str = "the model", components: str | None = None) -> Vectors:
    """A model's, without those of special tokens: its family's `word_vectors`, else its table of words."""
    require(model.tokenizer is not None, f"{name} has no vocabulary")
    own = getattr(model.module, "word_vectors", None)
    flat = tree.flatten(model.params)
    there = own is not None or "embeddings.word.weight" in flat
    require(there, f"{name} is {model.family}, which has no table of words")
    special, tokens = model.tokenizer.special_ids, model.tokenizer.tokens
    kept = [i for i, word in enumerate(tokens[: model.config.vocab_size]) if i not in special and word]
    words, other = [tokens[i] for i in kept], None
    if own:
        known = {"known": pieces.components(components)} if components else {}
        rows = own(model.params, model.config, words, kept, **known)
        if hasattr(model.config, "bucket"):  # what a word is made of tells the vector of any
            other = lambda word: own(model.params, model.config, [word], **known)[0]  # noqa: E731
    else:
        rows = flat["embeddings.word.weight"][kept]
    return Vectors(words, np.asarray(rows, np.float32), {word: i for i, word in enumerate(words)}, other)


def of_fasttext(held: fasttext.FastText, components: str | None = None) -> Vectors:
    """Those of a file of fastText: of each word the mean of its row and its n-grams', of any other of its n-grams'.
    """
    count, known = len(held.words), pieces.components(components) if components else None
    least, most, bucket = (int(held.arguments[name]) for name in ("minn", "maxn", "bucket"))

    def row(word: str) -> np.ndarray:
        own = pieces.rows(word, least, most, bucket, known) if bucket else []
        first = [index[word]] if word in index else []
        found = held.rows[[*first, *(count + i for i in own)]]
        return found.mean(0) if len(found) else np.zeros(held.rows.shape[1], held.rows.dtype)

    index = {word: i for i, word in enumerate(held.words)}
    return Vectors([*index], np.stack([row(word) for word in index]), index, row)


def to_fasttext(model: models.Model, name: str = "the model", window: int = 5) -> fasttext.FastText:
    """A fastText as its release's files have it. Counts are not kept in a model: here they fall by one from word to
    word. window: as it was learnt, for those who go on. InputError for another family.
    """
    c = model.config
    require(hasattr(c, "bucket") and model.tokenizer is not None, f"{name} is {model.family}, not fasttext: take text")
    require(not c.images, f"{name} sees images of characters, for which such a file has no place: take text")
    table, special = tree.flatten(model.params), model.tokenizer.special_ids
    kept = [i for i, word in enumerate(model.tokenizer.tokens[: c.vocab_size]) if i not in special and word]
    words = {model.tokenizer.tokens[i]: len(kept) - n for n, i in enumerate(kept)}
    part = "out.word.weight" if c.ns else "nodes.weight"
    require(part in table, f"{name} has no table of outputs, which such a file has")
    arguments = {
        "dim": c.vector_size, "ws": window, "epoch": 5, "minCount": 1, "neg": c.negative, "wordNgrams": 1,
        "loss": fasttext.LOSSES.index("ns" if c.ns else "hs") + 1,
        "model": fasttext.MODELS.index("sg" if c.sg else "cbow") + 1,
        "bucket": c.bucket, "minn": c.minn, "maxn": c.maxn, "lrUpdateRate": 100, "t": 1e-4,
    }  # fmt: skip
    rows = np.concatenate([table["embeddings.word.weight"][kept], table["embeddings.piece.weight"]])
    return fasttext.FastText(arguments, words, {}, rows, table[part][kept])


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
    asked = [_row(held, word) for word in (*plus, *minus)]
    signs = np.array([1.0] * len(plus) + [-1.0] * len(minus), held.rows.dtype)
    cosine = unit(held.rows) @ unit(signs @ unit(np.stack(asked)))
    own = {held.index[word] for word in (*plus, *minus) if word in held.index}
    cosine[[*own]] = -np.inf
    best = np.argsort(-cosine, kind="stable")[: min(count, len(held.words) - len(own))]
    return [(held.words[i], float(cosine[i])) for i in best]


def _row(held: Vectors, word: str) -> np.ndarray:
    if word not in held.index and held.other is not None:
        return np.asarray(held.other(word), held.rows.dtype)
    require(word in held.index, f"there is no vector of {shown(word)}{likely(word, held.words[:20_000])}")
    return held.rows[held.index[word]]
