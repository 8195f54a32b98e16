"""How alike are languages inside a model: translations found by their vectors, means, and the shift between them.

Liu, Hsu, Chuang, Lee 2020, arXiv 2010.10938 (what makes it multilingual) and 2010.10041 (language vectors).

    rank of a pair i    how many words of the other language are at least as near to a_i as its translation b_i is   (1)
    alignment           mean of 1 / rank over the pairs, near by cosine                                              (2)
    language vector     the mean of the states of a language's tokens at a layer                                     (3)
    shifted             h + α (m_to - m_from): 0 leaves h, 1 moves the mean onto the other language's                (4)
    apart               |m_a - m_b| over the root of the mean |h - m|², each h less its own language's mean          (5)
    a word's vector     the mean over its occurrences of the mean of its tokens' states at a layer                   (6)
"""

import itertools
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from minibert.analysis import probing
from minibert.config import require
from minibert.inference import normalized
from minibert.model import Model
from minibert.pairs import observing
from minibert.tokenizers.encoding import Encoding

Array = np.ndarray
LETTERS = re.compile(r"[^\W\d_]+")


# ---- States of a text ------------------------------------------------------------------------------------------------
def states(
    model: Model, texts: Iterable[str], most: int, together: int = 32
) -> Iterator[tuple[str, Encoding, list[Array]]]:
    """(text, its tokens, their states (T, D) of each layer, the embeddings first) of texts cut to so many tokens, in
    order; without texts that have no token. InputError for a model without states of several layers, or vocabulary.
    """
    probing.layered(model)
    held = iter(texts)
    while some := [*itertools.islice(held, together)]:
        made = [(text, model.tokenizer.encode(text, max_length=most)) for text in some]
        made = [(text, encoding) for text, encoding in made if _own(encoding).any()]
        if made:
            encodings = [encoding for _, encoding in made]
            inputs = model.checked_inputs(model.module.read(encodings, model.tokenizer.pad_id))
            layers = model.encode(outputs=["hidden_states"], **inputs)["hidden_states"]
            for row, (text, encoding) in enumerate(made):
                yield text, encoding, [layer[row, : len(encoding)] for layer in layers]


def _own(encoding: Encoding) -> Array:
    """Which tokens stand for characters of the text, (T,)."""
    begin, end = np.array(encoding.offsets).reshape(-1, 2).T
    return end > begin


def tokens(model: Model, texts: Iterable[str], most: int, count: int, called: str = "the text") -> list[Array]:
    """The states (N, D) of each layer of the first `count` tokens; those around a text do not count. called: how an
    error names the texts.
    """
    found: list[list[Array]] = []
    left = count
    for _, encoding, layers in states(model, texts, most):
        places = np.flatnonzero(_own(encoding))[:left]
        found.append([layer[places] for layer in layers])
        left -= len(places)
        if left == 0:
            break
    require(bool(found), f"{called} has no token to take states of: give more")
    return [np.concatenate(parts) for parts in zip(*found, strict=True)]


def words(model: Model, texts: Iterable[str], known: Collection[str], most: int) -> dict[str, Array]:
    """{word: (6) of each layer, (L + 1, D)} of those `known`, in small letters, that the texts hold. A word is a run of
    letters, whatever its case.
    """
    sums: dict[str, Array] = {}
    counts: dict[str, int] = {}
    for text, encoding, layers in states(model, texts, most):
        begin, end = np.array(encoding.offsets).reshape(-1, 2).T
        for match in LETTERS.finditer(text):
            word, (first, last) = match.group().lower(), match.span()
            if word not in known or last > end.max():
                continue
            inside = np.flatnonzero((begin < last) & (end > first) & (end > begin))
            vector = np.stack([layer[inside].mean(0, dtype=np.float64) for layer in layers])
            sums[word] = sums.get(word, 0) + vector
            counts[word] = counts.get(word, 0) + 1
    return {word: total / counts[word] for word, total in sums.items()}


