"""How alike are two languages inside a model: translations found by their vectors, and the shift between means.

Liu, Hsu, Chuang, Lee 2020, arXiv 2010.10938 (what makes it multilingual) and 2010.10041 (language vectors).

    rank of a pair i    how many words of the other language are at least as near to a_i as its translation b_i is   (1)
    alignment           mean of 1 / rank over the pairs, near by cosine                                              (2)
    language vector     the mean of the states of a language's tokens at a layer                                     (3)
    shifted             h + α (m_to - m_from): 0 leaves h, 1 moves the mean onto the other language's                (4)
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from minibert.config import require
from minibert.inference import normalized
from minibert.pairs import observing

Array = np.ndarray


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


def language_vector(states: Array) -> Array:
    """(3) of states (N, D)."""
    require(states.ndim == 2 and len(states) > 0, f"states {states.shape}: expected (N, D)")
    return states.mean(0)


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
