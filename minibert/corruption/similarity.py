"""Similar words for MacBERT's correction: handed in, or the nearest in embeddings.

Both give a mapping from a word to similar ones, each a tuple of ids: what `replacement.thesaurus` takes.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from minibert import reading
from minibert.checkpoint import strictjson
from minibert.errors import InputError

Word = tuple[int, ...]
Similar = dict[Word, list[Word]]

NEAREST = 5  # neighbours a word
WORDS = 20_000  # the most frequent of a corpus, among which neighbours are looked for
_BLOCK = 512  # words compared with all others at a time


def handed_in(path: str, tokenizer: Any) -> Similar:
    """The words of a JSON file {word: [similar word, …]}, as ids; words with unknown characters are left out."""
    table = strictjson.loads(reading.contents(path), path)
    lists = isinstance(table, dict) and all(isinstance(found, list) for found in table.values())
    if not lists or not all(isinstance(word, str) for found in table.values() for word in found):
        raise InputError(f"{path} must hold similar words as a JSON object: {{word: [word, …]}}")
    similar: Similar = {}
    for word, found in table.items():
        spelt = [tuple(tokenizer.ids(text)) for text in (word, *found)]
        first, *others = (() if tokenizer.unk_id in ids else ids for ids in spelt)
        if first:
            similar[first] = [other for other in others if other]
    if not any(similar.values()):
        raise InputError(f"{path} has no word with a similar one that this vocabulary can spell")
    return similar


def nearest(
    words: Iterable[Word], vector: Callable[[Word], np.ndarray], count: int = NEAREST, most: int = WORDS
) -> Similar:
    """For each of the `most` frequent words the `count` others of as many pieces that are nearest by cosine.

    words: a corpus as a stream of words, or how often each stands in it; vector: a word's, (D,).
    """
    groups: dict[int, list[Word]] = {}
    for word, _ in Counter(words).most_common(most):
        groups.setdefault(len(word), []).append(word)
    similar: Similar = {}
    for group in groups.values():
        rows = np.array([vector(word) for word in group], np.float64)
        rows /= np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-300)
        k = min(count, len(group) - 1)
        for begin in range(0, len(group) if k else 0, _BLOCK):
            cosine = rows[begin : begin + _BLOCK] @ rows.T
            cosine[np.arange(len(cosine)), begin + np.arange(len(cosine))] = -np.inf  # not itself
            least = -np.partition(-cosine, k - 1, axis=1)[:, k - 1]  # a sort of all of them took ten times as long
            for i, row in enumerate(cosine):
                found = np.flatnonzero(row >= least[i])
                order = found[np.argsort(-row[found], kind="stable")][:k].tolist()
                similar[group[begin + i]] = [group[j] for j in order]
    return similar


def in_embeddings(words: Iterable[Word], tokens: Sequence[str], directory: str) -> Similar:
    """`nearest` by the word table of the model in a directory: a word is the mean of its pieces' rows there.

    tokens: our own, in which the words are spelt; the model must know every piece that the corpus has by its spelling.
    """
    from minibert.checkpoint import directory as directories  # levels above: a model is read, none is made

    model = directories.load(directory)
    if model.tokenizer is None:
        raise InputError(f"{directory} has no vocabulary, so similar words cannot be looked up in it")
    table: Any = model.params["embeddings"]["word"]["weight"]
    row = {token: i for i, token in enumerate(model.tokenizer.tokens)}
    words = Counter(words)
    missing = sorted({tokens[i] for word in words for i in word} - row.keys())
    if missing:
        raise InputError(
            f"{directory} lacks {len(missing)} of our pieces, such as {missing[0]!r}: "
            f"give it with --vocabulary too, so that both have one vocabulary"
        )
    return nearest(words, lambda word: table[[row[tokens[i]] for i in word]].mean(axis=0))


def words(documents: Sequence[Sequence[Sequence[int]]], continues: np.ndarray, starts: Any = None) -> Iterator[Word]:
    """The words of tokenised sentences; starts: the same nesting, 1 where one begins; else `continues` (V,) decides."""
    for d, document in enumerate(documents):
        for s, sentence in enumerate(document):
            begins = ~continues[sentence] if starts is None else np.array(starts[d][s], bool)
            cuts = [0, *(np.flatnonzero(begins[1:]) + 1).tolist(), len(sentence)]
            yield from (tuple(sentence[a:b]) for a, b in pairwise(cuts) if b > a)