# ---- Translations ----------------------------------------------------------------------------------------------------
def met(one: Collection[str], other: Collection[str], pairs: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """The pairs of a dictionary of which both words are there, in small letters, each word in one pair: its first."""
    seen: tuple[set[str], set[str]] = set(), set()
    found = []
    for a, b in ((a.lower(), b.lower()) for a, b in pairs):
        if a in one and b in other and a not in seen[0] and b not in seen[1]:
            seen[0].add(a)
            seen[1].add(b)
            found.append((a, b))
    return found


def alignment(
    one: Mapping[str, Array], other: Mapping[str, Array], pairs: Sequence[tuple[str, str]]
) -> list[tuple[float, float]]:
    """(2) of each layer for `words` of two languages and pairs of them: as they are, and less their language's mean."""
    require(len(pairs) > 1, f"pairs of words that both texts have: {len(pairs)}, and two are due, to be told apart")
    sides = [np.stack([held[pair[n]] for pair in pairs]) for n, held in enumerate((one, other))]
    layers = range(sides[0].shape[1])
    return [tuple(reciprocal_rank(*(side[:, i] for side in sides), centred) for centred in (False, True))
            for i in layers]  # fmt: skip


def reciprocal_rank(one: Array, other: Array, centred: bool = False) -> float:
    """(2) of vectors (N, D) of words and of their translations, row by row. centred: less their language's mean, first,
    which takes the languages' own directions out.

    Of equal ones the worst rank counts. Chance is about ln(N)/N.
    """
    require(one.shape == other.shape and len(one) > 0, f"vectors {one.shape} and {other.shape}: a row is a pair")
    a, b = (normalized(x - x.mean(0) if centred else x) for x in (one, other))
    near = a @ b.T
    own = np.diag(near)[:, None]
    return float((1 / (near >= own).sum(1)).mean())


# ---- Means -----------------------------------------------------------------------------------------------------------
def language_vector(states: Array) -> Array:
    """(3) of states (N, D)."""
    require(states.ndim == 2 and len(states) > 0, f"states {states.shape}: expected (N, D)")
    return states.mean(0)


def apart(languages: Sequence[Array]) -> float:
    """(5) of the states (N, D) of two languages or more, the mean over their pairs."""
    means = [language_vector(states) for states in languages]
    spread = np.mean([((states - m) ** 2).sum(1).mean() for states, m in zip(languages, means, strict=True)])
    between = [np.linalg.norm(a - b) for a, b in itertools.combinations(means, 2)]
    return float(np.mean(between) / np.sqrt(spread)) if spread > 0 else 0.0


def plane(languages: Sequence[Array]) -> tuple[list[Array], Array]:
    """(the states (N, 2) of each language, their means (K, 2)) in the plane that shows the most of how the means
    differ, and where two means leave a direction open, the most of the states.
    """
    means = np.stack([language_vector(states) for states in languages])
    centre = means.mean(0)
    _, sizes, found = np.linalg.svd(means - centre, full_matrices=False)
    first = found[: min(2, int((sizes > 1e-9 * max(1e-30, sizes[0])).sum()))]
    rest = np.concatenate([*languages]) - centre
    rest = rest - rest @ first.T @ first
    directions = np.concatenate([first, np.linalg.svd(rest, full_matrices=False)[2]])[:2]
    return [(states - centre) @ directions.T for states in languages], (means - centre) @ directions.T


def shifted(states: Array, source: Array, target: Array, share: float) -> Array:
    """(4): states (…, D) of the language with the vector `source` (D,), moved by the share α towards `target`."""
    return states if share == 0 else states + states.dtype.type(share) * (target - source)


@contextmanager
def changed(layer: int, change: Callable[[Array], Array]) -> Iterator[None]:
    """In this context the states behind a layer of an encoder (0: the embeddings) are change(states), and the layers
    behind it go on from these: `with changed(2, lambda h: shifted(h, of_french, of_english, 1)): model.encode(…)`.
    """
    count = 0

    def around(f: Callable, args: tuple, constants: dict) -> Any:
        nonlocal count
        if f.__name__ == "embeddings":
            count = 0
        result = f(*args, **constants)
        if f.__name__ in ("embeddings", "encoder_layer", "pre_norm_layer"):
            count += f.__name__ != "embeddings"
            return (change(result[0]), *result[1:]) if count == layer else result
        return result

    with observing(around):
        yield


def changeable(model: Model, texts: Iterable[str], most: int) -> list[int]:
    """The layers of which `changed` moves the very `states`, as the first text shows: not the last where a norm stands
    behind it, nor embeddings that are mapped first, none where it is a decoder whose states are given. InputError where
    there is none.
    """
    found = []
    for text, encoding, layers in itertools.islice(states(model, texts, most, together=1), 1):
        for i, own in enumerate(layers):
            met: list[Array] = []
            with changed(i, lambda h, met=met: met.append(h) or h):
                [*states(model, [text], most)]
            if met and np.array_equal(met[0][0, : len(encoding)], own):
                found.append(i)
    require(bool(found), f"the layers of {model.family} do not go on from states that are changed")
    return found
